import type { Span } from '../lab/measures.ts';
import { Dice } from './dice.ts';
import { awaySpans, mostWithin, type Outage, type Replica } from './outages.ts';
import { clientOf, type Kind, type Member, sourceKeyOf } from './population.ts';

/** The events of a run with their times. The schedule depends on the seed only and is made before the run. */

export type ProviderFault =
  | 'server-error'
  | 'too-many-requests'
  | 'hang'
  | 'slow'
  | 'hang-after-work'
  | 'reset'
  | 'reset-after-work'
  | 'cut-body';

export type Fault =
  /** The process is started again after `seconds`. */
  | { readonly do: 'kill' | 'terminate'; readonly replica: Replica; readonly seconds: number }
  | { readonly do: 'freeze'; readonly replica: Replica; readonly seconds: number }
  /** Resets all its connections to the API server. */
  | { readonly do: 'cut'; readonly replica: Replica }
  /** Keeps its connections open and forwards nothing; `refuse`: rejects connections. */
  | { readonly do: 'hold' | 'refuse'; readonly replica: Replica; readonly seconds: number }
  | {
      readonly do: 'delay';
      readonly replica: Replica;
      readonly seconds: number;
      readonly ms: number;
    }
  | { readonly do: 'stop-api-server'; readonly seconds: number }
  | { readonly do: 'provider-refuse' | 'provider-hold'; readonly seconds: number }
  /** For that many seconds or requests. */
  | {
      readonly do: 'provider-fault';
      readonly fault: ProviderFault;
      readonly seconds: number;
      readonly times: number;
    };

export type TargetEdit = 'other-token' | 'no-token' | 'no-notes' | 'later-expiry';
export type Order = 'provider-first' | 'secret-first';

export type Edit =
  | { readonly do: 'delete-targets'; readonly keys: readonly string[] }
  | { readonly do: 'edit-target'; readonly keys: readonly string[]; readonly how: TargetEdit }
  /** Deletes them and creates them again under the same name, that many times. */
  | { readonly do: 'recreate'; readonly keys: readonly string[]; readonly rounds: number }
  | {
      readonly do: 'rotate-client';
      readonly client: string;
      readonly keys: readonly string[];
      readonly order: Order;
      readonly seconds: number;
    }
  | {
      readonly do: 'rotate-password';
      readonly keys: readonly string[];
      readonly order: Order;
      readonly seconds: number;
    }
  | { readonly do: 'lose-sessions'; readonly keys: readonly string[] }
  /** Ends all sessions of a realm and revokes its tokens. */
  | { readonly do: 'revoke-realm'; readonly realm: string; readonly keys: readonly string[] }
  | { readonly do: 'scope'; readonly keys: readonly string[]; readonly scope: string }
  | { readonly do: 'data'; readonly keys: readonly string[]; readonly extra: string }
  | { readonly do: 'suspend'; readonly keys: readonly string[]; readonly seconds: number }
  /** Deletes their credentials Secret; `replace-source`: creates it again at once. */
  | {
      readonly do: 'delete-source' | 'replace-source';
      readonly keys: readonly string[];
      readonly seconds: number;
    }
  | { readonly do: 'touch-source' | 'delete-session' | 'renew'; readonly keys: readonly string[] }
  | {
      readonly do: 'delete-namespace';
      readonly namespace: string;
      readonly keys: readonly string[];
      readonly seconds: number;
    };

/** `at`: milliseconds since the start of the run. */
export type Event = { readonly at: number } & (Fault | Edit);

export interface Terms {
  readonly seed: number;
  readonly minutes: number;
  readonly tokenSeconds: number;
  readonly members: readonly Member[];
}

/** Outages per window, as shares of the token lifetime: 45 s in any 2 minutes for tokens of 5 minutes. */
const AWAY_SHARE = 0.15;
const WINDOW_SHARE = 0.4;

export const awayLimit = (tokenSeconds: number) => ({
  most: tokenSeconds * AWAY_SHARE * 1_000,
  window: tokenSeconds * WINDOW_SHARE * 1_000,
});

