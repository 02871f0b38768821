import type { Operator } from '../../testbed/operator.ts';
import type { Grant } from '../accounts.ts';
import { count, expirations, expiredSeconds, gaps, leastLeft, mean, tally } from '../measures.ts';
import { Population } from '../population.ts';
import type { Provider } from '../provider.ts';
import { atLeast, atMost, exactly, type Row, row } from '../report.ts';
import type { TargetReader } from '../target-reader.ts';
import type { LabTestbed } from '../testbed.ts';

/** What a soak test is told by its command line. */
export interface SoakOptions {
  readonly milliseconds: number;
  readonly credentials: number;
  readonly tokenSeconds: number;
  readonly grant: Grant;
}

export interface Service {
  readonly population: Population;
  readonly operator: Operator;
  readonly reader: TargetReader;
}

export interface ServiceSettings {
  /** Over those of dev/keycloak/server/realms. */
  readonly realm: Readonly<Record<string, unknown>>;
  /** Of the operator. */
  readonly config?: Readonly<Record<string, unknown>>;
}

/** An operator that has credentials, and a reader of their targets. */
export async function startService(
  testbed: LabTestbed<Provider>,
  { credentials: count, grant }: SoakOptions,
  { realm, config }: ServiceSettings,
): Promise<Service> {
  const population = await Population.prepare(testbed, { count, grant, realm });
  const reader = await testbed.startReader('data');
  const operator = await testbed.startOperator(config);
  await population.createCredentials();
  return { population, operator, reader };
}

/** Short tokens, and refresh tokens that may be used once. */
export const shortLived = ({ tokenSeconds }: SoakOptions) => ({
  accessTokenLifespan: tokenSeconds,
  revokeRefreshToken: true,
});

/** What workloads got. */
export function serviceRows({ reader, population }: Service): Row[] {
  const { targets, unreadable } = reader;
  return [
    row('credentials that were served', targets.size, exactly(population.accounts.length)),
    row('tokens published', [...targets.values()].flat().length),
    row('expired seconds seen by the reader', expiredSeconds(targets), exactly(0)),
    row('tokens that expired in a target', expirations(targets).length),
    row('states of a target that were no token', unreadable, exactly(0)),
    row('least time that a replaced token had left (s)', leastLeft(targets)),
  ];
}

/** No faults: one login each, then refreshes. */
export async function steady(testbed: LabTestbed<Provider>, options: SoakOptions): Promise<Row[]> {
  const { credentials, grant, milliseconds } = options;
  const service = await startService(testbed, options, { realm: shortLived(options) });
  await testbed.wait(milliseconds);
  const rows = serviceRows(service);
  const events = await testbed.provider.events(service.population.realm);
  const logins = count(events, 'LOGIN', 'LOGIN_ERROR');
  return [
    ...rows,
    row('requests that the provider saw', tally(events)),
    ...(grant === 'password' ? [row('logins', logins, exactly(credentials))] : []),
    row('refreshes', count(events, 'REFRESH_TOKEN')),
    row('refreshes refused', count(events, 'REFRESH_TOKEN_ERROR'), exactly(0)),
  ];
}

const SESSION_SECONDS = 120;
const LEAST_PER_HOUR = 3_600 / SESSION_SECONDS;
/** `renewal.minimumSeconds`: renewals are not closer, although `expires_in` shrinks towards the end of a session. */
const MINIMUM_SECONDS = 10;

/** Sessions end after two minutes, whatever is refreshed, and tokens get ever shorter towards that end. */
export async function sessionMax(
  testbed: LabTestbed<Provider>,
  options: SoakOptions,
): Promise<Row[]> {
  const service = await startService(testbed, options, {
    realm: { ...shortLived(options), ssoSessionMaxLifespan: SESSION_SECONDS },
    config: { renewal: { minimumSeconds: MINIMUM_SECONDS } },
  });
  await service.reader.until(options.credentials, 120);
  await testbed.wait(options.milliseconds);
  const rows = serviceRows(service);
  const events = await testbed.provider.events(service.population.realm);
  const between = mean(gaps(events.filter(({ type }) => type === 'LOGIN')));
  const tokenRequests = events.filter(({ type }) => !type.startsWith('LOGOUT'));
  const shortest = Math.min(...gaps(tokenRequests));
  return [
    ...rows,
    row('requests that the provider saw', tally(events)),
    row('least possible logins per credential and hour', LEAST_PER_HOUR),
    row('mean time between two logins of one user (s)', between),
    row('logins per credential and hour', 3_600 / between, atMost(LEAST_PER_HOUR * 1.3)),
    row('refreshes refused', count(events, 'REFRESH_TOKEN_ERROR')),
    row('renewal.minimumSeconds', MINIMUM_SECONDS),
    row(
      'shortest time between two token requests of one user (s)',
      shortest,
      atLeast(MINIMUM_SECONDS - 0.5),
    ),
  ];
}
