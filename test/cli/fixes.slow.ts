import { execFile } from 'node:child_process';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { FAILURES, type Failure, renewWith } from '../../dev/failures/failures.ts';
import { proxies } from '../../dev/keycloak/dialect/faults.ts';
import { showInstallation } from '../../dev/testbed/installed.ts';
import { eventually } from '../../dev/testbed/objects.ts';
import { installCluster } from '../../dev/testbed/operator.ts';
import type { Tenant } from '../../dev/testbed/tenant.ts';
import type { Testbed } from '../../dev/testbed/testbed.ts';
import {
  expectNoSecretIn,
  type Person,
  personWith,
  testbedWithPeople,
  testConfig,
} from './person.ts';

/** What a person does who reads the output, for a command that asks for something. */
interface Answers {
  /** Lines that are typed. */
  readonly typed?: readonly string[];
  /** What is changed in an editor, as a script of sed. */
  readonly edit?: string;
}

const run = promisify(execFile);

/** The failures of docs/failures.md: what `status` and `doctor` say of each is done, and the token is there. */
describe('kubectl convercus says what to do, and it helps:', () => {
  let testbed: Testbed;
  let tenant: Tenant;
  let person: Person;

  beforeAll(async () => {
    testbed = await testbedWithPeople();
    await showInstallation(testbed, testConfig(testbed.provider.url));
  }, 600_000);

  afterAll(() => testbed?.stop());

  async function make(failure: Failure): Promise<void> {
    tenant = await testbed.tenant(failure.realm);
    person = personWith(testbed, 'admin', tenant.namespace);
    await failure.make(tenant, testbed);
    const { reason, ready } = failure;
    const conditions = await eventually(
      () => tenant.conditions('loyalty'),
      ({ Renewed, Ready }) =>
        Renewed === `False/${reason}` && Ready?.endsWith(`/${ready}`) === true,
    );
    expect(conditions).toMatchObject({ Renewed: `False/${reason}` });
  }

  /** Both name the failure. @returns what both say to do */
  async function advice({ reason }: Failure): Promise<string> {
    const status = await person.cli('status', 'loyalty');
    expect(status.code).toBe(1);
    expect(status.out).toContain(`: ${reason}\n`);
    const fix = /^Do +(.*)$/m.exec(status.out)?.[1] ?? '';
    expect(fix).not.toBe('');
    const doctor = await person.cli('doctor', 'loyalty');
    expect(doctor.code).toBe(1);
    expect(doctor.out).toMatch(new RegExp(`^\\[fail] Renewal +failing since \\S+ ${reason}`, 'm'));
    expect(doctor.out).toContain(`\n                   ${fix}\n`);
    return fix;
  }

  async function shell(command: string, { typed = [], edit = '' }: Answers): Promise<void> {
    const { binaries, adminKubeconfig } = testbed.controlPlane;
    const env = {
      PATH: `${dirname(binaries.kubectl)}:${process.env['PATH']}`,
      KUBECONFIG: adminKubeconfig,
      HOME: dirname(adminKubeconfig),
      KUBE_EDITOR: `sed -i '${edit}'`,
    };
    const running = run('bash', ['-c', `set -o pipefail; ${command}`], { env, timeout: 60_000 });
    running.child.stdin?.end(typed.map((line) => `${line}\n`).join(''));
    await running;
  }

  /** What `status` says to do after the fix. */
  async function renew(): Promise<void> {
    const { out } = await person.cli('status', 'loyalty');
    // The operator may have seen the change already
    const command = /after the fix: kubectl convercus (.*)$/m.exec(out)?.[1];
    const ran = await person.cli(...(command ?? 'renew loyalty --wait 1m').split(' '));
    expect(ran).toMatchObject({ code: 0, out: `${tenant.namespace}/loyalty: renewed\n` });
  }

  async function expectWell(): Promise<void> {
    await tenant.ready('loyalty');
    const status = await person.cli('status', 'loyalty');
    expect([status.code, status.out]).toEqual([0, expect.stringMatching(/^Renewal {5}ok, next /m)]);
    const doctor = await person.cli('doctor', 'loyalty', '--login');
    expect([doctor.code, doctor.out]).toEqual([0, expect.stringMatching(/^No failure\.$/m)]);
    await expectNoSecretIn(testbed, tenant);
  }

  const answersTo = (reason: string): Answers | undefined =>
    ({
      InputMissing: { typed: [tenant.clientSecret] },
      ClientSecretRejected: { typed: [tenant.clientSecret] },
      CredentialsRejected: { typed: ['api-user', tenant.password] },
      RealmNotFound: { edit: `s/LOYALTI/${tenant.program}/` },
      InvalidScope: { edit: 's/scope: loyalty-admin/scope: openid/' },
      TargetNotOurs: { edit: 's/^    creationPolicy: Owner/&\\n    name: loyalty-token-2/' },
    })[reason];

  it.each(FAILURES.slice(0, 6))('$title', async (failure) => {
    await make(failure);
    const fix = await advice(failure);
    await shell(fix.replace(/^fix: /, ''), answersTo(failure.reason) ?? {});
    await renew();
    await expectWell();
  });

  it.each(FAILURES.slice(6, 8))('$title', async (failure) => {
    await make(failure);
    expect(await advice(failure)).toMatch(/^wait until the server is back/);
    testbed.provider.faults.clear();
    await renew();
    await expectWell();
  });

  it('The identity provider is rate limiting, for 5 s', async () => {
    const [failure] = FAILURES.filter(({ reason }) => reason === 'RateLimited');
    const effect = proxies.tooManyRequests('5');
    await make({ ...failure!, make: (of) => renewWith(of, testbed, effect) });
    expect(await advice(failure!)).toMatch(/^wait: the operator tries again when it may/);
    testbed.provider.faults.clear();
    await renew();
    await expectWell();
  });

  it('The operator may not write Secrets', async () => {
    const [failure] = FAILURES.slice(-1);
    await make(failure!);
    expect(await advice(failure!)).toMatch(/apply deploy\/base\/rbac\.yaml again$/);
    await installCluster(testbed.controlPlane);
    await renew();
    await expectWell();
  });
});
