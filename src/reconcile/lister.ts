import type { ConvercusCredential } from '../credential/api.ts';
import type { KnownSecret } from '../credential/secret.ts';
import type { Key } from '../lib/key.ts';

/** The cluster as the watches have shown it so far. No call here makes a request. */
export interface Lister {
  credential(key: Key): ConvercusCredential | undefined;
  secret(namespace: string, name: string): KnownSecret;
  /** Every credential of the namespace that names this Secret as its target. */
  credentialsWithTarget(namespace: string, targetName: string): readonly ConvercusCredential[];
  /** Every credential of the namespace that names this Secret, for whatever purpose. */
  referrers(namespace: string, secretName: string): readonly ConvercusCredential[];
  /** A Secret labelled as the session of that credential exists, whether the credential does or not. */
  hasSession(key: Key): boolean;
}
