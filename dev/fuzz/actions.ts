import * as fc from 'fast-check';
import type { ApiClient, ApiRequest } from '../lab/api-client.ts';
import type { Canaries } from './canary.ts';
import { anySpec } from './credentials.ts';
import { credentialName, namespaceOf, ROTATED, ROTATION, secretName, TENANTS } from './names.ts';
import { anySecret, encoded, metadataPatch, RIGHT_SECRET, type SecretDraft } from './secrets.ts';

/** What tenants do: they write and delete credentials and Secrets, and edit what the operator has written. */

export interface Action {
  /** For the report. */
  readonly kind: string;
  readonly request: (canaries: Canaries) => ApiRequest;
}

const APPLY = 'application/apply-patch+yaml';
const MERGE = 'application/merge-patch+json';
const namespace = fc.constantFrom(...TENANTS);

const credentialsPath = (number: number, name: string): string =>
  `/apis/convercus.io/v1alpha1/namespaces/${namespaceOf(number)}/convercuscredentials/${name}`;
const secretsPath = (number: number, name: string): string =>
  `/api/v1/namespaces/${namespaceOf(number)}/secrets/${name}`;
/** The tenant's own field manager, which takes over what others have set. */
const forced = (path: string): string => `${path}?fieldManager=tenant&force=true`;

export const applyCredential = (path: string, name: string, spec: object): ApiRequest => ({
  method: 'PATCH',
  path: forced(path),
  contentType: APPLY,
  body: {
    apiVersion: 'convercus.io/v1alpha1',
    kind: 'ConvercusCredential',
    metadata: { name },
    spec,
  },
});

export const applySecret = (
  path: string,
  name: string,
  { type, labels, annotations, data }: SecretDraft,
  canary: string,
): ApiRequest => ({
  method: 'PATCH',
  path: forced(path),
  contentType: APPLY,
  body: {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name, labels, annotations },
    type,
    data: encoded(data, canary),
  },
});

const writeCredential = fc.tuple(namespace, credentialName, anySpec).map(
  ([number, name, spec]): Action => ({
    kind: 'credentials',
    request: () => applyCredential(credentialsPath(number, name), name, spec),
  }),
);

const deleteCredential = fc.tuple(namespace, credentialName).map(
  ([number, name]): Action => ({
    kind: 'deletions',
    request: () => ({ method: 'DELETE', path: credentialsPath(number, name) }),
  }),
);

const writeSecret = fc.tuple(namespace, secretName, anySecret).map(
  ([number, name, draft]): Action => ({
    kind: 'Secrets',
    request: (canaries) => applySecret(secretsPath(number, name), name, draft, canaries.of(number)),
  }),
);

/** So that most credentials find something to present. */
const writeRightSecret = fc
  .tuple(namespace, fc.constantFrom('s1', 's2'))
  .map(([number, name]): Action => rightSecret(number, name));

export const rightSecret = (number: number, name: string): Action => ({
  kind: 'Secrets',
  request: (canaries) =>
    applySecret(secretsPath(number, name), name, RIGHT_SECRET, canaries.of(number)),
});

const rotation = fc.tuple(fc.constantFrom(...ROTATED), fc.nat()).map(([name, value]): Action => {
  const secret = `<canary>-${value}`;
  const data = { ...RIGHT_SECRET.data, client_secret: secret, password: secret };
  return {
    kind: 'rotations',
    request: (canaries) => {
      const draft = { ...RIGHT_SECRET, data };
      return applySecret(secretsPath(ROTATION, name), name, draft, canaries.of(ROTATION));
    },
  };
});

/** A credential whose Secret is rotated: every grant, each in a realm of its own. */
export const rotatedCredential = (name: string, at: number): Action => ({
  kind: 'credentials',
  request: () =>
    applyCredential(credentialsPath(ROTATION, name), name, {
      program: 'ABC',
      environment: 'staging',
      ...GRANTS[at % GRANTS.length],
      ...(at % GRANTS.length === 2 ? {} : { realm: `rotated-${name}` }),
      credentialsSecretRef: { name },
    }),
});

const GRANTS = ['client_credentials', 'password', 'legacy_login', 'client_credentials'].map(
  (grantType) => ({ grantType }),
);

const deleteSecret = fc.tuple(namespace, secretName).map(
  ([number, name]): Action => ({
    kind: 'deletions',
    request: () => ({ method: 'DELETE', path: secretsPath(number, name) }),
  }),
);

const editSecret = fc.tuple(namespace, secretName, metadataPatch).map(
  ([number, name, body]): Action => ({
    kind: 'edits of metadata',
    request: () => ({
      method: 'PATCH',
      path: secretsPath(number, name),
      contentType: MERGE,
      body,
    }),
  }),
);

const renewRequest = fc
  .tuple(
    namespace,
    credentialName,
    fc.oneof(
      fc.string({ maxLength: 40, unit: 'binary' }),
      fc.nat({ max: 200_000 }).map((n) => 'r'.repeat(n)),
    ),
  )
  .map(
    ([number, name, value]): Action => ({
      kind: 'renew requests',
      request: () => ({
        method: 'PATCH',
        path: credentialsPath(number, name),
        contentType: MERGE,
        body: { metadata: { annotations: { 'convercus.io/renew-requested-at': value } } },
      }),
    }),
  );

/** Only an administrator may, or another version of the operator has. */
const editStatus = fc
  .tuple(
    namespace,
    credentialName,
    fc.oneof(
      fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 2 })),
      fc.record(
        {
          observedGeneration: fc.integer(),
          expiresAt: fc.constantFrom('2099-01-01T00:00:00Z', 'x'),
          rejectedLogin: fc.jsonValue({ maxDepth: 2 }),
          target: fc.constantFrom(null, { name: 's1', resourceVersion: '1' }),
          lastHandledRenewRequest: fc.string(),
        },
        { requiredKeys: [] },
      ),
    ),
  )
  .map(
    ([number, name, status]): Action => ({
      kind: 'edits of status',
      request: () => ({
        method: 'PATCH',
        path: `${credentialsPath(number, name)}/status`,
        contentType: MERGE,
        body: { status },
      }),
    }),
  );

export const anyAction: fc.Arbitrary<Action> = fc.oneof(
  { weight: 8, arbitrary: writeCredential },
  { weight: 4, arbitrary: writeSecret },
  { weight: 4, arbitrary: writeRightSecret },
  { weight: 8, arbitrary: rotation },
  { weight: 2, arbitrary: editSecret },
  { weight: 1, arbitrary: deleteCredential },
  { weight: 2, arbitrary: deleteSecret },
  { weight: 1, arbitrary: renewRequest },
  { weight: 1, arbitrary: editStatus },
);

/**
 * `refused`: as the API server should most of what is beyond the schema; with a 500 where a server-side apply has a value
 * of a wrong type. Otherwise what went wrong.
 */
export type Answer = 'accepted' | 'refused' | Error;

export async function perform(client: ApiClient, request: ApiRequest): Promise<Answer> {
  try {
    await client.send(request);
    return 'accepted';
  } catch (error) {
    const failure = error instanceof Error ? error : new Error(String(error));
    return / answered (?:4\d\d|500): /.test(failure.message) ? 'refused' : failure;
  }
}
