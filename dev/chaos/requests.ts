import type { RequestLogEntry } from '../keycloak/dialect/request-log.ts';
import type { Span } from '../lab/measures.ts';
import { concerns, type Done } from './explain.ts';
import { within } from './outages.ts';

/** What the identity provider saw, and which part of it the schedule explains. Times in milliseconds since 1970. */

/** What was counted, and the rule that explains it; without one it is unexplained. */
export interface Explained {
  readonly key: string;
  readonly at: number;
  readonly rule: string | undefined;
}

export interface Surroundings {
  /** User name to `namespace/name`. */
  readonly keys: ReadonlyMap<string, string>;
  readonly done: readonly Done[];
  /** When the memory of a leader went, or an answer on its way: crashes, freezes, lost Leases. */
  readonly crashes: readonly Span[];
  /** When answers of the provider were cut off on their way. */
  readonly cuts: readonly Span[];
  /** When nothing could be done. */
  readonly away: readonly Span[];
}

/** Before an answer that a crash loses the request may have hung for so long. */
const BEFORE = 1_000;
/** Within so much time a change is acted upon, be it that a login waits for its turn with what was wanted before. */
const ACTED_UPON = 60_000;
/** Within so much time what was answered is stored, unless something is away. */
const STORED = 20_000;
/** A request whose answer does not come is given up after so long. */
const GIVEN_UP = 11_000;

const touches = (spans: readonly Span[], from: number, to: number): boolean =>
  spans.some(([start, end]) => start <= to && end >= from);

/** Whether the operator may never have got or kept this answer. */
function whyLost(
  { time, lost }: Pick<RequestLogEntry, 'time' | 'lost'>,
  { crashes, cuts }: Pick<Surroundings, 'crashes' | 'cuts'>,
): string | undefined {
  if (lost) return 'a fault lost the answer';
  if (touches(cuts, time - BEFORE, time + GIVEN_UP)) return 'the provider was cut off';
  if (touches(crashes, time - BEFORE, time + STORED)) return 'a crash lost the answer';
  return undefined;
}

const isGood = ({ status, lost }: RequestLogEntry): boolean => status === 200 || lost;
const isRefresh = ({ grantType }: RequestLogEntry): boolean => grantType === 'refresh_token';
const isLoginRequest = ({ grantType }: RequestLogEntry): boolean => grantType === 'password';

/** Sessions and whose they are, from the logins that opened them. */
function usersOf(entries: readonly RequestLogEntry[]): Map<string, string> {
  const logins = entries.filter((entry) => isLoginRequest(entry) && entry.session !== '');
  return new Map(logins.map(({ session, username }) => [session, username]));
}

/** Refreshes that the provider refused because the session or its refresh token was spent. */
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

/** Logins that were accepted, but for the first of each user. */
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

/** A session that lives at the provider although no credential has it. `started` in milliseconds. */
export interface Excess {
  readonly id: string;
  readonly username: string;
  readonly started: number;
}

/** What takes more than one try, or is only kept in memory until it is done. */
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

/** The events after which it should have been logged out, when something stood in the way of that. */
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
