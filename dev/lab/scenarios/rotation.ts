import { type Account, newSecret } from '../accounts.ts';
import { expiredSeconds, percentile, tally } from '../measures.ts';
import type { Provider } from '../provider.ts';
import { exactly, type Row, row } from '../report.ts';
import type { LabTestbed } from '../testbed.ts';
import { type Service, type SoakOptions, shortLived, startService } from './sessions.ts';

/** Between the two changes; the tokens outlive it by far. */
const GAP_MS = 10_000;

/** A new client secret, at the provider and in the Secrets 10 s apart, in both orders. */
export async function rotation(
  testbed: LabTestbed<Provider>,
  options: SoakOptions,
): Promise<Row[]> {
  const service = await startService(testbed, options, { realm: shortLived(options) });
  const { population, reader } = service;
  await reader.until(options.credentials, 120);
  const atProvider = async (accounts: readonly Account[]): Promise<void> => {
    const secrets = new Map(accounts.map((each) => [each.clientId, each.clientSecret]));
    for (const [clientId, secret] of secrets)
      await testbed.provider.changeClientSecret(population.realm, clientId, secret);
  };
  const inSecrets: Change = (accounts) => population.writeSecrets(accounts);
  const rotateFor = options.milliseconds / 2;
  const providerFirst = await rotate(testbed, service, [atProvider, inSecrets], rotateFor);
  const secretFirst = await rotate(testbed, service, [inSecrets, atProvider], rotateFor);
  const prefixed = (prefix: string, rows: readonly Row[]): Row[] =>
    rows.map((each) => ({ ...each, measure: `${prefix}: ${each.measure}` }));
  return [
    row('lifetime of a token (s)', options.tokenSeconds),
    ...prefixed('provider first', providerFirst),
    ...prefixed('Secret first', secretFirst),
    row('states of a target that were no token', reader.unreadable, exactly(0)),
  ];
}

type Change = (accounts: readonly Account[]) => Promise<void>;

async function rotate(
  testbed: LabTestbed<Provider>,
  { population, reader }: Service,
  [first, second]: readonly [Change, Change],
  milliseconds: number,
): Promise<Row[]> {
  const events = () => testbed.provider.events(population.realm);
  const accounts = withNewSecrets(population.accounts);
  const eventsBefore = (await events()).length;
  const began = Date.now();
  await first(accounts);
  await testbed.wait(GAP_MS);
  await second(accounts);
  const both = Date.now();
  await testbed.wait(milliseconds - GAP_MS);
  const targets = [...reader.targets.values()];
  const seconds = targets.map((publications) => {
    const next = publications.find(({ at }) => at > both);
    return ((next?.at ?? Number.POSITIVE_INFINITY) - both) / 1_000;
  });
  const published = targets.flat().filter(({ at }) => at > began);
  const expired = expiredSeconds(reader.targets, [began, Date.now()]);
  return [
    row('requests that the provider saw', tally((await events()).slice(eventsBefore))),
    row('tokens published from the first change on', published.length),
    row('from the second change to a token, median (s)', percentile(seconds, 50)),
    row('  max (s)', Math.max(...seconds)),
    row('expired seconds', expired, exactly(0)),
  ];
}

/** Accounts of one client get the same new secret. */
function withNewSecrets(accounts: readonly Account[]): Account[] {
  const secrets = new Map(accounts.map(({ clientId }) => [clientId, newSecret('secret')]));
  return accounts.map((each) => ({ ...each, clientSecret: secrets.get(each.clientId) ?? '' }));
}
