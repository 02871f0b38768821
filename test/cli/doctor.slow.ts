import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { stringify } from 'yaml';
import { showInstallation } from '../../dev/testbed/installed.ts';
import { eventually } from '../../dev/testbed/objects.ts';
import { OPERATOR_USER } from '../../dev/testbed/operator.ts';
import type { SpecOverrides, Tenant } from '../../dev/testbed/tenant.ts';
import type { Testbed } from '../../dev/testbed/testbed.ts';
import {
  expectNoSecretIn,
  type Person,
  personWith,
  printedSoFar,
  testbedWithPeople,
  testConfig,
} from './person.ts';

describe('kubectl convercus', () => {
  let testbed: Testbed;
  let tenant: Tenant;
  let admin: Person;
  let viewer: Person;
  let config: string;

  beforeAll(async () => {
    testbed = await testbedWithPeople();
    tenant = await testbed.tenant();
    admin = personWith(testbed, 'admin', tenant.namespace);
    viewer = personWith(testbed, 'viewer', tenant.namespace);
    const configured = withTrust(testConfig(testbed.provider.url));
    config = stringify(configured);
    await showInstallation(testbed, configured);
  }, 600_000);

  afterAll(async () => {
    try {
      if (tenant !== undefined) await expectNoSecretIn(testbed, tenant);
    } finally {
      await testbed?.stop();
    }
  });

  /** An environment whose certificates are in a file of the pod; the operator here does not have it. */
  const withTrust = ({ environments, ...rest }: Record<string, unknown>) => ({
    ...rest,
    environments: {
      ...Object(environments),
      trusted: {
        realm: '{program}',
        tokenUrl: 'https://127.0.0.1:1/realms/{realm}/token',
        apiUrl: 'https://127.0.0.1:1',
        caFile: '/etc/trust/ca.pem',
      },
    },
  });

  /** Until the operator has reported this reason. */
  async function reported(name: string, reason: string): Promise<void> {
    const conditions = await eventually(
      () => tenant.conditions(name),
      (seen) => Object.values(seen).some((each) => each.endsWith(`/${reason}`)),
    );
    expect([name, Object.values(conditions).join(' ')]).toEqual([
      name,
      expect.stringContaining(reason),
    ]);
  }

  const failing = (out: string): string =>
    out
      .split('\n')
      .filter((line) => line.startsWith('[fail]'))
      .join('\n');

  it('finds nothing wrong with a credential that is well', async () => {
    await tenant.credential('well');
    await tenant.ready('well');
    const { code, out } = await admin.cli('doctor', 'well');
    expect(out).toMatch(/^\[ok] {3}CRD {9}convercus.io\/v1alpha1 is served$/m);
    expect(out).toMatch(
      /^\[ok] {3}Operator {4}0\.1\.0, 1 of 1 ready in namespace convercus-operator$/m,
    );
    expect(out).toMatch(/^\[ok] {3}Leader {6}\S+ \(lease \d+s old\)$/m);
    expect(out).toMatch(/^\[ok] {3}Served {6}namespace shop-1 is watched$/m);
    expect(out).toMatch(
      /^\[ok] {3}Source {6}Secret source has client_secret, without a line break$/m,
    );
    expect(out).toMatch(/^\[ok] {3}DNS {9}127.0.0.1 is 127.0.0.1$/m);
    expect(out).toMatch(/^\[skip] TLS {9}plain HTTP/m);
    expect(out).toMatch(/^\[ok] {3}Clock/m);
    expect(out).toMatch(/^\[ok] {3}Login {7}a token was issued, valid for \d+m/m);
    expect(out).toMatch(/^\[ok] {3}Target {6}Secret well-token holds a token/m);
    expect(out).toMatch(/^No failure\.$/m);
    expect(code).toBe(0);
  });

  it('requests no token with --no-login', async () => {
    const before = tenant.requests().length;
    const { out } = await admin.cli('doctor', 'well', '--no-login', '-o', 'json');
    expect(JSON.parse(out).checks).toContainEqual({
      name: 'Login',
      result: 'skip',
      text: 'not tried, because of --no-login',
    });
    expect(tenant.requests().length).toBe(before);
  });

  it('tells a viewer what was skipped for want of rights', async () => {
    const { code, out } = await viewer.cli('doctor', 'well', '--no-login');
    expect(out).toContain(
      '[skip] Source      you may not get Secrets in namespace shop-1; --from operator can',
    );
    expect(out).toContain(
      '[skip] Leader      you may not list leases in namespace convercus-operator',
    );
    expect(code).toBe(0);
  });

  const FAILURES: readonly {
    readonly what: string;
    readonly spec: SpecOverrides;
    readonly reason: string;
    readonly status: RegExp;
    readonly doctor: RegExp;
    readonly before?: () => Promise<void>;
  }[] = [
    {
      what: 'a Secret that does not exist',
      spec: { credentialsSecretRef: { name: 'nowhere' } },
      reason: 'InputMissing',
      status:
        /FAILING since \S+: InputMissing\n +Secret "nowhere" does not exist; create it with the key "client_secret"\n +tried again after a change of the spec or the Secret only/,
      doctor: /\[fail] Source {6}Secret "nowhere" does not exist; create it/,
    },
    {
      what: 'a line break behind the secret',
      before: () => tenant.secret('broken', { client_secret: `${tenant.clientSecret}\n` }),
      spec: { credentialsSecretRef: { name: 'broken' } },
      reason: 'InputInvalid',
      status: /FAILING since \S+: InputInvalid/,
      doctor: /\[fail] Source {6}Key "client_secret" of Secret "broken" ends with a line break/,
    },
    {
      what: 'a wrong client secret',
      before: () => tenant.secret('wrong', { client_secret: 'CaNaRy-wrong-client-secret' }),
      spec: { credentialsSecretRef: { name: 'wrong' } },
      reason: 'ClientSecretRejected',
      status: /FAILING since \S+: ClientSecretRejected\n[^]*Secret\s+"wrong"/,
      doctor: /\[fail] Login {7}ClientSecretRejected: /,
    },
    {
      what: 'an environment that is not configured',
      spec: { environment: 'moon' },
      reason: 'InvalidSpec',
      status: /FAILING since \S+: InvalidSpec\n +spec.environment "moon" is not configured/,
      doctor: /\[fail] Spec {8}spec.environment "moon" is not configured/,
    },
    {
      what: 'a program that does not exist',
      spec: { program: 'XYZ' },
      reason: 'RealmNotFound',
      status: /FAILING since \S+: RealmNotFound/,
      doctor: /\[fail] Login {7}RealmNotFound: /,
    },
    {
      what: 'a scope that the client may not have',
      spec: { scope: 'openid nonsense' },
      reason: 'InvalidScope',
      status: /FAILING since \S+: InvalidScope/,
      doctor: /\[fail] Login {7}InvalidScope: /,
    },
    {
      what: 'a target that is another Secret',
      before: () => tenant.secret('taken', { password: 'CaNaRy-of-others' }),
      spec: { target: { name: 'taken' } },
      reason: 'TargetNotOurs',
      status: /FAILING since \S+: TargetNotOurs/,
      doctor: /\[fail] Target {6}Secret taken was not made for this credential/,
    },
    {
      what: 'a Secret that does not allow to merge',
      before: () => tenant.secret('closed', { key: 'CaNaRy-of-theirs' }),
      spec: { target: { name: 'closed', creationPolicy: 'Merge' } },
      reason: 'MergeNotAllowed',
      status: /FAILING since \S+: MergeNotAllowed/,
      doctor:
        /\[fail] Target {6}Secret closed does not allow to merge; its owner can allow it\n +fix: kubectl annotate secret closed -n shop-1 convercus.io\/merge=/,
    },
    {
      what: 'a host that can not be reached',
      spec: { environment: 'down' },
      reason: 'NetworkError',
      status:
        /FAILING since \S+: NetworkError\n.*nothing listens there[^]*\n +tried again by itself, at the latest 5m after the last try/,
      doctor:
        /\[fail] Connection {2}127.0.0.1:1 cannot be reached: nothing listens there \(ECONNREFUSED\)/,
    },
    {
      what: 'a wrong password, which is not tried again',
      before: () =>
        tenant.secret('user', {
          client_secret: tenant.clientSecret,
          username: 'api-user',
          password: 'CaNaRy-wrong-password',
        }),
      spec: { grantType: 'password', credentialsSecretRef: { name: 'user' } },
      reason: 'CredentialsRejected',
      status: /FAILING since \S+: CredentialsRejected/,
      doctor:
        /\[skip] Login {7}not tried for password: a wrong password may lock the account; to try it, add --login/,
    },
  ];

  it.each(FAILURES.map((each, at) => ({ ...each, name: `failure-${at}` })))(
    'tells of $what',
    async ({ name, spec, reason, status, doctor, before }) => {
      await before?.();
      await tenant.credential(name, spec);
      await reported(name, reason);
      const seen = await admin.cli('status', name);
      expect([seen.code, seen.out]).toEqual([1, expect.stringMatching(status)]);
      const found = await admin.cli('doctor', name);
      expect(found.out).toMatch(doctor);
      expect([found.code, failing(found.out)]).toEqual([1, expect.stringMatching(/./)]);
    },
  );

  it('lists those that are not ready', async () => {
    const { out } = await viewer.cli('list', '--not-ready');
    expect(out).toMatch(/^failure-2 +T1 staging +no +ClientSecretRejected +none +in 1\dm/m);
    expect(out).not.toContain('well');
  });

  it('tells of a renewal that fails', async () => {
    const { code, out } = await admin.cli('renew', 'failure-2', 'well', '--wait', '90s');
    expect(out).toMatch(/^shop-1\/failure-2: failed: ClientSecretRejected: /m);
    expect(out).toMatch(/^shop-1\/well: renewed$/m);
    expect(code).toBe(1);
  });

  it('tells which pods never see a new token', async () => {
    const volumes = [{ name: 'token', secret: { secretName: 'well-token' } }];
    const mount = { name: 'token', mountPath: '/token' };
    const pod = (name: string, container: object) => ({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name },
      spec: { volumes, containers: [{ name: 'app', image: 'app', ...container }] },
    });
    const secretKeyRef = { name: 'well-token', key: 'token' };
    await tenant.apply(
      pod('reads', { volumeMounts: [mount] }),
      pod('copies', { volumeMounts: [{ ...mount, subPath: 'token' }] }),
      pod('starts-with', { env: [{ name: 'TOKEN', valueFrom: { secretKeyRef } }] }),
    );
    const { code, out } = await viewer.cli('consumers', 'well');
    expect(out).toMatch(/^pod\/reads +1 +volume +ok$/m);
    expect(out).toMatch(/^pod\/copies +1 +subPath +will never see a new token: mount/m);
    expect(out).toMatch(/^pod\/starts-with +1 +env TOKEN +will never see/m);
    expect(code).toBe(1);
    expect((await admin.cli('doctor', 'well', '--no-login')).out).toContain(
      '[fail] Consumers   pod/copies (subPath), pod/starts-with (env TOKEN) will never see a new token',
    );
  });

  it('checks from inside of the operator, and prints what is found there', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'cli-'));
    await writeFile(join(dir, 'config.yaml'), config);
    const commands: string[] = [];
    const inPod = personWith(testbed, 'admin').with({
      kubeconfig: testbed.controlPlane.userKubeconfig(OPERATOR_USER),
    });
    const person = admin.with({
      run: async (command, args) => {
        commands.push([command, ...args].join(' '));
        const inner = args
          .slice(args.indexOf('doctor'))
          .map((each) => (each.startsWith('/etc/') ? join(dir, 'config.yaml') : each));
        const { code, out, err } = await inPod.cli(...inner);
        return { code, stdout: out, stderr: err };
      },
    });
    const { code, out } = await person.cli('doctor', 'failure-2', '--from', 'operator');
    expect(commands).toEqual([
      expect.stringMatching(
        /^kubectl --kubeconfig=\S+ exec -n convercus-operator -c operator \S+ -- \/nodejs\/bin\/node \S+ \/app\/bundle\/kubectl-convercus.js doctor failure-2 -n shop-1 --inside \/etc\/convercus-operator\/config.yaml -o json$/,
      ),
    ]);
    expect(out).toMatch(/^\[fail] Login {7}ClientSecretRejected: /m);
    expect(code).toBe(1);
    const refused = admin.with({
      run: async () => ({ code: 1, stdout: '', stderr: 'Error: pods "x" is forbidden' }),
    });
    expect((await refused.cli('doctor', 'well', '--from', 'operator')).out).toMatch(
      /\[fail] Operator {4}kubectl exec in pod \S+ failed: Error:\s+pods\s+"x"\s+is\s+forbidden\n +It needs the right to create pods\/exec: kubectl auth can-i create pods --subresource=exec -n convercus-operator$/m,
    );
    await rm(dir, { recursive: true });
  });

  it('leaves certificates of the pod to a check from there', async () => {
    await tenant.credential('trusted', { environment: 'trusted' });
    const { out } = await admin.cli('doctor', 'trusted');
    expect(out).toContain(
      '[skip] Network     its certificates are in /etc/trust/ca.pem, which is not here; check it with --from',
    );
    expect(out).not.toContain('Login');
  });

  it('checks the API after an installation', async () => {
    const { code, out } = await admin.cli('check', 'api', '--wait', '1m');
    expect(out).toContain(
      '[ok]   Create      a ConvercusCredential is accepted in namespace shop-1 (dry run)',
    );
    expect(code).toBe(0);
    expect((await admin.cli('check', 'all')).code).toBe(2);
  });

  it('writes a report without data of Secrets', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'cli-'));
    const directory = join(dir, 'report');
    const { code, out, err } = await admin.cli('report', '--directory', directory);
    expect([code, out]).toEqual([0, `${directory}\n`]);
    const names = await readdir(directory);
    for (const name of names) {
      expect(err).toContain(join(directory, name));
      printedSoFar.push(await readFile(join(directory, name), 'utf8'));
    }
    expect(names).toEqual(
      expect.arrayContaining([
        'convercuscredentials.yaml',
        'events.yaml',
        'leases.yaml',
        'operator-config.yaml',
        'versions.yaml',
      ]),
    );
    expect(await readFile(join(directory, 'convercuscredentials.yaml'), 'utf8')).toContain(
      'ClientSecretRejected',
    );
    const again = await admin.cli('report', '--directory', directory);
    expect([again.code, again.err]).toEqual([2, expect.stringContaining("can't be created")]);
    const asked = await admin
      .with({ types: ['n'] })
      .cli('report', '--directory', join(dir, 'other'));
    expect([asked.code, asked.err]).toEqual([1, expect.stringContaining('Nothing was written')]);
    await rm(dir, { recursive: true });
  });

  it('tells in one sentence why there is no log', async () => {
    expect((await viewer.cli('logs', '--operator-namespace', 'nowhere')).err).toContain(
      'There is no pod of the operator in namespace "nowhere"',
    );
  });

  it('tells that the operator does not run', async () => {
    await testbed.operator.kill();
    await tenant.credential('late');
    const status = await admin.cli('status', 'late');
    expect(status.out).toContain('not seen yet: the operator has not reported on this spec');
    const later = admin.with({ now: () => Date.now() + 1_000 * 60 * 60 * 24 });
    const { code, out } = await later.cli('doctor', 'late', '--no-login');
    expect(out).toMatch(/^\[fail] Leader {6}no replica leads/m);
    expect(out).toMatch(
      /^\[fail] Seen {8}the spec is generation 1, the operator has reported on none/m,
    );
    expect(code).toBe(1);
    const expired = await later.cli('status', 'well');
    expect(expired.out).toMatch(/^Token {7}EXPIRED 23h\d+m ago/m);
    expect(expired.out).toMatch(/^Renewal {5}OVERDUE: was due/m);
    expect((await later.cli('list')).out).toMatch(
      /^well +T1 staging +no +overdue +expired 23h\d+m ago/m,
    );
    const waited = await admin.cli('renew', 'late', '--wait', '2s');
    expect([waited.code, waited.out]).toEqual([
      4,
      expect.stringContaining('not handled yet; find out why'),
    ]);
  });

  it('tells that the CRD is missing', async () => {
    await testbed.controlPlane.kubectl([
      'delete',
      'crd',
      'convercuscredentials.convercus.io',
      '--timeout=60s',
    ]);
    const { code, err } = await eventually(
      () => admin.cli('list'),
      (ran) => ran.code !== 0,
    );
    expect([code, err]).toEqual([
      3,
      expect.stringMatching(/^This cluster does not know ConvercusCredential: [^\n]*\n$/),
    ]);
    const checked = await admin.cli('check', 'api', '--wait', '1s');
    expect([checked.code, checked.out]).toEqual([4, expect.stringContaining('[fail] CRD')]);
  });
});
