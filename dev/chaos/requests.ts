import type { RequestLogEntry } from '../keycloak/dialect/request-log.ts';
import type { Span } from '../lab/measures.ts';
import { concerns, type Done } from './explain.ts';
import { within } from './outages.ts';

/** Explains requests in the log of the identity provider by the schedule. Times in milliseconds since 1970. */

/** A counted request with the rule that explains it; undefined: unexplained. */
export interface Explained {
  readonly key: string;
  readonly at: number;
  readonly rule: string | undefined;
}

export interface Surroundings {
  /** `namespace/name` by user name. */
  readonly keys: ReadonlyMap<string, string>;
  readonly done: readonly Done[];
  /** When a leader lost its memory or a response: crashes, freezes, lost Leases. */
  readonly crashes: readonly Span[];
  /** When responses of the provider were cut off. */
  readonly cuts: readonly Span[];
  /** When the operator could not act. */
  readonly away: readonly Span[];
}

/** Milliseconds that a request may have taken before a crash loses its response. */
const BEFORE = 1_000;
/** Milliseconds within which a change takes effect: a login that waits in a queue may still use the old values. */
const ACTED_UPON = 60_000;
/** Milliseconds within which a response is stored, unless something is away. */
const STORED = 20_000;
/** Milliseconds after which a request without response times out. */
const GIVEN_UP = 11_000;

const touches = (spans: readonly Span[], from: number, to: number): boolean =>
  spans.some(([start, end]) => start <= to && end >= from);

/** Why the operator may not have got or stored this response; undefined when it should have. */
function whyLost(
  { time, lost }: Pick<RequestLogEntry, 'time' | 'lost'>,
  { crashes, cuts }: Pick<Surroundings, 'crashes' | 'cuts'>,
): string | undefined {
  if (lost) return 'a fault lost the response';
  if (touches(cuts, time - BEFORE, time + GIVEN_UP)) return 'the provider was cut off';
  if (touches(crashes, time - BEFORE, time + STORED)) return 'a crash lost the response';
  return undefined;
}

const isGood = ({ status, lost }: RequestLogEntry): boolean => status === 200 || lost;
const isRefresh = ({ grantType }: RequestLogEntry): boolean => grantType === 'refresh_token';
const isLoginRequest = ({ grantType }: RequestLogEntry): boolean => grantType === 'password';

/** User names by session, from the logins that opened the sessions. */
function usersOf(entries: readonly RequestLogEntry[]): Map<string, string> {
  const logins = entries.filter((entry) => isLoginRequest(entry) && entry.session !== '');
  return new Map(logins.map(({ session, username }) => [session, username]));
}

/** Refreshes that failed because the session was over or the refresh token was used. */
export function refusedRefreshes(
  entries: readonly RequestLogEntry[],
  around: Surroundings,
): Explained[] {
  const users = usersOf(entries);
  return entries.flatMap((entry, index) => {
    if (!isRefresh(entry) || entry.error !== 'invalid_grant') return [];
    const key = around.keys.get(users.get(entry.session) ?? '') ?? '';
    const before = entries.slice(0, index).filter(({ session }) => session === entry.session);
    return [{ key, at: entry.time, rule: whyRefused(entry, before, { ...around, key }) }];
  });
}

function whyRefused(
  { credential, time }: RequestLogEntry,
  before: readonly RequestLogEntry[],
  around: Surroundings & { readonly key: string },
): string | undefined {
  const sent = before.findLast((each) => each.credential === credential && isGood(each));
  if (sent !== undefined) return whyLost(sent, around);
  const latest = before.findLast(isGood)?.time ?? 0;
  const isEnded = around.done.some(
    ({ event, from, to }) =>
      (event.do === 'lose-sessions' || event.do === 'revoke-realm') &&
      concerns(event, around.key) &&
      from <= time &&
      to >= latest - BEFORE,
  );
  return isEnded ? 'the schedule ended the session' : undefined;
}

const NEW_LOGIN: ReadonlySet<string> = new Set([
  'recreate',
  'delete-namespace',
  'scope',
  'delete-session',
]);

/** Successful logins except the first of each user. */
export function furtherLogins(
  entries: readonly RequestLogEntry[],
  around: Surroundings,
): Explained[] {
  const refused = refusedRefreshes(entries, around);
  const logins = Map.groupBy(
    entries.filter((entry) => isLoginRequest(entry) && isGood(entry)),
    ({ username }) => around.keys.get(username) ?? '',
  );
  return [...logins].flatMap(([key, own]) =>
    own.slice(1).map((login, index): Explained => {
      const last = own[index] ?? login;
      const rule =
        whyLost(last, around) ??
        whyNewLogin(key, [last.time, login.time], around) ??
        (refused.some((each) => each.key === key && each.at > last.time && each.at <= login.time)
          ? 'its refresh was refused'
          : undefined);
      return { key, at: login.time, rule };
    }),
  );
}

const whyNewLogin = (
  key: string,
  [last, now]: Span,
  { done, away }: Surroundings,
): string | undefined =>
  done.find(
    ({ event, from, to }) =>
      NEW_LOGIN.has(event.do) &&
      concerns(event, key) &&
      from <= now &&
      last - to - within(away, to, last) <= ACTED_UPON,
  )?.event.do;

/** A session at the provider that no credential has. `started` in milliseconds. */
export interface Excess {
  readonly id: string;
  readonly username: string;
  readonly started: number;
}

/** Steps that may take several attempts, or are kept only in memory until they are done. */
const LOGGED_OUT = 60_000;

export function excessSessions(
  sessions: readonly Excess[],
  entries: readonly RequestLogEntry[],
  around: Surroundings,
): Explained[] {
  return sessions.map(({ id, username, started }) => {
    const key = around.keys.get(username) ?? '';
    const own = entries.filter(({ session }) => session === id);
    const rule = whyAlive(own, around) ?? whyNotLoggedOut(key, started, around);
    return { key, at: started, rule };
  });
}

function whyAlive(own: readonly RequestLogEntry[], around: Surroundings): string | undefined {
  const isRefused = own.some((entry) => isRefresh(entry) && entry.error === 'invalid_grant');
  if (isRefused) return 'its refresh token was spent';
  const last = own.findLast((entry) => entry.endpoint === 'token' && isGood(entry));
  const lost = last && whyLost(last, around);
  if (lost !== undefined) return lost;
  const failed = own.filter(({ endpoint, status }) => endpoint === 'logout' && status >= 400);
  return failed.length > 0 ? 'the log-out was refused' : undefined;
}

/** The event after which the session should have been logged out, if something prevented it. */
function whyNotLoggedOut(
  key: string,
  started: number,
  { done, crashes, cuts }: Surroundings,
): string | undefined {
  const since = done.filter(
    ({ event, to }) => NEW_LOGIN.has(event.do) && concerns(event, key) && to >= started - BEFORE,
  );
  for (const { event, from, to } of since) {
    if (event.do === 'delete-session') return 'its Secret was deleted by hand';
    if (event.do === 'delete-namespace') return 'its Secret went with the namespace';
    if (touches([...crashes, ...cuts], from - BEFORE, to + LOGGED_OUT))
      return 'a crash or cut stood in the way of the log-out';
  }
  return undefined;
}