/** Seconds before the end without a new event. */
const LAST = 5;
/** Number of proposed events; most proposed outages are rejected. */
const GRAVE_PER_MINUTE = 60;
const LIGHT_PER_MINUTE = 8;
const EDITS_PER_MINUTE = 16;
/** Milliseconds for requests that a stop interrupts, and for the start of an API server. */
const API_SERVER_START = 10_000;
const CONNECT_AGAIN = 2_000;
const HANDOVER = 5_000;
/** Milliseconds after which a hanging request times out. */
const REQUEST_TIMEOUT = 10_000;
/** Milliseconds. A leader resigns after 10 s without the API server; this is a little less, to be safe. */
const LOSES_LEASE = 8_000;

export function scheduleFor(terms: Terms): Event[] {
  const dice = new Dice(terms.seed);
  const faults = faultsFor(terms, dice);
  const edits = new Edits(terms, dice).all(crowdsAfter(faults, dice));
  return [...faults, ...edits].sort((a, b) => a.at - b.at);
}

/** The outages that an event causes. */
export function outagesOf(event: Event): Outage[] {
  const { at } = event;
  const lasting = (seconds: number, more = 0): Span => [at, at + seconds * 1_000 + more];
  // Edits cause no outage
  // oxlint-disable-next-line typescript/switch-exhaustiveness-check
  switch (event.do) {
    case 'kill':
    case 'freeze':
      return [{ of: event.replica, span: lasting(event.seconds, CONNECT_AGAIN), takeover: true }];
    case 'terminate':
      return [{ of: event.replica, span: lasting(event.seconds, HANDOVER) }];
    case 'cut':
      return [{ of: event.replica, span: lasting(0, CONNECT_AGAIN) }];
    case 'hold':
    case 'refuse':
      return [
        {
          of: event.replica,
          span: lasting(event.seconds, CONNECT_AGAIN),
          takeover: event.seconds * 1_000 >= LOSES_LEASE,
        },
      ];
    case 'stop-api-server':
      return [{ of: 'api-server', span: lasting(event.seconds, API_SERVER_START) }];
    case 'provider-refuse':
      return [{ of: 'provider', span: lasting(event.seconds, CONNECT_AGAIN) }];
    case 'provider-hold':
      return [{ of: 'provider', span: lasting(event.seconds, REQUEST_TIMEOUT) }];
    case 'provider-fault':
      return providerOutages(event, lasting);
  }
  return [];
}

/** A fault that affects a few requests, or slows them down, is no outage: the next attempt succeeds. */
function providerOutages(
  { fault, seconds }: Extract<Event, { do: 'provider-fault' }>,
  lasting: (seconds: number, more?: number) => Span,
): Outage[] {
  if (seconds === 0 || fault === 'slow') return [];
  const more = fault === 'hang' ? REQUEST_TIMEOUT : CONNECT_AGAIN;
  return [{ of: 'provider', span: lasting(seconds, more) }];
}

/**
 * Proposes random faults and keeps those that do not add up to longer outages than allowed. Faults that cause an outage
 * come first, since the others would take their places.
 */
function faultsFor({ minutes, tokenSeconds }: Terms, dice: Dice): Event[] {
  const { most, window } = awayLimit(tokenSeconds);
  const kept: Event[] = [];
  const propose = (weights: Readonly<Record<FaultName, number>>, perMinute: number): void => {
    for (let i = 0; i < perMinute * minutes; i += 1) {
      const proposed = eventOf(faultOf(dice.weighted(weights), dice), dice, minutes * 60);
      if (proposed === undefined || kept.some((other) => clash(proposed, other))) continue;
      const spans = awaySpans([...kept, proposed].flatMap(outagesOf));
      if (mostWithin(spans, window) <= most) kept.push(proposed);
    }
  };
  propose(GRAVE, GRAVE_PER_MINUTE);
  propose(LIGHT, LIGHT_PER_MINUTE);
  return kept;
}

type FaultName = Exclude<Fault['do'], 'provider-fault'> | ProviderFault;

