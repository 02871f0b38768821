import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { explain, type Finding, type History } from '../../dev/chaos/explain.ts';
import { judge } from '../../dev/chaos/judge.ts';
import { awaySpans, mostWithin, TAKEOVER, union, within } from '../../dev/chaos/outages.ts';
import { type Member, populationOf } from '../../dev/chaos/population.ts';
import { Proxy } from '../../dev/chaos/proxy.ts';
import {
  excessSessions,
  furtherLogins,
  refusedRefreshes,
  type Surroundings,
} from '../../dev/chaos/requests.ts';
import {
  awayLimit,
  clockOf,
  describe as described,
  type Event,
  endOf,
  lineOf,
  mostAway,
  scheduleFor,
} from '../../dev/chaos/schedule.ts';
import type { RequestLogEntry } from '../../dev/keycloak/dialect/request-log.ts';

const members = populationOf(84);
const seeds = fc.integer({ min: 1, max: 2 ** 31 });
const terms = fc.record({
  seed: seeds,
  minutes: fc.constantFrom(1.5, 3, 10),
  tokenSeconds: fc.constantFrom(150, 300),
  members: fc.constant(members),
});

describe('the schedule', () => {
  it('is the same for the same seed', () => {
    fc.assert(
      fc.property(terms, (given) => {
        expect(scheduleFor(given)).toEqual(scheduleFor(given));
      }),
      { numRuns: 4 },
    );
    expect(scheduleFor({ seed: 1, minutes: 3, tokenSeconds: 300, members })).not.toEqual(
      scheduleFor({ seed: 2, minutes: 3, tokenSeconds: 300, members }),
    );
  });

  it('leaves tokens enough time to be renewed in', () => {
    fc.assert(
      fc.property(terms, (given) => {
        const { most } = awayLimit(given.tokenSeconds);
        expect(mostAway(scheduleFor(given), given.tokenSeconds)).toBeLessThanOrEqual(most);
      }),
      { numRuns: 25 },
    );
    expect(awayLimit(300)).toEqual({ most: 45_000, window: 120_000 });
  });

  it('is in order, and over when its time is', () => {
    fc.assert(
      fc.property(terms, (given) => {
        const events = scheduleFor(given);
        expect(events.map(({ at }) => at)).toEqual(
          events.map(({ at }) => at).sort((a, b) => a - b),
        );
        for (const event of events) {
          expect(event.at).toBeGreaterThan(0);
          expect(endOf(event)).toBeLessThan(given.minutes * 60_000);
        }
      }),
      { numRuns: 12 },
    );
  });

  it('does one thing at a time to each operator process and to each credential', () => {
    fc.assert(
      fc.property(terms, (given) => {
        const events = scheduleFor(given);
        const lanes = new Map<string, Event[]>();
        for (const event of events)
          for (const lane of lanesOf(event)) lanes.set(lane, [...(lanes.get(lane) ?? []), event]);
        for (const lane of lanes.values())
          lane.slice(1).forEach((event, index) => {
            expect(event.at).toBeGreaterThanOrEqual(endOf(lane[index] ?? event));
          });
      }),
      { numRuns: 12 },
    );
  });

  it('holds all that can happen, over some seeds', () => {
    const events = [1, 2, 3, 4, 5].flatMap((seed) =>
      scheduleFor({ seed, minutes: 10, tokenSeconds: 300, members }),
    );
    const kinds = new Set(
      events.map((event) => (event.do === 'provider-fault' ? event.fault : event.do)),
    );
    expect([...kinds].sort()).toEqual([
      'cut',
      'cut-body',
      'data',
      'delay',
      'delete-namespace',
      'delete-session',
      'delete-source',
      'delete-targets',
      'edit-target',
      'freeze',
      'hang',
      'hang-after-work',
      'hold',
      'kill',
      'lose-sessions',
      'provider-hold',
      'provider-refuse',
      'recreate',
      'refuse',
      'renew',
      'replace-source',
      'reset',
      'reset-after-work',
      'revoke-realm',
      'rotate-client',
      'rotate-password',
      'scope',
      'server-error',
      'slow',
      'stop-api-server',
      'suspend',
      'terminate',
      'too-many-requests',
      'touch-source',
    ]);
    const crowd = events.filter(
      (event) => event.do === 'recreate' && event.keys.length * event.rounds >= 100,
    );
    expect(crowd.length).toBeGreaterThan(5);
    const orders = events.flatMap((event) => ('order' in event ? event.order : []));
    expect(new Set(orders)).toEqual(new Set(['provider-first', 'secret-first']));
  });

  it.each([
    [{ do: 'kill', replica: 1, seconds: 3.2 }, 'kill, replica-1, 3.2 s'],
    [{ do: 'delete-targets', keys: ['a/b'] }, 'delete-targets, a/b'],
    [
      { do: 'recreate', keys: ['a', 'b', 'c', 'd', 'e'], rounds: 3 },
      'recreate, 5 credentials, 3 rounds',
    ],
    [
      { do: 'provider-fault', fault: 'reset', seconds: 0, times: 2 },
      'provider-fault, reset, 2 times',
    ],
  ] as const)('prints %j', (event, text) => {
    expect(described(event)).toBe(text);
    expect(lineOf({ at: 72_400, ...event })).toBe(`01:12.4  ${text}`);
  });

  it('carries seconds over into minutes', () => {
    expect(clockOf(59_990)).toBe('01:00.0');
  });
});

