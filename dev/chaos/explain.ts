import type { Span } from '../lab/measures.ts';
import type { Kind } from './judge.ts';
import { within } from './outages.ts';
import type { Event } from './schedule.ts';

/** Rules that name the event of the schedule that caused a finding. A finding without a rule is unexplained. */

/** An event that was carried out. Milliseconds since 1970; an edit was finished at `to`. */
export interface Done {
  readonly event: Event;
  readonly from: number;
  readonly to: number;
}

/** A second in which a target was wrong. */
export interface Finding {
  readonly key: string;
  readonly kind: Kind;
  readonly at: number;
  /** When its credential was created. */
  readonly created: number;
}

export interface History {
  readonly done: readonly Done[];
  /** When the operator could not repair it: no API server, no identity provider or no leader. */
  readonly away: readonly Span[];
  /** By credential: when the provider rejected a refresh because the session was over. */
  readonly sessionEnds: ReadonlyMap<string, readonly number[]>;
}

interface Rule {
  readonly kinds: readonly Kind[];
  /** Applies for this many seconds after the event, not counting those in `away`. */
  readonly calm: number;
}

/** For the token of a new credential: logins are limited to one a second. */
const NEW = 60;
/** The simulated person checks for the last time 65 s after a rotation, and requests a renewal then. */
const ROTATED = 95;
/** For a target that has to be written again. */
const REWRITTEN = 30;

const RULES: Readonly<Partial<Record<Event['do'], Rule>>> = {
  'delete-targets': { kinds: ['empty'], calm: REWRITTEN },
  'edit-target': { kinds: ['empty', 'broken'], calm: REWRITTEN },
  recreate: { kinds: ['empty'], calm: NEW },
  'delete-namespace': { kinds: ['empty'], calm: NEW },
  // After an error with the old secret the operator waits, or a person requests a renewal
  'rotate-client': { kinds: ['empty', 'other-scope'], calm: ROTATED },
  'rotate-password': { kinds: ['empty', 'other-scope'], calm: ROTATED },
  'delete-source': { kinds: ['empty', 'other-scope'], calm: NEW },
  scope: { kinds: ['other-scope'], calm: NEW },
  suspend: { kinds: ['expired', 'empty', 'other-scope'], calm: REWRITTEN },
};

/** After the third end of a session within an hour the operator assumes another user of the account, and waits. */
const MAX_SESSION_ENDS = 3;
const HOUR = 3_600_000;

/** The rule that explains the finding, as text; undefined when there is none. */
export function explain(finding: Finding, history: History): string | undefined {
  const { key, kind, at, created } = finding;
  const calmSince = (from: number): number => at - from - within(history.away, from, at);
  if (kind !== 'foreign' && calmSince(created) <= NEW * 1_000) return 'the credential is new';
  const cause = history.done.find(({ event, from, to }) => {
    const rule = ruleOf(event);
    if (rule === undefined || !rule.kinds.includes(kind) || at < from) return false;
    return concerns(event, key) && (at <= to || calmSince(to) <= rule.calm * 1_000);
  });
  if (cause !== undefined) return cause.event.do;
  const ends = history.sessionEnds.get(key)?.filter((end) => end <= at && end > at - HOUR) ?? [];
  if (kind !== 'foreign' && ends.length >= MAX_SESSION_ENDS)
    return 'the session has ended three times';
  return undefined;
}

const ruleOf = ({ do: what }: Event): Rule | undefined => RULES[what];

export const concerns = (event: Event, key: string): boolean =>
  'keys' in event && event.keys.includes(key);
