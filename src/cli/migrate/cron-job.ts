import { isObject, listAt, member, objectOf, textAt } from '../../lib/json.ts';

/** What a CronJob that writes a token into a Secret tells. */
export interface OldWriter {
  /** All texts in which URL and parameters may stand. */
  readonly text: string;
  readonly source?: { readonly name: string; readonly key: string };
  /** The Secret that it writes. */
  readonly secret?: string;
  /** Keys of that Secret with what our template for them is. */
  readonly data?: Readonly<Record<string, string>>;
}

export function fromCronJob(job: unknown): OldWriter {
  const spec = member(job, 'spec', 'jobTemplate', 'spec', 'template', 'spec');
  const containers = [...listAt(spec, 'containers'), ...listAt(spec, 'initContainers')];
  const text = containers.map(scriptOf).join('\n');
  const secret = writtenIn(text);
  const key = /--from-(?:literal|file)=["']?([\w.-]+)=/.exec(text)?.[1] ?? 'token';
  const source = sourceOf(containers, secret);
  return {
    text,
    ...(source === undefined ? {} : { source }),
    ...(secret === undefined ? {} : { secret }),
    data: { [key]: '{{access_token}}' },
  };
}

/** The Secret that a script creates or changes, by kubectl or by a request. One that it only reads is the source. */
function writtenIn(text: string): string | undefined {
  const script = text.replaceAll(/\\\n/g, ' ').replaceAll(/(^|\s)#.*$/gm, '$1');
  const byKubectl = script.split(/[;|&\n`()]/).map(secretOfKubectl);
  const byRequest = script.split(/[;|\n]/).map(secretOfRequest);
  return [...byKubectl, ...byRequest].find((name) => name !== undefined);
}

const WRITING = /\bkubectl\b.*?\s(?:create|apply|patch|replace)\s(.*)$/;
/** Flags whose value is the next word. */
const WITH_VALUE =
  /\s(?:-[nofpl]|--(?:namespace|output|filename|patch|type|context|kubeconfig|from-file|from-literal))\s+\S+/g;

function secretOfKubectl(command: string): string | undefined {
  const [, rest = ''] = WRITING.exec(command) ?? [];
  const words = ` ${rest}`.replaceAll(WITH_VALUE, ' ').trim().split(/\s+/);
  const [type = '', ...names] = words.filter((word) => !word.startsWith('-'));
  if (!/^secrets?(\/|$)/.test(type)) return undefined;
  const name = type.split('/')[1] ?? names.find((word) => word !== 'generic') ?? '';
  return /^(["']?)([a-z0-9][a-z0-9.-]*)\1$/.exec(name)?.[2];
}

const secretOfRequest = (line: string): string | undefined =>
  /\b(?:PATCH|PUT)\b/i.test(line)
    ? /\/namespaces\/[^/\s]+\/secrets\/([a-z0-9][a-z0-9.-]*)/.exec(line)?.[1]
    : undefined;

const scriptOf = (container: unknown): string =>
  [
    ...[...listAt(container, 'command'), ...listAt(container, 'args')].map(String),
    ...listAt(container, 'env').map(
      (each) => `${textAt(each, 'name')}=${textAt(each, 'value') ?? ''}`,
    ),
  ].join('\n');

/** The Secret of its variables and volumes that it does not write. The one for the client secret goes first. */
function sourceOf(
  containers: readonly unknown[],
  written: string | undefined,
): OldWriter['source'] {
  const [found] = containers
    .flatMap((container) => listAt(container, 'env'))
    .map((variable) => objectOf(member(variable, 'valueFrom', 'secretKeyRef')))
    .filter(isObject)
    .map((ref) => ({ name: textAt(ref, 'name') ?? '', key: textAt(ref, 'key') ?? '' }))
    .filter(({ name, key }) => name !== '' && key !== '' && name !== written)
    .sort((a, b) => Number(/secret/i.test(b.key)) - Number(/secret/i.test(a.key)));
  return found;
}