/** Lanes, in which events may not overlap. */
function lanesOf(event: Event): string[] {
  if ('keys' in event) return [...event.keys];
  return event.do === 'kill' || event.do === 'terminate' || event.do === 'freeze'
    ? [`process ${event.replica}`]
    : [];
}

describe('the population', () => {
  it('has every grant and policy, under names of its own', () => {
    expect(new Set(members.map(({ key }) => key)).size).toBe(members.length);
    const count = (part: Partial<Member>) =>
      members.filter((each) => Object.entries(part).every(([k, v]) => Object(each)[k] === v))
        .length;
    expect(members.length).toBe(84);
    expect(count({ kind: 'shared' })).toBe(42);
    expect(count({ kind: 'password' })).toBe(17);
    expect(count({ kind: 'legacy' })).toBe(10);
    expect(count({ creationPolicy: 'Merge' })).toBeGreaterThan(8);
    expect(count({ deletionPolicy: 'Retain' })).toBeGreaterThan(8);
    expect(new Set(members.map(({ namespace }) => namespace)).size).toBe(6);
  });
});

describe('outages', () => {
  const span = (from: number, to: number) => [from * 1_000, to * 1_000] as const;

  it.each([
    ['the API server', [{ of: 'api-server', span: span(10, 20) }], [span(10, 20)]],
    ['one leader that is killed', [{ of: 0, span: span(10, 12), takeover: true }], [span(10, 30)]],
    ['one that hands over', [{ of: 0, span: span(10, 12) }], [span(10, 12)]],
    [
      'one that is frozen for longer than the other needs to take over',
      [{ of: 1, span: span(10, 60), takeover: true }],
      [span(10, 30)],
    ],
    [
      'both, as long as both are away, and until one leads',
      [
        { of: 0, span: span(10, 60), takeover: true },
        { of: 1, span: span(40, 70), takeover: true },
      ],
      [span(10, 30), span(40, 80)],
    ],
  ] as const)('count when nothing can be mended: %s', (_, outages, expected) => {
    expect(TAKEOVER).toBe(20_000);
    expect(awaySpans(outages)).toEqual(expected);
  });

  const spans = fc
    .array(fc.tuple(fc.integer({ min: 0, max: 90 }), fc.integer({ min: 1, max: 20 })))
    .map((pairs) => union(pairs.map(([from, length]) => [from, from + length])));

  it('finds the worst window', () => {
    fc.assert(
      fc.property(spans, fc.integer({ min: 1, max: 60 }), (given, window) => {
        const all = Array.from({ length: 200 }, (_, i) => within(given, i - 80, i - 80 + window));
        expect(mostWithin(given, window)).toBe(Math.max(...all));
      }),
    );
  });
});

const START = 1_000_000_000;
const at = (seconds: number): number => START + seconds * 1_000;

