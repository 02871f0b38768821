import { hash } from 'node:crypto';
import { Failure, isFailure } from '../lib/failure.ts';
import { textAt } from '../lib/json.ts';
import { sanitize } from '../lib/sensitive.ts';
import {
  type Environment,
  type Environments,
  realmOf,
  tokenUrlOf,
  unknownEnvironment,
} from '../oauth/environment.ts';
import { type CredentialsField, FIELDS_BY_GRANT } from '../oauth/grants.ts';
import type { ConvercusCredential } from './api.ts';
import { clusterNameOf } from './cluster-name.ts';
import { type CredentialResource, credentialsNamespaceOf, isInstance } from './instance.ts';
import type { RenewalPolicy } from './renewal.ts';
import { specFault } from './spec-rules.ts';
import {
  fill,
  isGoTemplate,
  PLACEHOLDERS,
  type Placeholder,
  unknownPlaceholders,
} from './template.ts';

export const RENEW_REQUEST_ANNOTATION = 'convercus.io/renew-requested-at';

type Spec = ConvercusCredential['spec'];

/** A valid ConvercusCredential, with all defaults filled in. */
export interface Credential {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly program: string;
  readonly environment: Environment;
  readonly grantType: Spec['grantType'];
  /** Of the spec: the one in the credentials Secret wins, if `source.keys` has a key for it. */
  readonly clientId: string;
  /** Organization code of `legacy_login`; undefined when it is in the credentials Secret. */
  readonly org: string | undefined;
  readonly scope: string;
  readonly realm: string;
  /** The token endpoint; for `legacy_login` the login endpoint. */
  readonly tokenUrl: string;
  readonly source: Source;
  readonly target: Target;
  readonly renewal: RenewalPolicy;
  readonly suspended: boolean;
  /** Value of the annotation that asks for a renewal now. */
  readonly renewRequest: string | undefined;
  /** Digest of the parts of the spec that shape the token or its target. If it changes, the target is out of date. */
  readonly specHash: string;
  /** Digest of the parts of the spec that shape the target's data. If it stays, so may the token. */
  readonly dataHash: string;
}

/** The credentials Secret. */
export interface Source {
  readonly namespace: string;
  readonly name: string;
  readonly keys: Spec['credentialsSecretRef']['keys'];
}

export interface Target {
  readonly name: string;
  readonly creationPolicy: 'Owner' | 'Merge';
  readonly deletionPolicy: 'Delete' | 'Retain';
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly data: Readonly<Record<string, string>>;
}

/** From the operator's configuration: the environments that a spec may name, and the default renewal policy. */
export interface Settings {
  readonly environments: Environments;
  readonly renewal: RenewalPolicy;
}

/** Not a default of the schema: `kubectl apply` would merge it with keys that are written later. */
const DEFAULT_DATA = { token: '{{access_token}}' };

export const targetNameOf = ({ metadata, spec }: ConvercusCredential): string =>
  spec.target.name ?? `${metadata.name}-token`;

/** Name of the Secret that holds the session of a `password` credential, beside its credentials Secret. */
export function sessionNameOf(name: string): string {
  const clusterName = clusterNameOf(name);
  return clusterName === undefined ? `${name}-session` : `${clusterName}-cluster-session`;
}

/** Checks what the schema of the CRD demands, and what it cannot check. Fails with `InvalidSpec`. */
export function parseCredential(
  resource: CredentialResource,
  settings: Settings,
): Credential | Failure {
  const fault = specFault(resource);
  if (fault !== undefined) return fault;
  const { metadata, spec } = resource;
  const environment = settings.environments.get(spec.environment);
  if (environment === undefined) return unknownEnvironment(spec.environment);
  const target = parseTarget(resource);
  if (isFailure(target)) return target;

  const source = { namespace: credentialsNamespaceOf(resource), ...spec.credentialsSecretRef };
  const realm = spec.realm ?? realmOf(environment, spec.program);
  const { grantType } = spec;
  const isLegacy = grantType === 'legacy_login';
  const tokenUrl = isLegacy ? environment.loginUrl : tokenUrlOf(environment, realm);
  const keys = requiredKeys({ grantType, source, org: spec.org });
  const request = [grantType, tokenUrl, spec.clientId, spec.scope, ...keys];
  const fixed = {
    program: spec.program,
    environment: environment.name,
    realm,
    api_url: environment.apiUrl,
  };
  return {
    namespace: metadata.namespace,
    name: metadata.name,
    uid: metadata.uid,
    program: spec.program,
    environment,
    grantType,
    clientId: spec.clientId,
    org: spec.org,
    scope: spec.scope,
    realm,
    tokenUrl,
    source,
    target,
    renewal: { ...settings.renewal, ...spec.renewal },
    suspended: spec.suspend,
    renewRequest: renewRequestOf(metadata),
    ...digestsOf(spec, target, request, fixed),
  };
}

/**
 * @param request what is asked for, and with which keys of the credentials Secret
 * @param fixed values of placeholders that do not depend on the token
 */
