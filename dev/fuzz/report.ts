import { sampleOf } from '../lab/process-sample.ts';
import { atMost, exactly, type Row, row } from '../lab/report.ts';
import type { Run } from './run.ts';
import { busiest, isEvents, mostWithin, writesIn } from './writes.ts';

const SPAN = 10_000;
/** A credential has three objects to write, and may be edited and renewed twice in that time. */
const WRITES_OF_AN_OBJECT = 30;
/** A namespace has twelve credentials, which are edited and renewed, each in a burst of 25 at most. */
const EVENTS = 100;
/** Credentials with the same secret ask for different scopes and clients; a try has three at most. */
const REQUESTS_OF_AN_IDENTITY = 60;

export async function reportOf(run: Run): Promise<Row[]> {
  const { testbed, bystander } = run;
  const { provider } = testbed;
  const writes = await writesIn(testbed.controlPlane.auditLog);
  const named = writes.map(({ at, object }) => ({ at, name: object }));
  const busiestObject = busiest(
    named.filter(({ name }) => !isEvents(name)),
    SPAN,
  );
  const busiestEvents = busiest(
    named.filter(({ name }) => isEvents(name)),
    SPAN,
  );
  const busiestIdentity = busiest(
    provider.requests.map(({ at, identity }) => ({ at, name: identity })),
    SPAN,
  );
  const { pid } = testbed.operator;
  return [
    ...objectRows(run),
    row('responses sent', sum(provider.sent.values())),
    ...byName(provider.sent).map(([kind, count]) => row(`  ${kind}`, count)),
    row('looks at the target of the bystander', bystander.looks),
    row('writes of the operator', writes.length),
    row(
      '  most in 10 s',
      mostWithin(
        writes.map(({ at }) => at),
        SPAN,
      ),
    ),
    row('peak memory of the operator, MB', pid === undefined ? 0 : sampleOf(pid).peakMb),
    row('deaths', run.deaths.length, exactly(0)),
    row('errors that the operator did not expect', run.unexpectedErrors.size, exactly(0)),
    row('leaks', run.leaks.size, exactly(0)),
    row('searches for leaks that failed', run.unreadable.size, exactly(0)),
    row(
      'loops: most writes of one object in 10 s',
      busiestObject.count,
      atMost(WRITES_OF_AN_OBJECT),
    ),
    row('loops: most Events of one namespace in 10 s', busiestEvents.count, atMost(EVENTS)),
    row(
      'loops: most token requests with one secret in 10 s',
      busiestIdentity.count,
      atMost(REQUESTS_OF_AN_IDENTITY),
    ),
    row('credentials without a condition', run.unanswered.length, exactly(0)),
    row('credentials that are Ready without a token', run.unfounded.length, exactly(0)),
    row('looks that found the bystander without a token', bystander.misses, exactly(0)),
    ...texts({
      deaths: run.deaths,
      'errors that the operator did not expect': withPhase(run.unexpectedErrors),
      'not answered': [...new Set(run.failed.map(shortened))],
      'searches for leaks that failed': withPhase(run.unreadable),
      'places that held a secret': withPhase(run.leaks),
      'credentials without a condition': run.unanswered,
      'credentials that are Ready without a token': run.unfounded,
      'most written object': busiestObject.count > WRITES_OF_AN_OBJECT ? [busiestObject.name] : [],
    }),
  ];
}

function objectRows({ accepted, refused, failed }: Run): Row[] {
  const total = sum(accepted.values()) + refused + failed.length;
  return [
    row('objects and edits tried', total),
    row('  refused by the API server', refused),
    row('  not answered', failed.length),
    ...byName(accepted).map(([kind, count]) => row(`  ${kind} accepted`, count)),
  ];
}

/** What a reader needs to find the cause; a line each. */
const texts = (lists: Readonly<Record<string, readonly string[]>>): Row[] =>
  Object.entries(lists).flatMap(([title, lines]) =>
    lines.length === 0 ? [] : [row(title, `${lines.slice(0, 20).join('\n')}\n`)],
  );

const withPhase = (findings: ReadonlyMap<string, string>): string[] =>
  [...findings].map(([finding, phase]) => `${finding} (first in: ${phase})`);

const shortened = (text: string): string => text.slice(0, 200);

const byName = <T>(map: ReadonlyMap<string, T>): [string, T][] =>
  [...map].sort(([a], [b]) => (a < b ? -1 : 1));

const sum = (numbers: Iterable<number>): number =>
  [...numbers].reduce((all, number) => all + number, 0);
