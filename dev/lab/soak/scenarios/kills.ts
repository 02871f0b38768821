import {
  count,
  expirations,
  quantile,
  rounded,
  type Span,
  sharedSeconds,
  tally,
} from '../measures.ts';
import { type Row, serviceRows, told } from '../report.ts';
import { type Setting, Stage } from '../stage.ts';
import type { TargetReader } from '../target-reader.ts';
import { shortLived } from './steady.ts';

const PERIOD = 20_000;
/** A renewal is a matter of some ten milliseconds: answer, session Secret, target, status. */
const RENEWAL = 80;

/**
 * The operator dies every 20 s and is started again at once, as kubelet does it the first time. Every other time at any
 * moment; else within a renewal, for between answer and write there is something to lose. Without a Lease: this is
 * about the single replica, whose successor would have to wait for the Lease to run out.
 */
export const kills = (setting: Setting): Promise<Row[]> =>
  Stage.play(setting, {
    realm: shortLived(setting),
    config: { leaderElection: { enabled: false } },
    act: async (stage) => {
      const { reader, accounts, provider } = stage;
      await stage.applyAll();
      await stage.allServed(120);
      const before = count(await provider.seen(), 'LOGIN');
      const spans = await killUntil(stage, Date.now() + setting.milliseconds);
      const absences = spans.map(([from, to]) => (to - from) / 1_000);
      const expired = expirations(reader.targets);
      const service = serviceRows(reader, accounts.length);
      const seen = await provider.seen();
      return [
        ...service,
        told(
          'expired seconds in which there was no operator',
          rounded(sharedSeconds(expired, spans)),
        ),
        told('kills', absences.length),
        told('from kill to ready, median (s)', rounded(quantile(absences, 0.5))),
        told('from kill to ready, longest (s)', rounded(Math.max(...absences))),
        told('requests that the server saw', tally(seen)),
        told('logins before the first kill', before),
        told('logins after it', count(seen, 'LOGIN') - before),
        told('refreshes', count(seen, 'REFRESH_TOKEN')),
        told('refreshes refused', count(seen, 'REFRESH_TOKEN_ERROR')),
      ];
    },
  });

/** When the operator was away: from each kill until the next one was ready. */
async function killUntil(stage: Stage, end: number): Promise<Span[]> {
  const { operator, reader } = stage;
  const absences: Span[] = [];
  for (let from = Date.now(); from + PERIOD <= end; from += PERIOD) {
    const anyMoment = from + Math.random() * PERIOD;
    const at = absences.length % 2 === 0 ? anyMoment : inRenewal(reader, anyMoment);
    await stage.wait(at - Date.now());
    const killed = Date.now();
    await operator.kill(0);
    await operator.run();
    absences.push([killed, Date.now()]);
    await stage.wait(from + PERIOD - Date.now());
  }
  return absences;
}

/** A moment within the first renewal that is due after `from`. */
function inRenewal({ targets }: TargetReader, from: number): number {
  const due = [...targets.values()].map((states) => states.at(-1)?.renewAt ?? 0);
  const next = due.filter((at) => at > from).sort((a, b) => a - b)[0] ?? from;
  return next + Math.random() * RENEWAL;
}
