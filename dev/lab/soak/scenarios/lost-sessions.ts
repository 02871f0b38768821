import { burstNeeded, count, mostInOneSecond, rounded, tally } from '../measures.ts';
import type { Seen } from '../provider.ts';
import { atMost, exactly, type Row, serviceRows, told } from '../report.ts';
import { type Setting, Stage } from '../stage.ts';

/** The operator's default budget. */
const LOGINS_PER_SECOND = 1;
const BURST = 2;
const WARM_UP = 10_000;

/** So that the server is back soon: it hashes all passwords again when it imports the realm. */
const QUICK_HASHES = 'hashAlgorithm(pbkdf2-sha256) and hashIterations(1)';

/**
 * The server comes back without its sessions, so that every credential has to log in. With `n` credentials whose tokens
 * live for `t` seconds, renewals come at n / 0.8 t a second: 200 and 300 s make 0.83, just within the budget of one
 * login a second; with shorter tokens some must expire.
 */
export const lostSessions = (setting: Setting): Promise<Row[]> =>
  Stage.play(setting, {
    realm: {
      accessTokenLifespan: setting.tokenSeconds,
      revokeRefreshToken: true,
      passwordPolicy: QUICK_HASHES,
    },
    act: async (stage) => {
      const { reader, accounts, provider } = stage;
      await stage.applyAll();
      await stage.allServed(accounts.length * 1.2 + 60);
      const stopped = Date.now();
      await provider.restart();
      const back = Date.now();
      const expiries = expiriesOf(stage);
      await stage.wait(setting.milliseconds);
      const service = serviceRows(reader, accounts.length);
      const seen = await provider.seen();
      const logins = seen.filter(({ type }) => type.startsWith('LOGIN'));
      const moments = logins.map(({ at }) => at);
      const sinceReturn = (at = Number.NaN) => rounded((at - back) / 1_000);
      return [
        ...service,
        told('lifetime of a token (s)', setting.tokenSeconds),
        told('the server was away (s)', rounded((back - stopped) / 1_000)),
        told('expired seconds that outage and budget make inevitable', inevitable(expiries, back)),
        told('requests that the server saw after that', tally(seen)),
        told('from its return to the first login (s)', sinceReturn(moments[0])),
        told('from its return to the last login (s)', sinceReturn(moments.at(-1))),
        exactly('logins', count(seen, 'LOGIN', 'LOGIN_ERROR'), accounts.length),
        told('most logins done in one second', mostInOneSecond(moments)),
        ...budgetRows(moments.filter((at) => at > (moments[0] ?? 0) + WARM_UP)),
        exactly('logins while one that expires sooner waited', overtakers(seen, expiries), 0),
      ];
    },
  });

/** The server tells when a login is done: the first ones take so long that the next ones catch up with them. */
const budgetRows = (moments: readonly number[]): Row[] => [
  atMost('the same once it has warmed up', mostInOneSecond(moments), LOGINS_PER_SECOND + BURST),
  atMost(
    'burst that this needs at one login a second',
    rounded(burstNeeded(moments, LOGINS_PER_SECOND)),
    BURST + 0.5,
  ),
];

/** When the token that each user held at the restart expires. */
function expiriesOf({ accounts, reader }: Stage): Map<string, number> {
  const pairs = accounts.map(({ name, username }): [string, number] => [
    username,
    reader.targets.get(`${name}-token`)?.at(-1)?.expiresAt ?? Number.NaN,
  ]);
  return new Map(pairs);
}

/** What even the best order would leave: one login a second, soonest-expiring first, from the first moment on. */
function inevitable(expiries: ReadonlyMap<string, number>, back: number): number {
  const sorted = [...expiries.values()].sort((a, b) => a - b);
  const late = sorted.map((expiry, index) => {
    const at = back + (Math.max(0, index + 1 - BURST) / LOGINS_PER_SECOND) * 1_000;
    return Math.max(0, at - expiry) / 1_000;
  });
  return rounded(late.reduce((sum, each) => sum + each, 0));
}

/** A user waits for a login from the moment at which the refresh was refused. Half a second is for what is under way. */
function overtakers(seen: readonly Seen[], expiries: ReadonlyMap<string, number>): number {
  const waiting = new Map<string, number>();
  let overtaken = 0;
  for (const { type, who, at } of seen) {
    const expiry = expiries.get(who) ?? Number.NaN;
    if (type === 'REFRESH_TOKEN_ERROR') waiting.set(who, at);
    if (type !== 'LOGIN') continue;
    waiting.delete(who);
    const isOvertaken = ([other, since]: [string, number]) =>
      since < at - 500 && (expiries.get(other) ?? Number.NaN) < expiry - 1_000;
    if ([...waiting].some(isOvertaken)) overtaken += 1;
  }
  return overtaken;
}
