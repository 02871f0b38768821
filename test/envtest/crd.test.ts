import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type ControlPlane, startControlPlane } from '../../dev/envtest/control-plane.ts';
import { installCrd } from '../../dev/testbed/operator.ts';

const GOOD = {
  program: 'ABC',
  environment: 'staging',
  credentialsSecretRef: { name: 'convercus-abc' },
};

/** `count` keys with values so that all together have `total` characters. */
function sized(total: number, count: number, unit = 'x'): Record<string, string> {
  const keys = Array.from({ length: count }, (_, at) => `k${at.toString(32)}`);
  const left = total - keys.join('').length;
  const each = Math.floor(left / count);
  return Object.fromEntries(
    keys.map((key, at) => [key, unit.repeat(at === 0 ? left - each * (count - 1) : each)]),
  );
}

describe('the CRD in a real API server', () => {
  let controlPlane: ControlPlane;

  beforeAll(async () => {
    controlPlane = await startControlPlane();
    await installCrd(controlPlane);
  }, 600_000);

  afterAll(() => controlPlane?.stop());

  const apply = (name: string, spec: object, ...flags: string[]): Promise<string> => {
    const object = {
      apiVersion: 'convercus.io/v1alpha1',
      kind: 'ConvercusCredential',
      metadata: { name, namespace: 'default' },
      spec,
    };
    return controlPlane.kubectl(['apply', ...flags, '-f', '-'], { input: JSON.stringify(object) });
  };

  it('fills in every default', async () => {
    await apply('defaults', GOOD);
    const { spec, status } = JSON.parse(
      await controlPlane.kubectl(['get', 'convcred', 'defaults', '-o', 'json']),
    );
    expect(status).toEqual({ observedGeneration: -1 });
    expect(spec).toEqual({
      ...GOOD,
      grantType: 'client_credentials',
      clientId: 'machine-2-machine',
      scope: 'openid',
      credentialsSecretRef: {
        name: 'convercus-abc',
        keys: {
          clientSecret: 'client_secret',
          username: 'username',
          password: 'password',
          org: 'org',
        },
      },
      target: { creationPolicy: 'Owner', deletionPolicy: 'Delete' },
      suspend: false,
    });
  });

  const refusals: [fault: string, change: Record<string, unknown>, sentence: string][] = [
    ['no program', { program: undefined }, 'spec.program: Required value'],
    [
      'a program with a blank',
      { program: 'A C' },
      'write the name of the program, letters and digits, such as ABC',
    ],
    [
      'a program that is an address',
      { program: 'evil.example/x' },
      'write the name of the program',
    ],
    [
      'an environment in upper case',
      { environment: 'Staging' },
      'write staging, production, or the name of a configured environment',
    ],
    [
      'an unknown grant',
      { grantType: 'implicit' },
      'supported values: "client_credentials", "password", "legacy_login"',
    ],
    ['a client id with a line break', { clientId: 'a\nb' }, 'write the client id without spaces'],
    [
      'scopes with two blanks',
      { scope: 'openid  profile' },
      'write scopes separated by single spaces',
    ],
    ['an empty scope', { scope: '' }, 'spec.scope'],
    ['a realm that is a path', { realm: '../master' }, 'write the name of the realm alone'],
    [
      'a realm with legacy_login',
      { grantType: 'legacy_login', realm: 'abc' },
      'spec.realm has no meaning for grantType legacy_login',
    ],
    [
      'an organization code without legacy_login',
      { org: 'abc' },
      'spec.org is for grantType legacy_login alone',
    ],
    [
      'an organization code with a blank',
      { grantType: 'legacy_login', org: 'a b' },
      'write the organization code without spaces',
    ],
    [
      'a key of the client id with a slash',
      { credentialsSecretRef: { name: 's', keys: { clientId: 'a/b' } } },
      'write a key of the Secret',
    ],
    [
      'no credentials Secret',
      { credentialsSecretRef: undefined },
      'spec.credentialsSecretRef: Required value',
    ],
    [
      'a Secret of another namespace',
      { credentialsSecretRef: { name: 'other/secret' } },
      'write the name of a Secret',
    ],
    [
      'a key with a slash',
      { credentialsSecretRef: { name: 's', keys: { clientSecret: 'a/b' } } },
      'write a key of the Secret',
    ],
    [
      'the target as source',
      { target: { name: 'convercus-abc' } },
      'give the token a Secret of its own',
    ],
    [
      'the default target as source',
      { credentialsSecretRef: { name: 'bad-token' } },
      'give the token a Secret of its own',
    ],
    [
      'a label of the operator',
      { target: { labels: { 'convercus.io/credential': 'x' } } },
      "are the operator's; choose other keys",
    ],
    [
      'the managed-by label',
      { target: { labels: { 'app.kubernetes.io/managed-by': 'x' } } },
      "are the operator's; choose other keys",
    ],
    [
      'an annotation of the operator',
      { target: { annotations: { 'convercus.io/renew-at': 'x' } } },
      "are the operator's; choose other keys",
    ],
    [
      'a label key with a blank',
      { target: { labels: { 'bad key': 'x' } } },
      'a label key is a name, or a DNS prefix',
    ],
    ['no key at all', { target: { data: {} } }, 'should have at least 1 propert'],
    [
      'a data key with a slash',
      { target: { data: { 'a/b': 'x' } } },
      'a key of the Secret consists of letters',
    ],
    ['a huge template', { target: { data: { token: 'x'.repeat(5_000) } } }, 'Too long'],
    [
      'data of more than 16,384 characters, keys included',
      { target: { data: sized(16_385, 5) } },
      'keys and values have at most 16384 characters together',
    ],
    [
      'annotations of more than 8,192 characters, keys included',
      { target: { annotations: sized(8_193, 3) } },
      'keys and values have at most 8192 characters together',
    ],
    ['33 keys', { target: { data: sized(200, 33) } }, 'must have at most 32 items'],
    [
      'a renewal that comes after the expiry with its jitter',
      { renewal: { percent: 80, jitterPercent: 20 } },
      'are at most 99 together',
    ],
    [
      'a renewal that comes after the expiry with the default jitter',
      { renewal: { percent: 95 } },
      'are at most 99 together',
    ],
    ['renewal after expiry', { renewal: { percent: 120 } }, 'less than or equal to 95'],
    ['a grace of text', { suspend: 'yes' }, 'must be of type boolean'],
  ];

  it.each(refusals)('refuses %s and says what to write', async (_, change, sentence) => {
    await expect(apply('bad', { ...GOOD, ...change })).rejects.toThrow(sentence);
  });

  it.each([
    ['x', 5],
    ['ü', 5],
    ['😀', 5],
    ['x', 32],
  ])('takes the largest spec, of %j in %d keys', async (unit, count) => {
    const target = { data: sized(16_384, count, unit), annotations: sized(8_192, 3, unit) };
    const renewal = { percent: 79, jitterPercent: 20 };
    expect(await apply('largest', { ...GOOD, target, renewal }, '--server-side')).toContain(
      'largest',
    );
  });

  it('refuses a field that it does not know', async () => {
    await expect(
      apply('bad', { ...GOOD, tokenUrl: 'https://evil.example' }, '--validate=strict'),
    ).rejects.toThrow('unknown field "spec.tokenUrl"');
  });

  it('refuses a name that would not fit into a label', async () => {
    await expect(apply('x'.repeat(64), GOOD)).rejects.toThrow('at most 63 characters');
  });

  const setStatus = (name: string, status: object): Promise<string> => {
    const patch = ['patch', 'convcred', name, '--subresource=status', '--type=merge', '-p'];
    return controlPlane.kubectl([...patch, JSON.stringify({ status })]);
  };

  it('lets name and policy of the target change until a token was issued', async () => {
    await apply('free', GOOD);
    await apply('free', { ...GOOD, target: { name: 'other', creationPolicy: 'Merge' } });
    await setStatus('free', { observedGeneration: 2, tokenUrl: 'https://auth.example' });
    await apply('free', { ...GOOD, target: { name: 'third' } });
    await setStatus('free', { issuedAt: '2026-01-01T00:00:00Z' });
    await expect(apply('free', GOOD)).rejects.toThrow("spec.target.name can't be changed");
    await setStatus('free', { issuedAt: null });
    await apply('free', GOOD);
  });

  it('lets neither the name nor the policy of the target change after that', async () => {
    await apply('fixed', { ...GOOD, target: { name: 'fixed' } });
    await setStatus('fixed', { issuedAt: '2026-01-01T00:00:00Z' });
    await expect(apply('fixed', { ...GOOD, target: { name: 'other' } })).rejects.toThrow(
      "spec.target.name can't be changed",
    );
    await expect(apply('fixed', GOOD)).rejects.toThrow("spec.target.name can't be changed");
    await expect(
      apply('fixed', { ...GOOD, target: { name: 'fixed', creationPolicy: 'Merge' } }),
    ).rejects.toThrow("spec.target.creationPolicy can't be changed");
    await apply('named', GOOD);
    await setStatus('named', { issuedAt: '2026-01-01T00:00:00Z' });
    await apply('named', { ...GOOD, target: { name: 'named-token' } });
    await apply('fixed', {
      ...GOOD,
      program: 'XYZ',
      target: { name: 'fixed', deletionPolicy: 'Retain' },
    });
  });

  it('selects by what a credential is for', async () => {
    await apply('selected', { ...GOOD, environment: 'production', target: { name: 'mounted' } });
    for (const selector of [
      'spec.environment=production,spec.program=ABC,spec.grantType=client_credentials',
      'spec.target.name=mounted,spec.credentialsSecretRef.name=convercus-abc',
    ]) {
      const get = ['get', 'convcred', '-o', 'name', '--field-selector', selector];
      expect(await controlPlane.kubectl(get)).toBe('convercuscredential.convercus.io/selected\n');
    }
  });

  it('explains every field', async () => {
    for (const field of [
      'spec',
      'spec.program',
      'spec.credentialsSecretRef.keys',
      'spec.target.data',
      'spec.renewal',
      'status.conditions',
    ]) {
      const text = await controlPlane.kubectl(['explain', `convcred.${field}`]);
      expect([field, text]).toEqual([field, expect.stringMatching(/DESCRIPTION:\n {4}\w/)]);
      expect(text).not.toContain('<empty>');
    }
  });

  it('explains each value of an enum in a paragraph of its own', async () => {
    const grants = await controlPlane.kubectl(['explain', 'convcred.spec.grantType']);
    for (const grant of ['client_credentials', 'password', 'legacy_login']) {
      expect(grants).toMatch(new RegExp(`^ {4}${grant}: with `, 'm'));
    }
    const policies = await controlPlane.kubectl(['explain', 'convcred.spec.target.creationPolicy']);
    expect(policies).toMatch(/^ {4}Merge: the operator adds/m);
  });
});
