import type { ConvercusCredential } from '../../src/credential/api.ts';
import {
  type Credential,
  parseCredential,
  type Settings,
} from '../../src/credential/credential.ts';
import type { SecretMeta, TokenAnnotations } from '../../src/credential/secret.ts';
import { FAILURE_KINDS, type FailureKind, isFailure } from '../../src/lib/failure.ts';
import { Sensitive } from '../../src/lib/sensitive.ts';
import { type EpochMs, minutes, seconds } from '../../src/lib/time.ts';
import { BUILT_IN_ENVIRONMENTS } from '../../src/oauth/environment.ts';
import type { Token } from '../../src/oauth/token.ts';
import type { Ticket } from '../../src/tokens/deadline-queue.ts';

/** The moment at which every test begins, with whole seconds. */
export const START: EpochMs = Date.parse('2026-09-21T12:00:00Z');

/** Part of every secret and token in a test: it must turn up nowhere but in Secrets and token requests. */
export const CANARY = 'CaNaRy';

export const SETTINGS: Settings = {
  environments: new Map(BUILT_IN_ENVIRONMENTS.map((each) => [each.name, each])),
  renewal: { percent: 80, jitterPercent: 5, minimum: seconds(30) },
};

export const KINDS = Object.keys(FAILURE_KINDS).filter(
  (kind): kind is FailureKind => kind in FAILURE_KINDS,
);

type Spec = ConvercusCredential['spec'];

const KEYS = {
  clientSecret: 'client_secret',
  username: 'username',
  password: 'password',
  org: 'org',
};

export interface CredentialOverrides {
  readonly metadata?: Partial<ConvercusCredential['metadata']>;
  readonly spec?: Partial<Omit<Spec, 'target' | 'credentialsSecretRef'>> & {
    readonly credentialsSecretRef?: Partial<Spec['credentialsSecretRef']>;
  };
  readonly target?: Partial<Spec['target']>;
  readonly status?: ConvercusCredential['status'];
}

/** The resource shop/loyalty as the API server shows it, every default filled in. */
export function aCredential({
  metadata,
  spec,
  target,
  status,
}: CredentialOverrides = {}): ConvercusCredential {
  const name = metadata?.name ?? 'loyalty';
  return {
    metadata: {
      name,
      namespace: 'shop',
      uid: `uid-of-${name}`,
      generation: 1,
      creationTimestamp: '2026-09-01T00:00:00Z',
      ...metadata,
    },
    spec: {
      program: 'ABC',
      environment: 'staging',
      grantType: 'client_credentials',
      clientId: 'machine-2-machine',
      scope: 'openid',
      suspend: false,
      ...spec,
      credentialsSecretRef: { name: 'convercus-abc', keys: KEYS, ...spec?.credentialsSecretRef },
      target: {
        creationPolicy: 'Owner',
        deletionPolicy: 'Delete',
        data: { token: '{{access_token}}' },
        ...target,
      },
    },
    ...(status !== undefined && { status }),
  };
}

/** The same, parsed. */
export function aParsedCredential(overrides: CredentialOverrides = {}): Credential {
  const credential = parseCredential(aCredential(overrides), SETTINGS);
  if (isFailure(credential)) throw new Error(credential.message);
  return credential;
}

/** Issued at START and valid for five minutes. */
export const aToken = (overrides: Partial<Token> = {}): Token => ({
  accessToken: new Sensitive(`${CANARY}-access-token`),
  tokenType: 'Bearer',
  scope: 'openid',
  issuedAt: START,
  expiresAt: START + minutes(5),
  jitter: 0,
  notBefore: 0,
  ...overrides,
});

/** The mark of `aToken()` in the target of `aCredential()`. */
export const aMark = (overrides: Partial<TokenAnnotations> = {}): TokenAnnotations => ({
  issuedAt: START,
  expiresAt: START + minutes(5),
  renewAt: START + minutes(4),
  specHash: aParsedCredential().specHash,
  sourceVersion: 'source-uid/1',
  contentHash: 'content',
  ...overrides,
});

/** The target of `aCredential()` with a token in it. */
export const aSecretMeta = (overrides: Partial<SecretMeta> = {}): SecretMeta => ({
  uid: 'target-uid',
  resourceVersion: '7',
  controllerUid: 'uid-of-loyalty',
  credentialName: 'loyalty',
  tokenAnnotations: aMark(),
  ...overrides,
});

/** Of a request for a credential in the namespace shop that has no token. */
export const aTicket = (overrides: Partial<Ticket> = {}): Ticket => ({
  realm: 'abc',
  namespaces: new Set(['shop']),
  deadline: 0,
  ...overrides,
});