const NONE: Readonly<Record<FaultName, number>> = {
  kill: 0,
  terminate: 0,
  freeze: 0,
  cut: 0,
  hold: 0,
  refuse: 0,
  delay: 0,
  'stop-api-server': 0,
  'provider-refuse': 0,
  'provider-hold': 0,
  'server-error': 0,
  'too-many-requests': 0,
  hang: 0,
  slow: 0,
  'hang-after-work': 0,
  reset: 0,
  'reset-after-work': 0,
  'cut-body': 0,
};

const GRAVE: Readonly<Record<FaultName, number>> = {
  ...NONE,
  kill: 5,
  terminate: 5,
  freeze: 4,
  hold: 4,
  refuse: 2,
  'stop-api-server': 4,
  'provider-refuse': 1.5,
  'provider-hold': 1,
  'server-error': 1.5,
  'too-many-requests': 1,
  hang: 1,
};

const LIGHT: Readonly<Record<FaultName, number>> = {
  ...NONE,
  terminate: 1,
  cut: 3,
  hold: 1,
  delay: 2,
  slow: 1,
  'hang-after-work': 1,
  reset: 1,
  'reset-after-work': 1.5,
  'cut-body': 1.5,
};

/** At a random time, early enough that it ends before the run does. */
function eventOf(fault: Fault, dice: Dice, length: number): Event | undefined {
  const seconds = 'seconds' in fault ? fault.seconds : 0;
  const latest = length - LAST - seconds;
  const at = Math.round(dice.between(2, Math.max(latest, 2)) * 1_000);
  return latest < 2 ? undefined : { at, ...fault };
}

function faultOf(what: FaultName, dice: Dice): Fault {
  const replica: Replica = dice.next() < 0.5 ? 0 : 1;
  const seconds = (from: number, to: number): number => Number(dice.between(from, to).toFixed(1));
  switch (what) {
    case 'kill':
    case 'terminate':
      return { do: what, replica, seconds: seconds(0.5, 12) };
    case 'freeze':
      return { do: what, replica, seconds: seconds(16, 28) };
    case 'cut':
      return { do: what, replica };
    case 'hold':
    case 'refuse':
      return { do: what, replica, seconds: seconds(2, 30) };
    case 'delay':
      return { do: what, replica, seconds: seconds(5, 30), ms: dice.whole(50, 800) };
    case 'stop-api-server':
      return { do: what, seconds: seconds(1, 15) };
    case 'provider-refuse':
    case 'provider-hold':
      return { do: what, seconds: seconds(2, 20) };
    case 'server-error':
    case 'too-many-requests':
    case 'hang':
    case 'slow':
      return { do: 'provider-fault', fault: what, seconds: seconds(2, 15), times: 0 };
    case 'hang-after-work':
    case 'reset':
    case 'reset-after-work':
    case 'cut-body':
      return { do: 'provider-fault', fault: what, seconds: 0, times: dice.whole(1, 3) };
  }
}

/** True for two events that undo or repeat each other. */
function clash(one: Event, other: Event): boolean {
  const [a, b] = [laneOf(one), laneOf(other)];
  if (a === undefined || a !== b) return false;
  const gap = GAPS[a.split(' ')[0] ?? ''] ?? 0;
  return one.at < endOf(other) + gap && other.at < endOf(one) + gap;
}

/** Events of one lane do not overlap, with a gap in milliseconds between them. */
const GAPS: Readonly<Record<string, number>> = {
  process: 8_000,
  network: 3_000,
  api: 30_000,
  provider: 1_000,
  // Each pause halves the operator's request rate to the host for minutes
  maxWait: 240_000,
};

function laneOf(event: Event): string | undefined {
  if (event.do === 'stop-api-server') return 'api';
  if (event.do === 'provider-refuse' || event.do === 'provider-hold') return 'provider';
  if (event.do === 'provider-fault')
    return event.fault === 'too-many-requests' ? 'patience' : 'provider';
  if (!('replica' in event)) return undefined;
  const isProcess = event.do === 'kill' || event.do === 'terminate' || event.do === 'freeze';
  return `${isProcess ? 'process' : 'network'} ${event.replica}`;
}