function digestsOf(
  spec: Spec,
  target: Target,
  request: readonly string[],
  fixed: Partial<Record<Placeholder, string>>,
): Pick<Credential, 'specHash' | 'dataHash'> {
  const org = spec.org === undefined ? [] : [spec.org];
  const data = withFixedValues(target, fixed);
  return {
    // As 0.1.0 writes it
    specHash: digest([request, [spec.renewal, target], data, ...org]),
    // The templates as well: without them a word and the placeholder of that name are the same
    dataHash: digest([request, [target.data, data], ...org]),
  };
}

/** What `renew-requested-at` asks for, as it is compared: any other text is another request. */
export function renewRequestOf(metadata: object): string | undefined {
  const written = textAt(metadata, 'annotations', RENEW_REQUEST_ANNOTATION);
  return written === undefined ? undefined : shortened(written);
}

/** What may be read from the credentials Secret. */
export type SecretField = CredentialsField | 'clientId';

type SecretUser = Pick<Credential, 'grantType' | 'org'> & {
  readonly source: Pick<Source, 'keys'>;
};

/** What is read from the credentials Secret, and under which keys. */
export function requiredFields({
  grantType,
  source: { keys },
  org,
}: SecretUser): readonly (readonly [SecretField, string])[] {
  const fields = FIELDS_BY_GRANT[grantType]
    .filter((field) => field !== 'org' || org === undefined)
    .map((field) => [field, keys[field]] as const);
  const { clientId } = keys;
  if (clientId === undefined || grantType === 'legacy_login') return fields;
  return [['clientId', clientId], ...fields];
}

export const requiredKeys = (secretUser: SecretUser): string[] =>
  requiredFields(secretUser).map(([, key]) => key);

/** The target's data with all placeholders filled in that do not depend on the token. */
const withFixedValues = ({ data }: Target, fixed: Partial<Record<Placeholder, string>>) =>
  Object.fromEntries(
    Object.entries(data).map(([key, text]) => [key, fill(text, (name) => fixed[name] ?? name)]),
  );

/** Credentials Secret, target and session need three names for every grant, because it may change to `password`. */
function nameConflict(resource: CredentialResource): Failure | undefined {
  const { metadata, spec } = resource;
  if (credentialsNamespaceOf(resource) !== metadata.namespace) return undefined;
  const target = targetNameOf(resource);
  const source = spec.credentialsSecretRef.name;
  if (target === source) {
    return new Failure(
      'InvalidSpec',
      `spec.target.name and spec.credentialsSecretRef.name are both "${target}"; the token needs a Secret of its own`,
    );
  }
  const session = sessionNameOf(metadata.name);
  if (target !== session && source !== session) return undefined;
  return new Failure(
    'InvalidSpec',
    `The Secret "${session}" is where the operator keeps the session of a credential of that name; use another name in ${target === session ? 'spec.target.name' : 'spec.credentialsSecretRef.name'}`,
  );
}

function parseTarget(resource: CredentialResource): Target | Failure {
  const { target } = resource.spec;
  const name = targetNameOf(resource);
  const conflict = nameConflict(resource);
  if (conflict !== undefined) return conflict;
  const { data = DEFAULT_DATA } = target;
  for (const [key, template] of Object.entries(data)) {
    const [unknown] = unknownPlaceholders(template);
    if (unknown !== undefined) return unknownPlaceholder(key, unknown);
  }
  const { creationPolicy, deletionPolicy, labels = {}, annotations = {} } = target;
  if (isInstance(resource) && creationPolicy !== 'Owner') return MERGE_BY_CLUSTER_CREDENTIAL;
  return { name, creationPolicy, deletionPolicy, labels, annotations, data };
}

const MERGE_BY_CLUSTER_CREDENTIAL = new Failure(
  'InvalidSpec',
  'spec.target.creationPolicy: a ClusterConvercusCredential owns its targets; write Owner',
);

function unknownPlaceholder(key: string, name: string): Failure {
  const hint = isGoTemplate(name)
    ? ', which looks like a Go template, and the operator runs none: write {{access_token}}, or $(access_token) in a Helm chart'
    : '';
  return new Failure(
    'InvalidSpec',
    `spec.target.data.${key} has the unknown placeholder {{${sanitize(name, [])}}}${hint}; known are: ${PLACEHOLDERS.join(', ')}`,
  );
}

/** In characters. An annotation may have 256 KiB, and this one is kept in the cache, the status and the target. */
const MAX_COMPARED = 64;

/** For a text that is only compared: a digest does as well as a long one. */
export const shortened = (text: string): string =>
  text.length <= MAX_COMPARED ? text : digest(text);

/** 128 bits of SHA-256 over a canonical form: the order of object keys does not matter, the order of lists does. */
export function digest(value: unknown): string {
  return hash('sha256', canonical(value), 'base64url').slice(0, 22);
}

const canonical = (value: unknown): string => JSON.stringify(ordered(value));

/** Turns objects into lists of their entries, sorted by name. */
function ordered(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(ordered);
  if (typeof value !== 'object' || value === null) return value;
  return Object.entries(value)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, inner]) => [name, ordered(inner)]);
}
