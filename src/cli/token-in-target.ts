import { targetNameOf } from '../credential/credential.ts';
import type { SecretContents } from '../credential/secret.ts';
import { uses } from '../credential/template.ts';
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

/** The access token that pods read now. @throws when the person may not read Secrets, or there is none */
export async function tokenOf(context: Context, credential: Shown): Promise<FoundToken> {
  // Of a cluster credential it is in each namespace
  const { namespace } = context;
  const secret = targetNameOf(credential);
  const body = await context.cluster.get(SECRETS, namespace, secret);
  const contents = contentsFrom({ status: 200, body });
  const found = contents instanceof ApiError ? undefined : tokenIn(credential, contents);
  if (found !== undefined) return { secret, ...found };
  throw new CliError(
    EXIT.problem,
    `Secret "${secret}" holds no access token of this credential; see why: kubectl convercus status ${argumentsOf(credential)}`,
  );
}

const ALONE = '{{access_token}}';

/** From a key that holds the token alone, else from one with text before or behind it. */
function tokenIn(
  { spec }: Shown,
  { data }: SecretContents,
): Omit<FoundToken, 'secret'> | undefined {
  const templates = Object.entries(spec.target.data ?? { token: ALONE })
    .filter(([, template]) => uses(template, 'access_token'))
    .sort(([, a], [, b]) => a.length - b.length);
  for (const [key, template] of templates) {
    const token = between(template, data.get(key)?.reveal() ?? '');
    if (token !== undefined) return { key, token: new Sensitive(token) };
  }
  return undefined;
}

const PLACEHOLDER = /\{\{\s*access_token\s*\}\}/;

/** What stands in the text where the template has the token. */
function between(template: string, text: string): string | undefined {
  const [before = '', behind = '', ...more] = template.split(PLACEHOLDER);
  const isFixed = more.length === 0 && !/\{\{/.test(before + behind);
  if (isFixed && text.startsWith(before) && text.endsWith(behind)) {
    return text.slice(before.length, text.length - behind.length) || undefined;
  }
  return /[\w-]{8,}\.[\w-]{8,}\.[\w-]+/.exec(text)?.[0];
}
