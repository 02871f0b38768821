import { describe, expect, it } from '@jest/globals';
import { fixFor } from '../../src/cli/fixes.ts';
import { aCredential } from '../support/builders.ts';

/** Parameters of bash and zsh that a value can't be read into: they keep or change a meaning of their own. */
const SPECIAL =
  /^(_|ARGV|BASH\w*|[EG]?UID|EGID|HOST|LOGNAME|PATH|PWD|RANDOM|SECONDS|USERNAME|argv)$/;

describe('the command that stores what a person types', () => {
  it.each(['client_credentials', 'password', 'legacy_login'] as const)(
    'reads it into variables that no shell has for itself: %s',
    (grantType) => {
      const { credentialsSecretRef: ref } = aCredential().spec;
      const keys = { ...ref.keys, clientId: 'client_id' };
      const credential = aCredential({
        spec: { grantType, credentialsSecretRef: { ...ref, keys } },
      });
      const fix = fixFor('InputMissing', { credential, source: 'absent' }) ?? '';
      const variables = [...fix.matchAll(/read -rs? (\w+)/g)].map(([, name]) => name ?? '');
      expect(variables.length).toBeGreaterThan(1);
      expect(variables.filter((name) => SPECIAL.test(name))).toEqual([]);
      expect([...fix.matchAll(/"\$(\w+)"/g)].map(([, name]) => name)).toEqual(variables);
    },
  );
});
