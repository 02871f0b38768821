import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { eventually } from '../testbed/objects.ts';
import type { Tenant } from '../testbed/tenant.ts';
import type { Testbed } from '../testbed/testbed.ts';
import type { Failure } from './failures.ts';
import { sanitize } from './sanitize.ts';

/** What people see of a failure. */
export interface Picture {
  readonly get: string;
  readonly describe: string;
  /** Of `kubectl convercus`. */
  readonly status: string;
  readonly doctor: string;
  readonly log: string;
  readonly metrics: string;
}

/** Makes the failure in a namespace of its own, and looks at it when status, event, log and metrics tell of it. */
export async function takePicture(failure: Failure, testbed: Testbed): Promise<Picture> {
  const tenant = await testbed.tenant(failure.realm);
  await failure.make(tenant, testbed);
  const { reason, ready } = failure;
  const conditions = await eventually(
    () => tenant.conditions('loyalty'),
    ({ Renewed, Ready }) => Renewed === `False/${reason}` && Ready?.endsWith(`/${ready}`) === true,
  );
  const heard = await eventually(
    async () => [...(await tenant.events('loyalty')), await metricsOf(tenant, testbed)].join('\n'),
    (text) => text.includes(`Warning ${reason}`) && text.includes(`reason="${reason}"`),
    20,
  );
  const seen = JSON.stringify({ conditions, heard });
  if (conditions['Renewed'] !== `False/${reason}` || !heard.includes(`Warning ${reason}`)) {
    throw new Error(`"${failure.title}" shows no ${reason}, but ${seen}`);
  }
  const hosts = {
    [new URL(testbed.provider.url).host]: 'auth-staging.example.com',
    [new URL(testbed.operator.url).host]: 'operator',
    [await testbed.leader()]: 'convercus-operator-7d9f-x2k4l',
    '127.0.0.1 is 127.0.0.1': 'auth-staging.example.com is 203.0.113.7',
  };
  const shown = async (...args: string[]): Promise<string> =>
    sanitize((await tenant.kubectl(...args)).trimEnd(), hosts);
  const told = async (verb: string): Promise<string> =>
    sanitize(await printedBy(verb, tenant, testbed), hosts);
  const picture = {
    get: await shown('get', 'convercuscredential'),
    describe: await shown('describe', 'convercuscredential', 'loyalty'),
    status: await told('status'),
    doctor: await told('doctor'),
    log: sanitize(await linesOf(tenant, testbed), hosts),
    metrics: sanitize(await metricsOf(tenant, testbed), hosts),
  };
  testbed.provider.faults.clear();
  await tenant.kubectl('delete', 'convercuscredential', 'loyalty');
  return picture;
}

const CLI = join(import.meta.dirname, '../../src/cli/main.ts');

/** As the administrator. It ends with exit code 1, for something is wrong. */
async function printedBy(
  verb: string,
  { namespace }: Tenant,
  { controlPlane: { adminKubeconfig } }: Testbed,
): Promise<string> {
  const where = ['-n', namespace, '--kubeconfig', adminKubeconfig];
  const args = ['--disable-warning=ExperimentalWarning', CLI, verb, 'loyalty', ...where];
  return new Promise((resolve, reject) => {
    execFile(process.execPath, args, (error, stdout, stderr) => {
      if (stdout === '')
        reject(new Error(`kubectl convercus ${verb}: ${stderr}`, { cause: error }));
      else resolve(stdout.trimEnd());
    });
  });
}

/** What the log says of this namespace, at level `info`. */
async function linesOf({ namespace }: Tenant, { operator }: Testbed): Promise<string> {
  const lines = (await operator.log()).split('\n');
  return lines.filter((line) => line.includes(`"namespace":"${namespace}"`)).join('\n');
}

/** The series of the credential, and of renewals and token requests that have failed. */
async function metricsOf({ namespace }: Tenant, { operator }: Testbed): Promise<string> {
  const lines = (await operator.get('/metrics')).split('\n');
  return lines
    .filter((line) => line.startsWith('convercus_credential_'))
    .filter((line) => line.includes(`namespace="${namespace}"`))
    .join('\n');
}
