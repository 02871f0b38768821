import { execFile } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { POD_RANGE } from '../../dev/envtest/cluster/node.ts';
import type { Lab, PodObject } from './lab.ts';
import { until } from './lab.ts';
import { processOf } from './operator-processes.ts';
import type { Report } from './report.ts';
import { difference } from './stand-in-api.ts';
import type { LeaseHolders, PublishedTokens } from './watches.ts';

/** Long enough for another renewal of each credential of the fleet. */
const SETTLING = 42_000;

export interface Watched {
  readonly lab: Lab;
  readonly fleet: PublishedTokens;
  readonly lease: LeaseHolders;
  readonly report: Report;
}

export interface Outcome {
  /** Milliseconds from the start of the disturbance, which it returns, until a leader writes the Lease. */
  readonly leaderless: number;
  /** Milliseconds in which the Lease had no holder. */
  readonly vacant: number;
  /** The largest delay of a renewal of the fleet, in milliseconds. */
  readonly latest: number;
  /** Tokens that were issued and never published, so that another request was needed. */
  readonly lost: number;
  readonly expired: number;
  readonly expiredOfShortLived: number;
}

interface Since {
  readonly since: number;
  readonly isSuccessor?: (holder: string) => boolean;
}

async function untilLed(lease: LeaseHolders, { since, isSuccessor }: Since): Promise<number> {
  const { at } = await until(() => lease.firstAfter(since, isSuccessor));
  return at - since;
}

/** The effect of a disturbance on the fleet and on the workload with tokens of a minute. */
export async function disturb(
  name: string,
  { lab, fleet, lease, report }: Watched,
  disturbance: () => Promise<Since | undefined>,
): Promise<Outcome> {
  const from = Date.now();
  const before = { fleet: lab.api.calls('fleet'), loyalty: lab.api.calls('loyalty') };
  const since = await disturbance();
  const leaderless = since === undefined ? 0 : await untilLed(lease, since);
  await sleep(SETTLING);
  const to = Date.now();
  const lost = (): number =>
    lab.issued(/^fleet/).filter((issue) => issue.at >= from && issue.at <= to && fleet.lacks(issue))
      .length;
  // Lets requests that are on their way finish.
  await until(() => lost() === 0, 15).catch(() => undefined);
  const outcome = {
    leaderless,
    vacant: lease.vacant(from, to),
    latest: Math.max(0, ...fleet.lateness(from, to)),
    lost: lost(),
    expired: difference(lab.api.calls('fleet'), before.fleet).expired,
    expiredOfShortLived: difference(lab.api.calls('loyalty'), before.loyalty).expired,
  };
  if (since !== undefined) report.seconds(`${name}: without a leader`, leaderless);
  report.seconds(`${name}: latest renewal of ${fleet.lateness(from, to).length}`, outcome.latest);
  report.add(`${name}: tokens issued but not published`, outcome.lost);
  report.add(`${name}: calls refused as expired (5 min tokens)`, outcome.expired);
  report.add(`${name}: calls refused as expired (1 min tokens)`, outcome.expiredOfShortLived);
  return outcome;
}

export async function leaderOf({ lab, lease }: Watched): Promise<PodObject> {
  return until(async () => {
    const pods = await lab.operatorPods();
    return pods.find(({ metadata }) => metadata.name === lease.current);
  });
}

/** Sends a signal to the leader's process. */
export async function signalLeader(watched: Watched, signal: NodeJS.Signals): Promise<number> {
  const leader = await leaderOf(watched);
  const { pid } = await until(() => processOf(leader.metadata.uid));
  process.kill(pid, signal);
  return pid;
}

/** Meanwhile pods can't reach the API server. The node can: else it would count as failed, and its pods would be evicted. */
export async function cutApiAccess({ lab }: Watched, seconds: number): Promise<void> {
  const { port } = new URL(lab.cluster.controlPlane.url);
  const rules = [
    ['INPUT', '--source', POD_RANGE, '--protocol', 'tcp', '--dport', port],
    ['OUTPUT', '--destination', POD_RANGE, '--protocol', 'tcp', '--sport', port],
  ];
  const change = async (how: string): Promise<void> => {
    for (const rule of rules) {
      await promisify(execFile)('iptables', ['--wait', how, ...rule, '--jump', 'DROP']);
    }
  };
  await change('--insert');
  await sleep(seconds * 1_000);
  await change('--delete');
}
