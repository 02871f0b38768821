import { type Account, type Grant, newSecret } from '../accounts.ts';
import { count, tally } from '../measures.ts';
import { Population } from '../population.ts';
import type { Provider } from '../provider.ts';
import { exactly, type Row, row, type Threshold } from '../report.ts';
import type { LabTestbed } from '../testbed.ts';

export interface WrongSecretOptions {
  readonly credentials: number;
  readonly grant: Grant;
  readonly milliseconds: number;
  /** Of the operator, evenly spread over that time. */
  readonly restarts: number;
  /** For the seconds from the corrected Secret to Ready. */
  readonly readyThreshold?: Threshold;
}

/** A wrong password or client secret, what users see of it, and then the right one. */
export async function wrongSecret(
  testbed: LabTestbed<Provider>,
  options: WrongSecretOptions,
): Promise<Row[]> {
  const { grant, credentials, milliseconds, restarts, readyThreshold } = options;
  const { provider, controlPlane } = testbed;
  const realm = { bruteForceProtected: true };
  const population = await Population.prepare(testbed, { count: credentials, grant, realm });
  await population.writeSecrets(population.accounts.map((each) => withWrongSecret(each, grant)));
  const reader = await testbed.startReader('data');
  const operator = await testbed.startOperator();
  await population.createCredentials();
  testbed.log(`Waiting ${milliseconds / 1_000} s with a wrong secret`);
  for (let left = restarts; left >= 0; left -= 1) {
    await testbed.wait(milliseconds / (restarts + 1));
    if (left === 0) continue;
    await operator.kill();
    await operator.run();
  }
  const events = await provider.events(population.realm);
  const served = reader.targets.size;
  const { namespace, name } = population.first;
  const get = await controlPlane.kubectl(['get', 'convcred', '-n', namespace]);
  const describe = await controlPlane.kubectl(['describe', 'convcred', name, '-n', namespace]);
  const corrected = Date.now();
  await population.writeSecrets(population.accounts);
  const ready = ['wait', '--for=condition=Ready', 'convcred', '--all', '-n', namespace];
  await controlPlane.kubectl([...ready, '--timeout=100s']);
  const seconds = (Date.now() - corrected) / 1_000;
  const later = (await provider.events(population.realm)).slice(events.length);
  const attempts = count(events, 'LOGIN_ERROR', 'CLIENT_LOGIN_ERROR') / credentials;
  return [
    row('requests that the provider saw', tally(events)),
    row('attempts per credential', attempts, exactly(1)),
    row('targets before the correction', served, exactly(0)),
    row('from the right secret to Ready, by kubectl wait (s)', seconds, readyThreshold),
    row('requests after that', tally(later)),
    row('kubectl get', get),
    row('kubectl describe', describe),
  ];
}

const withWrongSecret = (account: Account, grant: Grant): Account =>
  grant === 'password'
    ? { ...account, password: newSecret('wrong') }
    : { ...account, clientSecret: newSecret('wrong') };
