import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type ControlPlane, startControlPlane } from '../../dev/envtest/control-plane.ts';
import { installCrd } from '../../dev/testbed/operator.ts';

const GOOD = {
  program: 'ABC',
  environment: 'staging',
  credentialsSecretRef: { name: 'convercus-abc' },
  namespaces: ['shop'],
  target: { name: 'convercus-token' },
};

describe('the CRD of ClusterConvercusCredential in a real API server', () => {
  let controlPlane: ControlPlane;

  beforeAll(async () => {
    controlPlane = await startControlPlane();
    await installCrd(controlPlane);
  }, 600_000);

  afterAll(() => controlPlane?.stop());

  const apply = (name: string, spec: object, ...flags: string[]): Promise<string> => {
    const object = {
      apiVersion: 'convercus.io/v1alpha1',
      kind: 'ClusterConvercusCredential',
      metadata: { name },
      spec,
    };
    return controlPlane.kubectl(['apply', ...flags, '-f', '-'], { input: JSON.stringify(object) });
  };

  const without = (spec: Record<string, unknown>, name: string): object =>
    Object.fromEntries(Object.entries(spec).filter(([key]) => key !== name));

  it('fills in every default of its sibling', async () => {
    await apply('defaults', GOOD);
    const { spec, status } = JSON.parse(
      await controlPlane.kubectl(['get', 'cconvcred', 'defaults', '-o', 'json']),
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
      target: { name: 'convercus-token', creationPolicy: 'Owner', deletionPolicy: 'Delete' },
      suspend: false,
    });
  });

  it('takes selectors as Kubernetes knows them', async () => {
    const matchExpressions = [
      { key: 'team', operator: 'In', values: ['a', 'b'] },
      { key: 'example.com/no-token', operator: 'DoesNotExist' },
    ];
    const namespaceSelector = { matchLabels: { 'example.com/token': 'true' }, matchExpressions };
    await apply('selector', { ...without(GOOD, 'namespaces'), namespaceSelector });
    await apply('all', { ...without(GOOD, 'namespaces'), namespaceSelector: {} });
  });

  const bad: [string, object, RegExp][] = [
    ['no namespaces', without(GOOD, 'namespaces'), /write spec.namespaceSelector, spec.namespaces/],
    ['no target', without(GOOD, 'target'), /spec.target: Required value/],
    ['no name of a target', { ...GOOD, target: {} }, /spec.target.name: Required value/],
    [
      'Merge',
      { ...GOOD, target: { name: 'a', creationPolicy: 'Merge' } },
      /Unsupported value: "Merge"/,
    ],
    [
      'In without values',
      { ...GOOD, namespaceSelector: { matchExpressions: [{ key: 'a', operator: 'In' }] } },
      /In and NotIn need values/,
    ],
    [
      'Exists with values',
      {
        ...GOOD,
        namespaceSelector: { matchExpressions: [{ key: 'a', operator: 'Exists', values: ['b'] }] },
      },
      /Exists and DoesNotExist take none/,
    ],
    ['a namespace twice', { ...GOOD, namespaces: ['a', 'a'] }, /Duplicate value: "a"/],
    [
      'a realm for a legacy login',
      { ...GOOD, grantType: 'legacy_login', realm: 'a' },
      /no meaning/,
    ],
  ];

  it.each(bad)('refuses %s', async (_, spec, message) => {
    await expect(apply('bad', spec)).rejects.toThrow(message);
  });

  it('keeps the name of the target from the first token on', async () => {
    const renamed = { ...GOOD, target: { name: 'other' } };
    await apply('renamed', GOOD);
    await apply('renamed', renamed);
    await apply('renamed', GOOD);
    const patch = JSON.stringify({ status: { issuedAt: '2026-01-01T00:00:00Z' } });
    const command = 'patch cconvcred renamed --subresource=status --type=merge -p';
    await controlPlane.kubectl([...command.split(' '), patch]);
    await expect(apply('renamed', renamed)).rejects.toThrow(/can't be changed once a token/);
  });

  it('shows what matters in columns', async () => {
    const table = await controlPlane.kubectl(['get', 'cconvcred']);
    expect(table.split('\n')[0]?.replace(/\s+/g, ' ')).toBe(
      'NAME PROGRAM ENVIRONMENT READY STATUS NAMESPACES FAILING EXPIRES AGE',
    );
    const selector = ['--field-selector', 'spec.target.name=convercus-token,spec.program=ABC'];
    const found = await controlPlane.kubectl(['get', 'cconvcred', '-o', 'name', ...selector]);
    expect(found).toContain('clusterconvercuscredential.convercus.io/defaults');
  });
});
