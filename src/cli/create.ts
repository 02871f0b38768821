import { API_VERSION, KIND } from '../credential/target-secret.ts';
import { CREDENTIALS, SECRETS } from '../kubernetes/resources.ts';
import { type CredentialsField, FIELDS_BY_GRANT, type GrantType } from '../oauth/grants.ts';
import type { Context } from './context.ts';
import { usageError } from './exit-code.ts';
import { type Draft, manifestOf, specOf, yamlOf } from './manifest.ts';
import type { Result } from './output.ts';
import { secretFacts } from './secret-facts.ts';

export interface CreateOptions {
  readonly program?: string;
  readonly environment?: string;
  readonly grant?: string;
  readonly clientId?: string;
  readonly scope?: string;
  readonly realm?: string;
  /** Name of the Secret with the client secret. */
  readonly secret?: string;
  readonly apply?: boolean;
}

/** Keys of the Secret by default. */
const KEYS: Readonly<Record<CredentialsField, string>> = {
  clientSecret: 'client_secret',
  username: 'username',
  password: 'password',
  org: 'org',
};

/** `kubectl convercus create [NAME]`: asks for what is not given; prints YAML, or creates Secret and credential. */
export async function create(
  context: Context,
  name: string | undefined,
  options: CreateOptions,
): Promise<Result> {
  const draft = await draftOf(context, name, options);
  if (options.apply === true) return applied(context, draft);
  const { source, grantType, namespace } = draft;
  const keys = FIELDS_BY_GRANT[grantType].map((field) => KEYS[field]);
  context.host.err(
    keys.length === 1
      ? `It needs Secret "${source.name}": read -rs S && printf %s "$S" | kubectl create secret generic ${source.name} -n ${namespace} --from-file=${keys[0]}=/dev/stdin\n`
      : `It needs Secret "${source.name}" with the keys ${keys.join(', ')}; kubectl convercus create --apply asks for them\n`,
  );
  return { data: manifestOf(draft), text: yamlOf(draft) };
}

async function draftOf(
  context: Context,
  name: string | undefined,
  options: CreateOptions,
): Promise<Draft> {
  const ask = asker(context);
  const program = options.program ?? (await ask('Program, such as ABC', '--program'));
  const environment = options.environment ?? (await ask('Environment', '--environment', 'staging'));
  const grantType = grantOf(
    options.grant ??
      (await ask(
        'Grant: client_credentials, password or legacy_login',
        '--grant',
        'client_credentials',
      )),
  );
  const given =
    name ??
    (await ask('Name of the credential', 'a name', `${program.toLowerCase()}-${environment}`));
  const secret = options.secret ?? `convercus-${program.toLowerCase()}`;
  const { clientId, scope, realm } = options;
  const { namespace } = context;
  const source = { name: secret };
  return {
    namespace,
    name: given,
    program,
    environment,
    grantType,
    clientId,
    scope,
    realm,
    source,
  };
}

function grantOf(text: string): GrantType {
  if (text === 'client_credentials' || text === 'password' || text === 'legacy_login') return text;
  throw usageError(`There is no grant "${text}"; use client_credentials, password or legacy_login`);
}

const asker =
  ({ host }: Context) =>
  async (question: string, option: string, byDefault?: string): Promise<string> => {
    if (!host.canAsk) {
      if (byDefault !== undefined && option !== 'a name') return byDefault;
      throw usageError(`There is no terminal to ask on; give ${option}`);
    }
    const shown = byDefault === undefined ? '' : ` [${byDefault}]`;
    const answer = (await host.ask(`${question}${shown}: `)).trim() || byDefault;
    if (answer !== undefined) return answer;
    throw usageError(`Without an answer nothing is created; or give ${option}`);
  };

/** The Secret first, so that the credential finds it. One that exists is used as it is. */
async function applied(context: Context, draft: Draft): Promise<Result> {
  const { cluster } = context;
  const { namespace, name, source } = draft;
  const spec = specOf(draft);
  const credential = { apiVersion: API_VERSION, kind: KIND, namespace, name, spec };
  // What is refused is refused before there is a Secret
  await cluster.create(CREDENTIALS, credential, { dryRun: 'All' });
  const facts = await secretFacts(context, source.name);
  const lines: string[] = [];
  if (facts === 'absent' || facts === 'forbidden') {
    const stringData = await valuesOf(context, draft);
    const secret = { apiVersion: 'v1', kind: 'Secret', namespace, name: source.name, stringData };
    await cluster.create(SECRETS, secret);
    lines.push(`Secret ${source.name} created`);
  } else {
    lines.push(`Secret ${source.name} exists and is used as it is`);
  }
  await cluster.create(CREDENTIALS, credential);
  lines.push(
    `ConvercusCredential ${name} created; see it: kubectl convercus status ${name} -n ${namespace} --watch`,
  );
  return { data: manifestOf(draft), text: lines.join('\n') };
}

const WORDS: Readonly<Record<CredentialsField, string>> = {
  clientSecret: 'Client secret',
  username: 'User name',
  password: 'Password',
  org: 'Organization code',
};

/** From the terminal without echo; a client secret alone also from standard input. */
async function valuesOf({ host }: Context, { grantType }: Draft): Promise<Record<string, string>> {
  const fields = FIELDS_BY_GRANT[grantType];
  if (!host.canAsk && fields.length > 1) {
    throw usageError(
      `There is no terminal to ask for ${fields.map((field) => KEYS[field]).join(', ')}; create the Secret first and name it with --secret`,
    );
  }
  if (!host.canAsk && host.isInputTerminal) {
    throw usageError(
      'The client secret would show while it is typed, because standard error is no terminal; leave standard error alone, or pipe the client secret into the command',
    );
  }
  const values: Record<string, string> = {};
  for (const field of fields) {
    const text = host.canAsk
      ? await host.ask(`${WORDS[field]} (is not shown): `, true)
      : await host.readInput();
    const value = text.replace(/[\r\n]+$/, '');
    if (value.trim() === '')
      throw usageError(`The ${WORDS[field].toLowerCase()} is empty; nothing was created`);
    values[KEYS[field]] = value;
  }
  return values;
}
