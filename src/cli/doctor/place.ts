import { access } from 'node:fs/promises';
import { type Credential, parseCredential } from '../../credential/credential.ts';
import type { CredentialsValues } from '../../credential/credentials-secret.ts';
import { type FailureKind, isFailure } from '../../lib/failure.ts';
import { seconds } from '../../lib/time.ts';
import { hostOf } from '../../oauth/grants.ts';
import type { Context } from '../context.ts';
import { fixFor } from '../fixes.ts';
import type { Shown } from '../kind.ts';
import { DEFAULT_CONFIG, type OperatorConfig } from '../operator-config.ts';
import { plain } from '../output.ts';
import { cliVersion } from '../version.ts';
import { type Check, failure, ok, skip } from './check.ts';
import { loginCheck } from './login.ts';
import { networkChecks } from './network.ts';
import { sourceOf } from './source.ts';

/** Only the default policy of renewals, which no check looks at. */
const RENEWAL = { percent: 80, jitterPercent: 5, minimum: seconds(30) };

/** True: also for user names and passwords. False: never. */
type LoginOption = { readonly login?: boolean; readonly inside?: string };

/**
 * Spec, Secret, network and login: what may differ between this computer and the operator's pod.
 * @param config of the operator; undefined when the person may not read it
 */
export async function placeChecks(
  context: Context,
  resource: Shown,
  config: OperatorConfig | undefined,
  options: LoginOption,
): Promise<Check[]> {
  const { environments } = config ?? DEFAULT_CONFIG;
  const { environment } = resource.spec;
  if (config === undefined && !environments.has(environment)) {
    return [skip('Spec', `only the operator knows the environment "${environment}"; ${INSIDE}`)];
  }
  const credential = parseCredential(resource, { environments, renewal: RENEWAL });
  const fixOf = (kind: FailureKind) => fixFor(kind, { credential: resource, source: 'there' });
  if (isFailure(credential)) {
    const { kind, message } = credential;
    return [failure('Spec', kind, message, fixOf(kind))];
  }
  const { grantType, realm, tokenUrl } = credential;
  const spec = ok('Spec', `${grantType} for realm ${realm} at ${hostOf(tokenUrl)}`);
  const { check, values } = await sourceOf(context, resource, credential);
  const isInside = options.inside !== undefined; // its file is what the operator has
  const foreign =
    (isInside ? undefined : foreignHost(resource, credential, config)) ??
    (config === undefined ? undefined : await foreignTrust(credential));
  if (foreign !== undefined) return [spec, check, foreign];
  const network = await networkChecks(credential.environment, tokenUrl, {
    proxy: proxyOf(context).https,
    now: () => context.host.now(),
  });
  const found = { credential, values, network, fixOf };
  return [spec, check, ...network, await login(context, found, options)];
}

const INSIDE = 'check it with --from operator';

/** The client secret goes to no other host than the one that the operator asks. */
function foreignHost(
  { metadata, status }: Shown,
  { tokenUrl }: Credential,
  config: OperatorConfig | undefined,
): Check | undefined {
  // After an edit the status may still name the host of before
  const isCurrent = status?.observedGeneration === metadata.generation;
  if (config !== undefined && !isCurrent) return undefined;
  const asked = status?.tokenUrl ?? tokenUrl;
  if (hostOf(asked) === hostOf(tokenUrl)) return undefined;
  const why =
    config === undefined
      ? "its configuration can't be read from here"
      : `the configuration that was found names ${hostOf(tokenUrl)}`;
  return skip('Network', `the operator asks ${hostOf(asked)}, and ${why}; ${INSIDE}`);
}

/** Certificates that are trusted only where the operator runs. */
async function foreignTrust({ environment: { caFile } }: Credential): Promise<Check | undefined> {
  const isReadable =
    caFile === '' ||
    (await access(caFile).then(
      () => true,
      () => false,
    ));
  if (isReadable) return undefined;
  return skip('Network', `its certificates are in ${plain(caFile)}, which is not here; ${INSIDE}`);
}

interface Found {
  readonly credential: Credential;
  readonly values: CredentialsValues | undefined;
  readonly network: readonly Check[];
  readonly fixOf: (kind: FailureKind) => string | undefined;
}

async function login(context: Context, found: Found, options: LoginOption): Promise<Check> {
  const { credential, values, network, fixOf } = found;
  const why = noLogin(credential, network, options);
  if (why !== undefined) return skip('Login', why);
  if (values === undefined) return skip('Login', 'there is nothing to present');
  const { signal } = context.host;
  const how = { proxy: proxyOf(context), version: cliVersion(), signal, fixOf };
  return loginCheck(credential, values, how);
}

/** Why no token is requested. Wrong tries lock accounts, so passwords are presented only when told to. */
function noLogin(
  { grantType }: Credential,
  network: readonly Check[],
  { login }: LoginOption,
): string | undefined {
  if (login === false) return 'not tried, because of --no-login';
  const isUnreachable = network.some(({ name, result }) => result === 'fail' && name !== 'Clock');
  if (isUnreachable) return "not tried: the host can't be reached";
  if (grantType === 'client_credentials' || login === true) return undefined;
  return `not tried for ${grantType}: a wrong password may lock the account; to try it, add --login`;
}

function proxyOf({ host: { env } }: Context) {
  const either = (name: string): string => env[name] || env[name.toLowerCase()] || '';
  return { https: either('HTTPS_PROXY'), except: either('NO_PROXY') };
}