/** Edits of one credential. */
const EDITS = {
  'delete-targets': { do: 'delete-targets', keys: ['a/x'] },
  'edit-target': { do: 'edit-target', keys: ['a/x'], how: 'no-token' },
  recreate: { do: 'recreate', keys: ['a/x'], rounds: 1 },
  'lose-sessions': { do: 'lose-sessions', keys: ['a/x'] },
  'delete-session': { do: 'delete-session', keys: ['a/x'] },
  suspend: { do: 'suspend', keys: ['a/x'], seconds: 10 },
  renew: { do: 'renew', keys: ['a/x'] },
  kill: { do: 'kill', replica: 0, seconds: 10 },
} as const;

const happening = (what: keyof typeof EDITS, from: number, to: number) => ({
  event: { at: 0, ...EDITS[what] },
  from: at(from),
  to: at(to),
});

describe('what explains a finding', () => {
  const history = (what: keyof typeof EDITS, more: Partial<History> = {}): History => ({
    done: [happening(what, 0, 10)],
    away: [],
    sessionEnds: new Map(),
    ...more,
  });
  const finding = (kind: Finding['kind'], seconds: number, key = 'a/x'): Finding => ({
    key,
    kind,
    at: at(seconds),
    created: at(-1_000),
  });
  const gone = history('delete-targets');

  it.each([
    ['a deleted target', finding('empty', 5), gone, 'delete-targets'],
    ['for a while after it', finding('empty', 39), gone, 'delete-targets'],
    ['not for ever', finding('empty', 41), gone, undefined],
    ['not before it', finding('empty', -1), gone, undefined],
    ['not of another credential', finding('empty', 5, 'a/y'), gone, undefined],
    ['not an expired token', finding('expired', 5), gone, undefined],
    [
      'longer when it could not be mended',
      finding('empty', 60),
      history('delete-targets', { away: [[at(10), at(35)]] }),
      'delete-targets',
    ],
    ['a token that expires in a suspension', finding('expired', 5), history('suspend'), 'suspend'],
    ['no token of another', finding('foreign', 5), history('recreate'), undefined],
    ['nothing by a fault', finding('expired', 5), history('kill'), undefined],
    [
      'a broken token that was put there',
      finding('broken', 5),
      history('edit-target'),
      'edit-target',
    ],
  ])('%s', (_, found, given, rule) => {
    expect(explain(found, given)).toBe(rule);
  });

  it('a credential that is new, but for tokens of another', () => {
    const young = { ...finding('empty', 55), created: at(0) };
    expect(explain(young, history('renew'))).toBe('the credential is new');
    expect(explain({ ...young, at: at(61) }, history('renew'))).toBeUndefined();
    expect(explain({ ...young, kind: 'foreign' }, history('renew'))).toBeUndefined();
  });

  it('a session that has ended three times within the hour', () => {
    const ends = (...seconds: number[]) =>
      history('renew', { sessionEnds: new Map([['a/x', seconds.map(at)]]) });
    expect(explain(finding('expired', 500), ends(10, 20, 30))).toBe(
      'the session has ended three times',
    );
    expect(explain(finding('expired', 500), ends(10, 20))).toBeUndefined();
    expect(explain(finding('expired', 500), ends(10, 20, 501))).toBeUndefined();
  });
});

const entry = (seconds: number, more: Partial<RequestLogEntry>): RequestLogEntry => ({
  time: at(seconds),
  endpoint: 'token',
  realm: 'r',
  grantType: 'refresh_token',
  clientId: 'c',
  username: '',
  status: 200,
  error: '',
  credential: 'first',
  session: 's',
  lost: false,
  ...more,
});
const login = (seconds: number, more: Partial<RequestLogEntry> = {}) =>
  entry(seconds, { grantType: 'password', username: 'u', credential: 'password', ...more });
const refused = (seconds: number, more: Partial<RequestLogEntry> = {}) =>
  entry(seconds, { status: 400, error: 'invalid_grant', ...more });
const calm: Surroundings = {
  keys: new Map([['u', 'a/x']]),
  done: [],
  crashes: [],
  cuts: [],
  away: [],
};
const happened = (what: keyof typeof EDITS, from: number, to: number): Surroundings => ({
  ...calm,
  done: [happening(what, from, to)],
});

