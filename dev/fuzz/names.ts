import * as fc from 'fast-check';

/** Few names, so that credentials, their Secrets and their targets meet. */

/** Of tenants that edit everything. */
export const TENANTS = [1, 2, 3, 4];

/** Here only client secrets and passwords change, so that every change is a token request. */
export const ROTATION = 5;

export const NAMESPACES = [...TENANTS, ROTATION];

/** Name of a credential of that namespace, and of its credentials Secret. */
export const ROTATED = Array.from({ length: 24 }, (_, number) => `r${number}`);

export const namespaceOf = (number: number): string => `fuzz-${number}`;

const CREDENTIALS = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l'];
const SECRETS = ['s1', 's2', 's3', 's4', 's5'];

/** The environment whose endpoint is the fuzzed provider; `plain` has no realm in staging's form. */
export const ENVIRONMENTS = ['staging', 'plain'];

export const credentialName = fc.constantFrom(...CREDENTIALS);

export const secretName = fc.oneof(
  { weight: 12, arbitrary: fc.constantFrom(...SECRETS) },
  { weight: 2, arbitrary: credentialName.map((name) => `${name}-token`) },
  { weight: 1, arbitrary: credentialName.map((name) => `${name}-session`) },
);
