import { Failure } from '../lib/failure.ts';
import type { SecretContents, SecretMeta } from './secret.ts';

/**
 * Types of Secrets that hold something else than credentials for an identity provider. Without this check an author of
 * a ConvercusCredential, who may not read such a Secret, could have its values sent to the provider.
 */
const REFUSED_TYPES: ReadonlySet<string> = new Set([
  'kubernetes.io/dockercfg',
  'kubernetes.io/dockerconfigjson',
  'kubernetes.io/service-account-token',
  'kubernetes.io/ssh-auth',
  'kubernetes.io/tls',
]);

const REFUSED_PREFIXES = ['bootstrap.kubernetes.io/', 'convercus.io/', 'helm.sh/'] as const;

/** Why nothing of that Secret may be presented: a Failure of the kind `InputInvalid`. */
export function sourceFault(
  { meta, type }: Pick<SecretContents, 'meta' | 'type'>,
  name: string,
): Failure | undefined {
  if (isWrittenByOperator(meta)) return sourceWrittenByOperator(name);
  const refused = refusedType(type);
  if (refused === undefined) return undefined;
  return new Failure(
    'InputInvalid',
    `Secret "${name}" is of the type ${refused}, which does not hold credentials for an identity provider; put them into a Secret of the type Opaque (kubectl create secret generic)`,
  );
}

/** The type, or the family that it belongs to: the rest of its name may be anything. */
function refusedType(type: string): string | undefined {
  if (REFUSED_TYPES.has(type)) return type;
  const prefix = REFUSED_PREFIXES.find((each) => type.startsWith(each));
  return prefix && `${prefix}*`;
}

/** It holds a token or a session. Two credentials could otherwise feed each other, each write waking the other. */
export const isWrittenByOperator = ({
  credentialName,
  isSession,
  tokenAnnotations,
}: SecretMeta): boolean =>
  credentialName !== undefined || isSession === true || tokenAnnotations !== undefined;

export const sourceWrittenByOperator = (name: string): Failure =>
  new Failure(
    'InputInvalid',
    `Secret "${name}" is the target of a ConvercusCredential and can't be the credentials Secret of another; put the credentials into a Secret of their own, or, if that ConvercusCredential is gone, remove its labels and annotations (convercus.io/*) from the Secret`,
  );