describe('what explains a refused refresh', () => {
  it.each([
    ['nothing', [login(0), entry(10, {}), refused(20)], calm, undefined],
    [
      'a fault that lost the response',
      [login(0), entry(10, { lost: true, status: 0 }), refused(20)],
      calm,
      'a fault lost the response',
    ],
    [
      'a crash right after the response',
      [login(0), entry(10, {}), refused(20)],
      { ...calm, crashes: [[at(12), at(14)] as const] },
      'a crash lost the response',
    ],
    [
      'not a crash long after it',
      [login(0), entry(10, {}), refused(90)],
      { ...calm, crashes: [[at(60), at(62)] as const] },
      undefined,
    ],
    [
      'a session that the schedule ended',
      [login(0), refused(20)],
      happened('lose-sessions', 10, 10),
      'the schedule ended the session',
    ],
    [
      'not one that it ended later',
      [login(0), refused(20)],
      happened('lose-sessions', 30, 30),
      undefined,
    ],
  ])('%s', (_, entries, around, rule) => {
    expect(refusedRefreshes(entries, around)).toEqual([
      { key: 'a/x', at: entries.at(-1)?.time, rule },
    ]);
  });

  it('leaves out other refusals', () => {
    const other = refused(20, { status: 401, error: 'unauthorized_client' });
    expect(refusedRefreshes([login(0), other], calm)).toEqual([]);
  });
});

describe('what explains another login', () => {
  it.each([
    ['nothing', [login(0), login(20)], calm, undefined],
    ['a refused refresh', [login(0), refused(10), login(20)], calm, 'its refresh was refused'],
    [
      'a credential that was made again',
      [login(0), login(20)],
      happened('recreate', 10, 11),
      'recreate',
    ],
    ['not one made later', [login(0), login(20)], happened('recreate', 21, 22), undefined],
    [
      'a login that waited meanwhile',
      [login(70), login(90)],
      happened('recreate', 9, 11),
      'recreate',
    ],
    ['not one long ago', [login(72), login(90)], happened('recreate', 9, 11), undefined],
    [
      'a login whose response was lost',
      [login(0, { lost: true, status: 0 }), login(20)],
      calm,
      'a fault lost the response',
    ],
  ])('%s', (_, entries, around, rule) => {
    expect(furtherLogins(entries, around)).toEqual([
      { key: 'a/x', at: entries.at(-1)?.time, rule },
    ]);
  });
});

describe('what explains a session that lives on', () => {
  const session = { id: 's', username: 'u', started: at(0) };

  it.each([
    ['nothing', [login(0)], happened('recreate', 10, 11), undefined],
    ['a spent refresh token', [login(0), refused(10)], calm, 'its refresh token was spent'],
    [
      'a log-out that was refused',
      [login(0), entry(10, { endpoint: 'logout', grantType: '', status: 401 })],
      calm,
      'the log-out was refused',
    ],
    [
      'a crash while it was to be logged out',
      [login(0)],
      { ...happened('recreate', 30, 31), crashes: [[at(40), at(41)] as const] },
      'a crash or cut stood in the way of the log-out',
    ],
    [
      'a deleted session Secret',
      [login(0)],
      happened('delete-session', 10, 10),
      'its Secret was deleted by hand',
    ],
  ])('%s', (_, entries, around, rule) => {
    expect(excessSessions([session], entries, around)).toEqual([{ key: 'a/x', at: at(0), rule }]);
  });
});

