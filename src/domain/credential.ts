import { createHash } from 'node:crypto';
import type { ConvercusCredential } from './api.ts';
import { type Environment, type Environments, realmOf, tokenUrlOf } from './environment.ts';
import { Failure, isFailure } from './failure.ts';
import type { SecretContents } from './secret.ts';
import { Sensitive } from './sensitive.ts';
import { fill, PLACEHOLDERS, type Placeholder, unknownPlaceholders } from './template.ts';
import type { Ms } from './time.ts';

export const RENEW_REQUEST_ANNOTATION = 'convercus.io/renew-requested-at';

type Spec = ConvercusCredential['spec'];

/** A ConvercusCredential that makes sense: parsed once per pass, complete, with nothing left to default. */
export interface Credential {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly program: string;
  readonly environment: Environment;
  readonly grantType: 'client_credentials';
  readonly clientId: string;
  readonly scope: string;
  readonly realm: string;
  readonly tokenUrl: string;
  readonly source: { readonly name: string; readonly keys: Spec['credentialsSecretRef']['keys'] };
  readonly target: Target;
  readonly renewal: RenewalPolicy;
  readonly suspended: boolean;
  /** Value of the annotation that asks for a renewal now. */
  readonly renewRequest: string | undefined;
  /** Digest of what shapes the token or its target; a change means that the target is out of date. */
  readonly specHash: string;
}

export interface Target {
  readonly name: string;
  readonly creationPolicy: 'Owner' | 'Merge';
  readonly deletionPolicy: 'Delete' | 'Retain';
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly data: Readonly<Record<string, string>>;
}

/** When to renew: at `percent` ± `jitterPercent` of the validity, but never sooner than `minimum` after the last time. */
export interface RenewalPolicy {
  readonly percent: number;
  readonly jitterPercent: number;
  readonly minimum: Ms;
}

/** The administrator's part: what a spec may refer to and what it leaves out. */
export interface Settings {
  readonly environments: Environments;
  readonly renewal: RenewalPolicy;
}

/** Not a default of the schema: `kubectl apply` would merge it with keys that are written later. */
const DEFAULT_DATA = { token: '{{access_token}}' };

export const targetNameOf = ({ metadata, spec }: ConvercusCredential): string =>
  spec.target.name ?? `${metadata.name}-token`;

/** What the schema could not check is checked here. Fails with `InvalidSpec` or `UnsupportedByOperator`. */
export function parseCredential(
  resource: ConvercusCredential,
  settings: Settings,
): Credential | Failure {
  const { metadata, spec } = resource;
  const grantType = supportedGrant(spec);
  if (isFailure(grantType)) return grantType;
  const environment = settings.environments.get(spec.environment);
  if (environment === undefined) return unknownEnvironment(spec, settings.environments);
  const target = parseTarget(resource);
  if (isFailure(target)) return target;

  const source = spec.credentialsSecretRef;
  const realm = spec.realm ?? realmOf(environment, spec.program);
  const tokenUrl = tokenUrlOf(environment, realm);
  return {
    namespace: metadata.namespace,
    name: metadata.name,
    uid: metadata.uid,
    program: spec.program,
    environment,
    grantType,
    clientId: spec.clientId,
    scope: spec.scope,
    realm,
    tokenUrl,
    source,
    target,
    renewal: { ...settings.renewal, ...spec.renewal },
    suspended: spec.suspend,
    renewRequest: metadata.annotations?.[RENEW_REQUEST_ANNOTATION],
    specHash: digest([
      [grantType, tokenUrl, spec.clientId, spec.scope, source.keys.clientSecret],
      [spec.renewal, target],
      shownBy(target, {
        program: spec.program,
        environment: environment.name,
        realm,
        api_url: environment.apiUrl,
      }),
    ]),
  };
}

/** The target's data as far as it does not depend on the token. */
const shownBy = ({ data }: Target, fixed: Partial<Record<Placeholder, string>>) =>
  Object.fromEntries(
    Object.entries(data).map(([key, text]) => [key, fill(text, (name) => fixed[name] ?? name)]),
  );

function supportedGrant(spec: Spec): Credential['grantType'] | Failure {
  if (spec.grantType === 'client_credentials') return spec.grantType;
  return new Failure(
    'UnsupportedByOperator',
    `This version of the operator does not serve spec.grantType "${spec.grantType}"; use client_credentials`,
  );
}

function unknownEnvironment(spec: Spec, environments: Environments): Failure {
  const known = [...environments.keys()].join(', ');
  return new Failure(
    'InvalidSpec',
    `spec.environment "${spec.environment}" is not configured; the operator knows: ${known}`,
  );
}

function parseTarget(resource: ConvercusCredential): Target | Failure {
  const { target, credentialsSecretRef } = resource.spec;
  const name = targetNameOf(resource);
  if (name === credentialsSecretRef.name) {
    return new Failure(
      'InvalidSpec',
      `spec.target.name and spec.credentialsSecretRef.name are both "${name}"; the token needs a Secret of its own`,
    );
  }
  const { data = DEFAULT_DATA } = target;
  for (const [key, template] of Object.entries(data)) {
    const [unknown] = unknownPlaceholders(template);
    if (unknown !== undefined) {
      return new Failure(
        'InvalidSpec',
        `spec.target.data.${key} has the unknown placeholder {{${unknown}}}; known are: ${PLACEHOLDERS.join(', ')}`,
      );
    }
  }
  const { creationPolicy, deletionPolicy, labels = {}, annotations = {} } = target;
  return { name, creationPolicy, deletionPolicy, labels, annotations, data };
}

/** The client secret out of the credentials Secret. Fails with `InputMissing` or `InputInvalid`, naming Secret and key. */
export function parseClientSecret(
  contents: SecretContents,
  { source }: Credential,
): Sensitive | Failure {
  const key = source.keys.clientSecret;
  const value = contents.data.get(key)?.reveal();
  if (value === undefined || value.trim() === '') {
    const fault = value === undefined ? `has no key "${key}"` : `has an empty key "${key}"`;
    return new Failure(
      'InputMissing',
      `Secret "${source.name}" ${fault}; put the client secret there`,
    );
  }
  if (/[\r\n]$/.test(value)) {
    return new Failure(
      'InputInvalid',
      `Key "${key}" of Secret "${source.name}" ends with a line break, which is hardly part of the client secret; write it without one (echo -n, printf, --from-literal)`,
    );
  }
  return new Sensitive(value);
}

export const sourceMissing = ({ source }: Credential): Failure =>
  new Failure(
    'InputMissing',
    `Secret "${source.name}" does not exist; create it with the key "${source.keys.clientSecret}"`,
  );

/** 128 bits of SHA-256 over a canonical form: the order of object keys does not matter, the order of lists does. */
export function digest(value: unknown): string {
  return createHash('sha256').update(canonical(value)).digest('base64url').slice(0, 22);
}

function canonical(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1))
      : inner,
  );
}
