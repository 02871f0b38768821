import type { Span } from '../lab/measures.ts';
import type { Kind } from './judge.ts';
import { within } from './outages.ts';
import type { Event } from './schedule.ts';

/** Which of the things that were seen the schedule itself has caused. Whatever no rule names is unexplained. */

/** An event as it really happened. Milliseconds since 1970; until `to` for edits that were carried out then. */
export interface Done {
  readonly event: Event;
  readonly from: number;
  readonly to: number;
}

/** A second in which a target was not as it should be. */
export interface Finding {
  readonly key: string;
  readonly kind: Kind;
  readonly at: number;
  /** When its credential was created. */
  readonly created: number;
}

export interface History {
  readonly done: readonly Done[];
  /** When it could not have been mended: no API server, no identity provider, no leader. */
  readonly away: readonly Span[];
  /** Of each credential: when the provider has refused a refresh because the session was over. */
  readonly sessionEnds: ReadonlyMap<string, readonly number[]>;
}

interface Rule {
  readonly kinds: readonly Kind[];
  /** For so many seconds after the event, those not counted in which something was away. */
  readonly calm: number;
}

/** A new credential's token, behind logins that are one a second. */
const NEW = 60;
/** After a rotation people look for the last time after 65 s, and ask for what is missing then. */
const ROTATED = 95;
/** A target that has to be written again. */
const MENDED = 30;

const RULES: Readonly<Partial<Record<Event['do'], Rule>>> = {
  'delete-targets': { kinds: ['empty'], calm: MENDED },
  'edit-target': { kinds: ['empty', 'broken'], calm: MENDED },
  recreate: { kinds: ['empty'], calm: NEW },
  'delete-namespace': { kinds: ['empty'], calm: NEW },
  // What is refused while the two secrets differ is only tried again by and by, or when a person asks for it
  'rotate-client': { kinds: ['empty', 'other-scope'], calm: ROTATED },
  'rotate-password': { kinds: ['empty', 'other-scope'], calm: ROTATED },
  'delete-source': { kinds: ['empty', 'other-scope'], calm: NEW },
  scope: { kinds: ['other-scope'], calm: NEW },
  suspend: { kinds: ['expired', 'empty', 'other-scope'], calm: MENDED },
};

/** The operator takes the third end of a session within an hour for another holder of the user, and waits. */
const MAX_SESSION_ENDS = 3;
const HOUR = 3_600_000;

/** The rule that explains it, in words; undefined when none does. */
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
