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

const WRITES = /\bsecrets?[ /](?:generic )?["']?([a-z0-9][a-z0-9.-]+)/;

export function fromCronJob(job: unknown): OldWriter {
  const spec = member(job, 'spec', 'jobTemplate', 'spec', 'template', 'spec');
  const containers = [...listAt(spec, 'containers'), ...listAt(spec, 'initContainers')];
  const text = containers.map(scriptOf).join('\n');
  const secret = WRITES.exec(text)?.[1];
  const key = /--from-(?:literal|file)=["']?([\w.-]+)=/.exec(text)?.[1] ?? 'token';
  const source = sourceOf(containers, secret);
  return {
    text,
    ...(source === undefined ? {} : { source }),
    ...(secret === undefined ? {} : { secret }),
    data: { [key]: '{{access_token}}' },
  };
}

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