describe('the eyes of a workload', () => {
  const now = at(0);
  const one = (wanted: Member['kind']): Member => members.find(({ kind }) => kind === wanted)!;
  const [own, user, legacy] = [one('own'), one('password'), one('legacy')];
  const spec = { spec: { scope: 'openid profile' } };
  const jwt = (claims: object) =>
    `e30.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.c2ln`;
  const secret = (token: string) => ({
    metadata: { namespace: 'a', name: 'b', uid: 'c' },
    data: { token: Buffer.from(token).toString('base64') },
  });
  const claims = {
    exp: now / 1_000 + 60,
    iss: `http://x/realms/${own.realm}`,
    azp: own.clientId,
    preferred_username: `service-account-${own.clientId}`,
    scope: 'profile openid email',
  };

  it.each([
    ['fine', own, secret(jwt(claims))],
    ['empty', own, undefined],
    ['empty', own, secret('')],
    ['broken', own, secret('edited by hand')],
    ['expired', own, secret(jwt({ ...claims, exp: now / 1_000 }))],
    ['foreign', own, secret(jwt({ ...claims, azp: 'other' }))],
    ['foreign', own, secret(jwt({ ...claims, iss: 'http://x/realms/other' }))],
    ['other-scope', own, secret(jwt({ ...claims, scope: 'openid' }))],
    [
      'foreign',
      user,
      secret(jwt({ ...claims, azp: user.clientId, iss: `x/realms/${user.realm}` })),
    ],
    [
      'fine',
      user,
      secret(
        jwt({
          ...claims,
          azp: user.clientId,
          iss: `x/realms/${user.realm}`,
          preferred_username: user.username,
        }),
      ),
    ],
    ['fine', legacy, secret(jwt({ exp: claims.exp, sub: legacy.username, org: legacy.program }))],
    ['foreign', legacy, secret(jwt({ exp: claims.exp, sub: 'other', org: legacy.program }))],
  ])('%s', (kind, member, target) => {
    expect(judge(member, spec, target, now)).toBe(kind);
  });
});

describe('the proxy', () => {
  let echo: Server;
  let proxy: Proxy;
  const sockets: Socket[] = [];

  beforeEach(async () => {
    echo = createServer((socket) => {
      socket.on('error', () => undefined).pipe(socket);
    }).listen(0, '127.0.0.1');
    await once(echo, 'listening');
    const address = echo.address();
    const port = typeof address === 'object' ? (address?.port ?? 0) : 0;
    proxy = await Proxy.start(port, () => 1);
  });

  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.destroy();
    await proxy.close();
    echo.close();
  });

  async function dial(): Promise<Socket> {
    const socket = connect(proxy.port, '127.0.0.1').setEncoding('utf8');
    socket.on('error', () => undefined);
    sockets.push(socket);
    await once(socket, 'connect');
    return socket;
  }

  async function response(socket: Socket, text: string, ms: number): Promise<string | undefined> {
    socket.write(text);
    const late = sleep(ms, undefined, { ref: false }).then((): undefined => undefined);
    return Promise.race([once(socket, 'data').then(([piece]) => String(piece)), late]);
  }

  /** Resolves when the connection is closed in any way. */
  const isClosed = (socket: Socket): Promise<void> =>
    new Promise((resolve) => {
      socket.on('error', () => undefined).once('close', () => resolve());
    });

  it('forwards both ways', async () => {
    expect(await response(await dial(), 'hello', 1_000)).toBe('hello');
  });

  it('holds what it gets, and hands it on afterwards', async () => {
    const socket = await dial();
    expect(await response(socket, 'one', 1_000)).toBe('one');
    proxy.hold();
    expect(await response(socket, 'two', 200)).toBeUndefined();
    const late = await dial();
    expect(await response(late, 'new', 200)).toBeUndefined();
    const both = Promise.all([once(socket, 'data'), once(late, 'data')]);
    proxy.forward();
    expect(await both).toEqual([['two'], ['new']]);
  });

  it('cuts every connection, and welcomes new ones', async () => {
    const socket = await dial();
    expect(await response(socket, 'one', 1_000)).toBe('one');
    const closed = isClosed(socket);
    proxy.cut();
    await closed;
    expect(await response(await dial(), 'two', 1_000)).toBe('two');
  });

  it('refuses until it forwards again', async () => {
    proxy.refuse();
    const refused = connect(proxy.port, '127.0.0.1');
    await isClosed(refused);
    proxy.forward();
    expect(await response(await dial(), 'back', 1_000)).toBe('back');
  });

  it('delays each way, and keeps the order', async () => {
    const socket = await dial();
    expect(await response(socket, 'one', 1_000)).toBe('one');
    proxy.delay(100);
    const before = Date.now();
    expect(await response(socket, 'two', 2_000)).toBe('two');
    expect(Date.now() - before).toBeGreaterThanOrEqual(195);
  });
});
