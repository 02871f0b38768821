import { targetNameOf } from '../credential/credential.ts';
import type { SecretContents, SecretMeta } from '../credential/secret.ts';
import { isOurs } from '../credential/target-secret.ts';
import { fill, uses } from '../credential/template.ts';
import { ApiError } from '../kubernetes/api-error.ts';
import { SECRETS } from '../kubernetes/resources.ts';
import { contentsFrom } from '../kubernetes/secrets.ts';
import { Sensitive } from '../lib/sensitive.ts';
import type { Context } from './context.ts';
import { CliError, EXIT } from './exit-code.ts';
import { argumentsOf, type Shown } from './kind.ts';

export interface FoundToken {
  readonly secret: string;
  readonly key: string;
  readonly token: Sensitive;
}

/** The access token that pods read now. @throws when the person may not read Secrets, or there is none of the credential */
export async function tokenOf(context: Context, credential: Shown): Promise<FoundToken> {
  // Of a cluster credential it is in each namespace
  const { namespace } = context;
  const secret = targetNameOf(credential);
  const body = await context.cluster.get(SECRETS, namespace, secret);
  const contents = contentsFrom({ status: 200, body });
  const status = `see why: kubectl convercus status ${argumentsOf(credential)}`;
  if (!(contents instanceof ApiError)) {
    if (!isTarget(credential, contents.meta)) {
      throw new CliError(
        EXIT.problem,
        `Secret "${secret}" is not the target of this credential, so it is not read; ${status}`,
      );
    }
    const found = tokenIn(credential, contents);
    if (found !== undefined) return { secret, ...found };
  }
  throw new CliError(
    EXIT.problem,
    `Secret "${secret}" holds no access token of this credential; ${status}`,
  );
}

/** Of a Secret that others own only what this credential has written counts. */
function isTarget({ metadata: { uid, name }, spec: { target } }: Shown, meta: SecretMeta): boolean {
  if (!isOurs({ uid, name, target }, meta)) return false;
  if (target.creationPolicy === 'Owner') return true;
  // Version 0.1.0 did not write who it was
  return meta.tokenAnnotations !== undefined && (meta.tokenAnnotations.credential ?? name) === name;
}

/** From the shortest text that has it: often the token alone. */
function tokenIn(
  { spec }: Shown,
  { data }: SecretContents,
): Omit<FoundToken, 'secret'> | undefined {
  const templates = Object.entries(spec.target.data ?? { token: '{{access_token}}' })
    .filter(([, template]) => uses(template, 'access_token'))
    .sort(([, a], [, b]) => a.length - b.length);
  for (const [key, template] of templates) {
    const token = patternOf(template)?.exec(data.get(key)?.reveal() ?? '')?.groups?.['token'];
    if (token !== undefined) return { key, token: new Sensitive(token) };
  }
  return undefined;
}

/** Between texts and placeholders: a template has no use for it. */
const MARK = '\0';

/** What a template makes, with the token as a group. Undefined when nothing divides two of its values. */
function patternOf(template: string): RegExp | undefined {
  // Texts and the names of placeholders by turns
  const parts = fill(template, (name) => MARK + name + MARK).split(MARK);
  if (parts.slice(1, -1).includes('')) return undefined;
  const seen = new Set<string>();
  const patterns = parts.map((part, at) => {
    if (at % 2 === 0) return part.replaceAll(/[\\^$.*+?()[\]{}|]/g, String.raw`\$&`);
    if (seen.has(part)) return `\\k<${groupOf(part)}>`;
    seen.add(part);
    return `(?<${groupOf(part)}>${part === 'scope' ? '[ -~]*?' : '[!-~]+?'})`;
  });
  return new RegExp(`^${patterns.join('')}$`);
}

const groupOf = (placeholder: string): string =>
  placeholder === 'access_token' ? 'token' : placeholder;
