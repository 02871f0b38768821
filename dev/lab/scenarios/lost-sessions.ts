import { burstNeeded, count, mostWithin, tally } from '../measures.ts';
import type { Provider, ProviderEvent } from '../provider.ts';
import { atMost, exactly, type Row, row } from '../report.ts';
import type { LabTestbed } from '../testbed.ts';
import {
  type Service,
  type SoakOptions,
  serviceRows,
  shortLived,
  startService,
} from './sessions.ts';

/** The operator's default rate limit. */
const LOGINS_PER_SECOND = 1;
const BURST = 2;
const WARM_UP_MS = 10_000;
/** Between the arrival of a request at the provider and its event. */
const EVENT_DELAY_MS = 500;

/** The server hashes all passwords again when it imports the realm at its start. */
const FAST_HASHES = 'hashAlgorithm(pbkdf2-sha256) and hashIterations(1)';

/**
 * The provider comes back without its sessions, so every credential has to log in. With n credentials whose tokens live
 * for t seconds, renewals come at n / 0.8 t a second: 200 and 300 s make 0.83, just within one login a second; with
 * shorter tokens some must expire.
 */
export async function lostSessions(
  testbed: LabTestbed<Provider>,
  options: SoakOptions,
): Promise<Row[]> {
  const { credentials, tokenSeconds, milliseconds } = options;
  const { provider } = testbed;
  const realm = { ...shortLived(options), passwordPolicy: FAST_HASHES };
  const service = await startService(testbed, options, { realm });
  await service.reader.until(credentials, credentials * 1.2 + 60);
  const stopped = Date.now();
  await provider.restart();
  const back = Date.now();
  const expiries = expiriesByUser(service);
  await testbed.wait(milliseconds);
  const rows = serviceRows(service);
  const events = await provider.events(service.population.realm);
  const moments = events.filter(({ type }) => type.startsWith('LOGIN')).map(({ at }) => at);
  const sinceReturn = (at = Number.NaN): number => (at - back) / 1_000;
  const logins = count(events, 'LOGIN', 'LOGIN_ERROR');
  return [
    ...rows,
    row('lifetime of a token (s)', tokenSeconds),
    row('the provider was away (s)', (back - stopped) / 1_000),
    row('expired seconds that outage and rate limit make inevitable', inevitable(expiries, back)),
    row('requests that the provider saw after that', tally(events)),
    row('from its return to the first login (s)', sinceReturn(moments[0])),
    row('  to the last login (s)', sinceReturn(moments.at(-1))),
    row('logins', logins, exactly(credentials)),
    row('most logins in one second', mostWithin(moments, 1_000)),
    ...rateRows(moments.filter((at) => at > (moments[0] ?? 0) + WARM_UP_MS)),
    row('logins while one that expires sooner waited', overtakers(events, expiries), exactly(0)),
  ];
}

/** Events are stamped at the end of a login: the first ones take so long that the next ones catch up with them. */
function rateRows(moments: readonly number[]): Row[] {
  const burst = burstNeeded(moments, LOGINS_PER_SECOND);
  const perSecond = mostWithin(moments, 1_000);
  return [
    row('  once it has warmed up', perSecond, atMost(LOGINS_PER_SECOND + BURST)),
    row('burst that this needs at one login a second', burst, atMost(BURST + 0.5)),
  ];
}

/** When the token that each user held at the restart expires. */
const expiriesByUser = ({ population, reader }: Service): Map<string, number> =>
  new Map(
    population.accounts.map(({ key, username }) => [
      username,
      reader.targets.get(key)?.at(-1)?.expiresAt ?? Number.NaN,
    ]),
  );

/** Expired seconds of the best order: one login a second from the return on, soonest-expiring first. */
function inevitable(expiries: ReadonlyMap<string, number>, back: number): number {
  const sorted = [...expiries.values()].sort((a, b) => a - b);
  return sorted.reduce((sum, expiry, index) => {
    const at = back + (Math.max(0, index + 1 - BURST) / LOGINS_PER_SECOND) * 1_000;
    return sum + Math.max(0, at - expiry) / 1_000;
  }, 0);
}

/** A user waits for a login from the moment at which the refresh was refused. */
function overtakers(
  events: readonly ProviderEvent[],
  expiries: ReadonlyMap<string, number>,
): number {
  const waiting = new Map<string, number>();
  let overtaken = 0;
  for (const { type, principal, at } of events) {
    const expiry = expiries.get(principal) ?? Number.NaN;
    if (type === 'REFRESH_TOKEN_ERROR') waiting.set(principal, at);
    if (type !== 'LOGIN') continue;
    waiting.delete(principal);
    const isOvertaken = ([other, since]: [string, number]) =>
      since < at - EVENT_DELAY_MS && (expiries.get(other) ?? Number.NaN) < expiry - 1_000;
    if ([...waiting].some(isOvertaken)) overtaken += 1;
  }
  return overtaken;
}