/** The end of the event, in milliseconds since the start of the run. */
export const endOf = (event: Event): number =>
  event.at + ('seconds' in event ? event.seconds * 1_000 : 0);

const EDIT_WEIGHTS = {
  'delete-targets': 5,
  'edit-target': 4,
  recreate: 4,
  'rotate-client': 3,
  'rotate-password': 3,
  'lose-sessions': 1,
  'revoke-realm': 0.5,
  scope: 3,
  data: 2,
  suspend: 2,
  'delete-source': 1.5,
  'replace-source': 1.5,
  'touch-source': 1,
  'delete-session': 0.7,
  renew: 1.5,
  'delete-namespace': 0.6,
} as const satisfies Record<Edit['do'], number>;

/** How often many credentials are created again while watches are lost. */
const CROWD_SHARE = 0.6;
/** Milliseconds. A lost watch is opened again after at most 30 s; most likely it is still closed in this span. */
const BLIND = 20_000;

/** When to create many credentials again: while no watch shows it, a stale read may hide it. */
function crowdsAfter(faults: readonly Event[], dice: Dice): number[] {
  return faults
    .filter(({ do: what }) => BLINDING.has(what) && dice.next() < CROWD_SHARE)
    .map((fault) => {
      if (fault.do === 'delay') return Math.round(dice.between(fault.at, endOf(fault)));
      const start = fault.do === 'stop-api-server' ? API_SERVER_START : 0;
      return Math.max(1_000, Math.round(endOf(fault) + start + dice.between(-5_000, BLIND)));
    })
    .sort((a, b) => a - b);
}

const BLINDING: ReadonlySet<Event['do']> = new Set<Event['do']>([
  'stop-api-server',
  'hold',
  'refuse',
  'cut',
  'delay',
]);

const SCOPES = ['openid', 'openid profile', 'openid email'] as const;
/** Milliseconds without another edit of the same credential, so that the result of each edit can be checked. */
const BREATH = 6_000;
/** Milliseconds to delete a namespace and create all of its objects again. */
const NAMESPACE_TAKES = 25_000;
/** A new credential of these grants needs a login, and logins are limited to one a second. */
const LOGINS_AT_ONCE = 5;

/** Draws the edits in order of time. A credential that was just edited is left out for a while. */
class Edits {
  readonly #terms: Terms;
  readonly #dice: Dice;
  readonly #busyUntil = new Map<string, number>();
  /** Users whose session was ended. After a third end within an hour the operator would assume another user. */
  readonly #ended = new Set<string>();
  #namespaceGoneAt = Number.NEGATIVE_INFINITY;

  constructor(terms: Terms, dice: Dice) {
    this.#terms = terms;
    this.#dice = dice;
  }

