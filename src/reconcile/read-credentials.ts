import type { Credential } from '../credential/credential.ts';
import {
  type CredentialsValues,
  credentialsIn,
  credentialsSecretMissing,
} from '../credential/credentials-secret.ts';
import type { Observation } from '../credential/plan.ts';
import { isSameVersion, versionOf } from '../credential/secret.ts';
import { type Failure, isFailure } from '../lib/failure.ts';
import { FIELDS_BY_GRANT } from '../oauth/grants.ts';
import type { ClusterClient } from './cluster-client.ts';
import type { Source, Subject } from './state.ts';

/** What a credential presents, and which version of its Secret that came from. */
export interface CredentialsRead {
  readonly version: string;
  readonly values: CredentialsValues;
}

/** What the credentials Secret holds, read again only when it has changed since the last time. */
export async function readCredentials(
  cluster: ClusterClient,
  { credential, state }: Subject,
  { source }: Observation,
  signal: AbortSignal,
): Promise<CredentialsRead | Failure> {
  const keys = keysOf(credential);
  const known = state.source?.keys === keys ? state.source : undefined;
  if (known !== undefined && isSameVersion(known.meta, source)) return credentialsFrom(known);
  const contents = await cluster.readSecret(credential.namespace, credential.source.name, signal);
  if (isFailure(contents)) return contents;
  if (contents === 'absent') return credentialsSecretMissing(credential);
  const values = credentialsIn(contents, credential);
  if (isFailure(values)) return values;
  const meta = isSameVersion(contents.meta, source) ? source : contents.meta;
  state.source = { meta, keys, values };
  return credentialsFrom(state.source);
}

const credentialsFrom = ({ meta, values }: Source): CredentialsRead => ({
  version: versionOf(meta),
  values,
});

const keysOf = ({ grantType, source: { keys } }: Credential): string =>
  FIELDS_BY_GRANT[grantType].map((field) => keys[field]).join(' ');
