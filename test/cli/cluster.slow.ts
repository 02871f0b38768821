import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { stringify } from 'yaml';
import { showInstallation } from '../../dev/testbed/installed.ts';
import { eventually, manifest } from '../../dev/testbed/objects.ts';
import { OPERATOR_NAMESPACE, OPERATOR_USER } from '../../dev/testbed/operator.ts';
import type { Tenant } from '../../dev/testbed/tenant.ts';
import type { Testbed } from '../../dev/testbed/testbed.ts';
import {
  expectNoSecretIn,
  type Person,
  personWith,
  printedSoFar,
  testbedWithPeople,
  testConfig,
} from './person.ts';

const NAME = 'cconvcred/loyalty';
const WAIT = ['--wait', '90s'];

describe('kubectl convercus with a ClusterConvercusCredential', () => {
  let testbed: Testbed;
  let tenants: Tenant[];
  let admin: Person;
  let config: Record<string, unknown>;

  beforeAll(async () => {
    testbed = await testbedWithPeople(true);
    config = testConfig(testbed.provider.url, true);
    await showInstallation(testbed, config);
    tenants = [await testbed.tenant(), await testbed.tenant()];
    admin = personWith(testbed, 'admin', tenants[0]?.namespace);
    const { clientSecret } = await testbed.addRealm('abc-staging');
    await apply(OPERATOR_NAMESPACE, {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'convercus-abc' },
      stringData: { client_secret: clientSecret },
    });
    await create('loyalty');
    await ready('loyalty');
  }, 600_000);

  afterAll(async () => {
    try {
      for (const tenant of tenants ?? []) await expectNoSecretIn(testbed, tenant);
    } finally {
      await testbed?.stop();
    }
  });

  const apply = (namespace: string, ...objects: object[]): Promise<string> =>
    testbed.controlPlane.kubectl(['apply', '-n', namespace, '-f', '-'], {
      input: manifest(objects),
    });

  const create = (name: string, spec: object = {}): Promise<string> =>
    testbed.controlPlane.kubectl(['apply', '-f', '-'], {
      input: manifest([
        {
          apiVersion: 'convercus.io/v1alpha1',
          kind: 'ClusterConvercusCredential',
          metadata: { name },
          spec: {
            program: 'ABC',
            environment: 'staging',
            credentialsSecretRef: { name: 'convercus-abc' },
            namespaces: tenants.map(({ namespace }) => namespace),
            target: { name: `${name}-access` },
            ...spec,
          },
        },
      ]),
    });

  const ready = (name: string): Promise<string> => {
    const what = `clusterconvercuscredential/${name}`;
    return testbed.controlPlane.kubectl(['wait', '--for=condition=Ready', what, '--timeout=90s']);
  };

  it('lists it', async () => {
    const { code, out } = await admin.cli('list', 'cconvcred');
    expect(out).toMatch(
      /^NAME +PROGRAM +READY +RENEWAL +TOKEN +NEXT +NAMESPACES\nloyalty +ABC staging +yes +ok +\d+m\d*s? left +in \d+m\S* +2 of 2 ready$/m,
    );
    expect(code).toBe(0);
    expect(JSON.parse((await admin.cli('list', 'cconvcred', '-o', 'json')).out)).toEqual([
      expect.objectContaining({
        kind: 'ClusterConvercusCredential',
        name: 'loyalty',
        namespaces: { selected: 2, ready: 2, failing: 0, terminating: 0 },
      }),
    ]);
    expect((await admin.cli('list', 'clusterconvercuscredentials', '--not-ready')).out).toBe(
      'None of the 1 ClusterConvercusCredentials is like that.\n',
    );
    expect((await admin.cli('list', 'pods')).code).toBe(2);
  });

  it('tells its status', async () => {
    const { code, out } = await admin.cli('status', NAME);
    expect(out).toMatch(/^loyalty \(cluster\) {3}ABC · staging · client_credentials · http/);
    expect(out).toMatch(/^Token {7}valid, \d+m/m);
    expect(out).toMatch(/^Renewal {5}ok, next /m);
    expect(out).toMatch(/^Namespaces {2}2 of 2 have a valid token$/m);
    expect(out).toMatch(
      /^Source {6}Secret convercus-abc in convercus-operator, key client_secret, changed /m,
    );
    expect(out).toMatch(
      /^Target {6}Secret loyalty-access, key token \(Delete\), in each of them$/m,
    );
    expect(out).toMatch(/^Events {6}\d+s ago {2}Normal /m);
    expect(code).toBe(0);
    const data = JSON.parse((await admin.cli('status', NAME, '-o', 'json')).out);
    expect(data).toMatchObject({
      kind: 'ClusterConvercusCredential',
      ready: true,
      source: { namespace: OPERATOR_NAMESPACE, name: 'convercus-abc', state: 'there' },
    });
  });

  it('finds nothing wrong, from here and from inside of the operator', async () => {
    const here = await admin.cli('doctor', NAME);
    expect(here.out).toMatch(/^\[ok] {3}Served {6}the whole cluster is watched$/m);
    expect(here.out).toMatch(/^\[ok] {3}Source {6}Secret convercus-abc has client_secret/m);
    expect(here.out).toMatch(/^\[ok] {3}Login {7}a token was issued/m);
    expect(here.out).toMatch(/^\[ok] {3}Targets {5}2 of 2 have a valid token$/m);
    expect([here.code, here.out]).toEqual([0, expect.stringMatching(/^No failure\.$/m)]);

    const dir = await mkdtemp(join(tmpdir(), 'cli-'));
    await writeFile(join(dir, 'config.yaml'), stringify(config));
    const inPod = admin.with({ kubeconfig: testbed.controlPlane.userKubeconfig(OPERATOR_USER) });
    const person = admin.with({
      run: async (_, args) => {
        const inner = args
          .slice(args.indexOf('doctor'))
          .map((each) => (each.startsWith('/etc/') ? join(dir, 'config.yaml') : each));
        const { code, out, err } = await inPod.cli(...inner);
        return { code, stdout: out, stderr: err };
      },
    });
    const there = await person.cli('doctor', NAME, '--from', 'operator');
    await rm(dir, { recursive: true });
    expect(there.out).toMatch(/^\[ok] {3}Login {7}a token was issued/m);
    expect([there.code, there.out]).toEqual([0, expect.stringMatching(/^No failure\.$/m)]);
  });

  it('renews it in all namespaces, suspends and resumes it', async () => {
    const before = await Promise.all(tenants.map((tenant) => tenant.token('loyalty-access')));
    const { code, out } = await admin.cli('renew', NAME, ...WAIT);
    expect([code, out]).toEqual([0, `${NAME}: renewed\n`]);
    const after = await eventually(
      () => Promise.all(tenants.map((tenant) => tenant.token('loyalty-access'))),
      (tokens) => tokens.every((token, at) => token !== before[at]),
    );
    expect(new Set(after).size).toBe(1);
    expect((await admin.cli('suspend', NAME)).out).toMatch(
      /^cconvcred\/loyalty: suspended; its token/,
    );
    await eventually(
      () => admin.cli('status', NAME),
      ({ out }) => /^Renewal {5}suspended/m.test(out),
    );
    expect((await admin.cli('status', NAME)).out).toContain(
      'Do          go on: kubectl convercus resume cconvcred/loyalty',
    );
    expect((await admin.cli('resume', NAME)).out).toBe('cconvcred/loyalty: resumed\n');
  });

  it('shows the token of one namespace', async () => {
    const [tenant] = tenants;
    const { out } = await admin.cli('token', NAME);
    expect(out === `${await tenant?.token('loyalty-access')}\n`).toBe(true);
    expect((await admin.cli('inspect', NAME)).out).toMatch(/^Issuer {6}http/m);
  });

  it('knows the pods of all its namespaces that never see a new token', async () => {
    const volumes = [{ name: 'token', secret: { secretName: 'loyalty-access' } }];
    const mount = { name: 'token', mountPath: '/token' };
    const pod = (name: string, volumeMount: object) => ({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name },
      spec: { volumes, containers: [{ name: 'app', image: 'app', volumeMounts: [volumeMount] }] },
    });
    const [one, other] = tenants;
    await one?.apply(pod('reads', mount));
    await other?.apply(pod('copies', { ...mount, subPath: 'token' }));
    const { code, out } = await admin.cli('consumers', NAME);
    expect(out).toMatch(/^NAMESPACE +WORKLOAD +PODS +USES +SEES NEW TOKENS$/m);
    expect(out).toMatch(/^shop-1 +pod\/reads +1 +volume +ok$/m);
    expect(out).toMatch(/^shop-2 +pod\/copies +1 +subPath +will never see a new token/m);
    expect(code).toBe(1);
    expect((await admin.cli('doctor', NAME, '--no-login')).out).toContain(
      '[fail] Consumers   1 of 2 workloads will never see a new token',
    );
  });

  it('tells in which namespace it fails, and why', async () => {
    await tenants[0]?.secret('taken-access', { token: 'CaNaRy-of-others' });
    await create('taken');
    const { code, out } = await eventually(
      () => admin.cli('status', 'cconvcred/taken'),
      // The event may come before the status that was read
      ({ out }) => /^Namespaces {2}1 of 2/m.test(out),
    );
    expect(out).toMatch(/^Token {7}valid, /m);
    expect(out).toMatch(/^Renewal {5}FAILING since \S+: TargetNotOurs$/m);
    expect(out).toMatch(
      /^Namespaces {2}1 of 2 have a valid token, 1 fail\n {12}shop-1: TargetNotOurs: Secret "taken-access" exists/m,
    );
    expect(code).toBe(1);
    const doctor = await admin.cli('doctor', 'cconvcred/taken');
    expect(doctor.out).toMatch(
      /^\[fail] Renewal {5}failing since \S+ TargetNotOurs; see Targets below$/m,
    );
    expect(doctor.out).toMatch(
      /^\[fail] Targets {5}1 of 2 have a valid token, 1 fail\n {19}shop-1: TargetNotOurs/m,
    );
  });

  it('tells how to make the credentials Secret that is missing, and where', async () => {
    await create('missing', { credentialsSecretRef: { name: 'nowhere' } });
    const { out } = await eventually(
      () => admin.cli('status', 'cconvcred/missing'),
      ({ out }) => out.includes('FAILING since'), // the event comes before the status
    );
    expect(out).toMatch(
      /^Do {10}fix: .*create secret generic nowhere -n convercus-operator --from-file=/m,
    );
    expect(out).toContain('after the fix: kubectl convercus renew cconvcred/missing --wait 1m');
  });

  it('tells that it selects nothing', async () => {
    const none = { matchLabels: { 'example.com/team': 'none' } };
    await create('idle', { namespaces: [], namespaceSelector: none });
    const { code, out } = await eventually(
      () => admin.cli('status', 'cconvcred/idle'),
      ({ out }) => out.includes('none is selected'),
    );
    expect(out).toContain('Do          compare the labels: kubectl get namespaces --show-labels');
    expect(code).toBe(1);
  });

  it('completes its name', async () => {
    // The flags stand before: the last word is the one that is completed
    const flags = ['-n', 'shop-1', '--kubeconfig', testbed.controlPlane.adminKubeconfig];
    const { out } = await admin.cli('__complete', 'status', ...flags, 'cconvcred/lo');
    expect(out).toBe('cconvcred/loyalty\n:4\n');
  });

  it('has it in the report', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'cli-'));
    const directory = join(dir, 'report');
    await admin.cli('report', '--directory', directory);
    const text = await readFile(join(directory, 'clusterconvercuscredentials.yaml'), 'utf8');
    printedSoFar.push(text);
    await rm(dir, { recursive: true });
    expect(text).toContain('name: loyalty');
  });

  it.each([
    [['status', 'cconvcred/lojalty'], 3, 'There is no ClusterConvercusCredential "lojalty"; see'],
    [['status', 'pod/loyalty'], 2, 'There is no kind "pod" here; write convcred, or cconvcred'],
  ])('tells in one sentence why not: %j', async (args, code, sentence) => {
    expect(await admin.cli(...args)).toMatchObject({
      code,
      err: expect.stringContaining(sentence),
    });
  });

  it('is for administrators', async () => {
    const editor = personWith(testbed, 'editor', tenants[0]?.namespace);
    for (const args of [
      ['list', 'cconvcred'],
      ['renew', NAME],
    ]) {
      expect(await editor.cli(...args)).toMatchObject({
        code: 3,
        err: expect.stringMatching(
          /^You may not (get|list|patch) clusterconvercuscredentials[^\n]* in the whole cluster; [^\n]*\n$/,
        ),
      });
    }
  });
});