  /** @param crowds times at which many credentials are created again */
  all(crowds: readonly number[]): Event[] {
    const end = (this.#terms.minutes * 60 - LAST) * 1_000;
    const events: Event[] = [];
    const moments = [...this.#moments(end), ...crowds].sort((a, b) => a - b);
    for (const at of moments) {
      const edit = crowds.includes(at) ? this.#crowd(at) : this.#draw(at);
      if (edit === undefined || at + lengthOf(edit) > end) continue;
      events.push({ at, ...edit });
      const until = at + lengthOf(edit) + BREATH;
      for (const key of edit.keys) this.#busyUntil.set(key, until);
      if (edit.do === 'delete-namespace') this.#namespaceGoneAt = at;
      if (edit.do === 'lose-sessions' || edit.do === 'revoke-realm')
        for (const key of edit.keys) this.#ended.add(key);
    }
    return events;
  }

  /** Exponentially distributed: sometimes two at once, sometimes none for a long time. */
  #moments(end: number): number[] {
    const moments: number[] = [];
    for (let at = 1_000; at < end; ) {
      at += Math.ceil((-Math.log(1 - this.#dice.next()) * 60_000) / EDITS_PER_MINUTE);
      moments.push(at);
    }
    return moments;
  }

  /** The credentials of these kinds that were not just edited. */
  #free(at: number, ...kinds: readonly Kind[]): Member[] {
    return this.#terms.members.filter(
      ({ key, kind }) =>
        (kinds.length === 0 || kinds.includes(kind)) && (this.#busyUntil.get(key) ?? 0) <= at,
    );
  }

  /** All of them, or none if one of them was just edited. */
  #together(at: number, members: readonly Member[]): string[] {
    const keys = members.map(({ key }) => key);
    return keys.every((key) => (this.#busyUntil.get(key) ?? 0) <= at) ? keys : [];
  }

  #seconds(from: number, to: number): number {
    return Number(this.#dice.between(from, to).toFixed(1));
  }

  #draw(at: number): Edit | undefined {
    const edit = this.#propose(this.#dice.weighted<Edit['do']>(EDIT_WEIGHTS), at);
    return edit === undefined || edit.keys.length === 0 ? undefined : edit;
  }

  #propose(what: Edit['do'], at: number): Edit | undefined {
    const dice = this.#dice;
    const some = (count: number, ...kinds: readonly Kind[]) =>
      dice.some(this.#free(at, ...kinds), count).map(({ key }) => key);
    switch (what) {
      case 'delete-targets':
        return { do: what, keys: some(dice.whole(1, 10)) };
      case 'edit-target':
        return { do: what, keys: this.#ownerOfTarget(at), how: dice.pick(TARGET_EDITS) };
      case 'recreate':
        return this.#recreate(at);
      case 'rotate-client':
      case 'rotate-password':
        return this.#rotate(what, at);
      case 'lose-sessions':
      case 'revoke-realm':
        return this.#endSessions(what, at);
      case 'scope':
        return { do: what, keys: some(1, 'shared', 'own', 'password'), scope: dice.pick(SCOPES) };
      case 'data':
        return { do: what, keys: some(dice.whole(1, 3)), extra: `v${dice.whole(1, 999)}` };
      case 'suspend':
        return { do: what, keys: some(dice.whole(1, 3)), seconds: this.#seconds(5, 40) };
      case 'delete-source':
      case 'replace-source':
        return this.#source(what, at);
      case 'touch-source':
      case 'renew':
        return { do: what, keys: some(dice.whole(1, 5)) };
      case 'delete-session':
        return { do: what, keys: some(1, 'password') };
      case 'delete-namespace':
        return this.#namespace(at);
    }
  }

  /** Without creationPolicy Merge: there the operator leaves its keys to another manager and reports a conflict. */
  #ownerOfTarget(at: number): string[] {
    const owners = this.#free(at).filter(({ creationPolicy }) => creationPolicy === 'Owner');
    return this.#dice.some(owners, 1).map(({ key }) => key);
  }

  /** All that need no login, hundreds at once: a stale read may create a deleted target again. */
  #crowd(at: number): Edit | undefined {
    const machines = this.#free(at, 'shared').map(({ key }) => key);
    const rounds = Math.max(1, Math.ceil(100 / Math.max(machines.length, 34)));
    return machines.length === 0 ? undefined : { do: 'recreate', keys: machines, rounds };
  }

  #recreate(at: number): Edit | undefined {
    const dice = this.#dice;
    if (dice.next() < 0.2) return this.#crowd(at);
    const logins = dice.some(this.#free(at, 'password', 'legacy'), dice.whole(0, LOGINS_AT_ONCE));
    const others = dice.some(this.#free(at, 'shared', 'own'), dice.whole(1, 8));
    return {
      do: 'recreate',
      keys: [...logins, ...others].map(({ key }) => key),
      rounds: logins.length > 0 ? 1 : dice.whole(1, 3),
    };
  }

  #rotate(what: 'rotate-client' | 'rotate-password', at: number): Edit | undefined {
    const dice = this.#dice;
    const order = dice.next() < 0.5 ? 'provider-first' : 'secret-first';
    const seconds = this.#seconds(0, 20);
    if (what === 'rotate-password') {
      const [member] = dice.some(this.#free(at, 'password', 'legacy'), 1);
      return member && { do: what, keys: [member.key], order, seconds };
    }
    const [first] = dice.some(this.#free(at, 'shared', 'own', 'password'), 1);
    if (first === undefined) return undefined;
    const client = clientOf(first);
    const members = this.#terms.members.filter((member) => clientOf(member) === client);
    return { do: what, client, keys: this.#together(at, members), order, seconds };
  }

  #endSessions(what: 'lose-sessions' | 'revoke-realm', at: number): Edit | undefined {
    const free = this.#free(at, 'password').filter(({ key }) => !this.#ended.has(key));
    if (what === 'lose-sessions') {
      return {
        do: what,
        keys: this.#dice.some(free, this.#dice.whole(1, 4)).map(({ key }) => key),
      };
    }
    const [first] = this.#dice.some(free, 1);
    if (first === undefined) return undefined;
    const { realm } = first;
    const members = this.#terms.members.filter((member) => member.realm === realm);
    if (members.some(({ key }) => this.#ended.has(key))) return undefined;
    return { do: what, realm, keys: this.#together(at, members) };
  }

  #source(what: 'delete-source' | 'replace-source', at: number): Edit | undefined {
    const [first] = this.#dice.some(this.#free(at), 1);
    if (first === undefined) return undefined;
    const members = this.#terms.members.filter(
      (member) => sourceKeyOf(member) === sourceKeyOf(first),
    );
    const seconds = what === 'delete-source' ? this.#seconds(1, 20) : 0;
    return { do: what, keys: this.#together(at, members), seconds };
  }

  #namespace(at: number): Edit | undefined {
    if (at - this.#namespaceGoneAt < 150_000) return undefined;
    const [first] = this.#dice.some(this.#free(at), 1);
    if (first === undefined) return undefined;
    const { namespace } = first;
    const members = this.#terms.members.filter((member) => member.namespace === namespace);
    const keys = this.#together(at, members);
    return { do: 'delete-namespace', namespace, keys, seconds: this.#seconds(0, 10) };
  }
}

const TARGET_EDITS = ['other-token', 'no-token', 'no-notes', 'later-expiry'] as const;

/** Duration in milliseconds. */
function lengthOf(edit: Edit): number {
  const seconds = 'seconds' in edit ? edit.seconds * 1_000 : 0;
  if (edit.do === 'delete-namespace') return seconds + NAMESPACE_TAKES;
  return edit.do === 'recreate' ? edit.keys.length * edit.rounds * 30 : seconds;
}

/** One line, such as `01:12.4  kill replica-1, back after 3.2 s`. */
export const lineOf = (event: Event): string => `${clockOf(event.at)}  ${describe(event)}`;

export function clockOf(ms: number): string {
  const tenths = Math.round(ms / 100);
  const seconds = ((tenths % 600) / 10).toFixed(1);
  return `${String(Math.floor(tenths / 600)).padStart(2, '0')}:${seconds.padStart(4, '0')}`;
}

export function describe(event: Fault | Edit): string {
  const { do: what, ...rest } = event;
  return [what, ...Object.entries(rest).flatMap(([name, value]) => wordsFor(name, value))].join(
    ', ',
  );
}

function wordsFor(name: string, value: number | string | readonly string[]): string[] {
  if (typeof value === 'string') return [value];
  if (typeof value !== 'number')
    return [value.length > 4 ? `${value.length} credentials` : value.join(' ')];
  if (name === 'replica') return [`replica-${value}`];
  const unit = UNITS[name];
  return unit === undefined || value === 0 ? [] : [`${value} ${unit}`];
}

const UNITS: Readonly<Record<string, string>> = {
  seconds: 's',
  ms: 'ms',
  times: 'times',
  rounds: 'rounds',
};

/** The longest outage of the schedule in any window, in milliseconds. */
export function mostAway(events: readonly Event[], tokenSeconds: number): number {
  return mostWithin(awaySpans(events.flatMap(outagesOf)), awayLimit(tokenSeconds).window);
}
