import { hours, type Ms, minutes, seconds } from '../../src/lib/time.ts';
import { forgetAwait } from './awaits.ts';
import { contend } from './contention.ts';
import { Dice } from './dice.ts';
import { requestForLatecomers, setPasswordEarly } from './early-password.ts';
import { checkEnd } from './end-checks.ts';
import { FAULT_NAMES, FAULTS, type FaultName, withholdRefreshTokens } from './faults.ts';
import {
  type Action,
  CREDENTIAL_EDITS,
  NAMESPACE_EDITS,
  putThingsRight,
  SECRET_EDITS,
} from './people.ts';
import { CLUSTER_EDITS, putClustersRight } from './people-of-clusters.ts';
import { type Setting, settingFor, World } from './world.ts';

/** A step. Its dice depend on its number only, so that other steps can be left out. */
export interface Step {
  readonly number: number;
  readonly at: Ms;
  readonly name: string;
}

export interface GameOptions {
  readonly seed: number;
  /** Names of faults. Default: those that the seed draws. */
  readonly faults?: readonly FaultName[];
  readonly setting?: Partial<Setting>;
  /** Default: what the seed draws. */
  readonly steps?: readonly Step[];
  readonly trace?: boolean;
}

export interface Result {
  readonly seed: number;
  readonly faults: readonly FaultName[];
  readonly steps: readonly Step[];
  /** Each as `rule: what`. */
  readonly violations: readonly string[];
  readonly trace: readonly string[];
  /** From the end of all faults and edits until every credential was right. */
  readonly settledAfter: Ms;
  readonly tokenRequests: number;
  readonly lostSessions: number;
  readonly events: number;
}

const MOST_STEPS = 34;
const DELAYS_NEWS = new Set<FaultName>([
  'latency',
  'api',
  'watch',
  'permissions',
  'restore',
  'freeze',
]);

const ACTIONS: Readonly<Record<string, Action>> = {
  setPasswordEarly,
  contend,
  withholdRefreshTokens,
  ...CREDENTIAL_EDITS,
  ...CLUSTER_EDITS,
  ...SECRET_EDITS,
  ...NAMESPACE_EDITS,
  ...Object.assign({}, ...Object.values(FAULTS)),
};

export function faultsFor(dice: Dice): FaultName[] {
  const share = dice.pick([0, 0.15, 0.35, 0.7]);
  return FAULT_NAMES.filter(() => dice.chance(share));
}

export function stepsFor(dice: Dice, faults: readonly FaultName[]): Step[] {
  const count = dice.between(6, MOST_STEPS);
  const length = dice.chance(0.01)
    ? hours(30)
    : dice.pick([minutes(2), minutes(4), minutes(8), minutes(20)]);
  const edits = [...Object.keys(CREDENTIAL_EDITS), ...Object.keys(SECRET_EDITS)];
  const broken = faults.flatMap((fault) => Object.keys(FAULTS[fault]));
  const steps = Array.from({ length: count }, (): Omit<Step, 'number'> => {
    const at = dice.below(length);
    if (broken.length > 0 && dice.chance(0.4)) return { at, name: dice.pick(broken) };
    if (dice.chance(0.03)) return { at, name: dice.pick(Object.keys(NAMESPACE_EDITS)) };
    return { at, name: dice.chance(0.25) ? 'create' : dice.pick(edits) };
  });
  const first = Array.from({ length: dice.between(1, 5) }, () => ({
    at: dice.below(3_000),
    name: 'create',
  }));
  return [...first, ...steps]
    .sort((a, b) => a.at - b.at)
    .map((step, number) => ({ ...step, number }));
}

function allSteps(dice: Dice, faults: readonly FaultName[], hasClusters: boolean): Step[] {
  const steps = stepsFor(dice.fork('steps'), faults);
  const all = hasClusters ? withClusterSteps(dice.fork('clusters'), steps) : steps;
  const withPasswords = withFurther('setPasswordEarly', 0.2, dice.fork('early passwords'), all);
  const withEnds = withFurther('contend', 0.1, dice.fork('contention'), withPasswords);
  return withFurther('withholdRefreshTokens', 0.04, dice.fork('refresh tokens'), withEnds);
}

/** Further steps, about ClusterConvercusCredentials. The numbers of the others stay. */
function withClusterSteps(dice: Dice, steps: readonly Step[]): Step[] {
  const length = Math.max(steps.at(-1)?.at ?? 0, 10_000);
  const more = Array.from({ length: dice.between(3, 14) }, (_, at) => {
    const name =
      at === 0 || dice.chance(0.2) ? 'createCluster' : dice.pick(Object.keys(CLUSTER_EDITS));
    return {
      number: steps.length + at,
      at: at === 0 ? dice.below(3_000) : dice.below(length),
      name,
    };
  });
  return [...steps, ...more].sort((a, b) => a.at - b.at);
}

/** One or two further ones of that name in a share of the runs. The numbers of the others stay. */
function withFurther(name: string, share: number, dice: Dice, steps: readonly Step[]): Step[] {
  const length = Math.max(steps.at(-1)?.at ?? 0, 10_000);
  const count = dice.chance(share) ? dice.between(1, 2) : 0;
  const more = Array.from({ length: count }, (_, at) => ({
    number: steps.length + at,
    at: dice.below(length),
    name,
  }));
  return [...steps, ...more].sort((a, b) => a.at - b.at);
}

/** Runs one seed: faults and edits, then none, with all checks. */
export async function play(options: GameOptions): Promise<Result> {
  const { seed, trace = false, setting = {} } = options;
  forgetAwait();
  const name = `seed ${seed}`;
  const dice = new Dice(`${name}/game`);
  const faults = options.faults ?? faultsFor(dice.fork('faults'));
  const hasClusters =
    setting.clusterCredentials ?? settingFor(new Dice(name).fork('setting')).clusterCredentials;
  const steps = options.steps ?? allSteps(dice, faults, hasClusters);
  const world = new World(name, { trace, setting });
  if (faults.some((fault) => DELAYS_NEWS.has(fault))) world.safety.latestNews = minutes(12);
  for (const slot of world.slots)
    world.scheduler.after(dice.between(0, 4_000), () => world.start(slot));
  for (const step of steps) {
    world.scheduler.after(step.at, () => {
      world.trace.add('step', () => `${step.number} ${step.name}`);
      if (!(step.name in CREDENTIAL_EDITS) && !(step.name in CLUSTER_EDITS)) world.touched();
      ACTIONS[step.name]?.(world, new Dice(`${name}/step ${step.number}`));
    });
  }
  const end = (steps.at(-1)?.at ?? 0) + dice.between(0, 60_000);
  await world.scheduler.runUntil(end);
  await calmDown(world, dice.fork('calm'));
  const settledAfter = await checkEnd(world);
  return {
    seed,
    faults,
    steps,
    violations: [...world.safety.violations].map(([rule, what]) => `${rule}: ${what}`),
    trace: world.trace.lines,
    settledAfter,
    tokenRequests: world.safety.activity.tokenRequests,
    lostSessions: world.safety.sessions.lost,
    events: world.scheduler.count,
  };
}

/** Ends all faults, starts every replica and finishes edits. */
async function calmDown(world: World, dice: Dice): Promise<void> {
  world.trace.add('calm', () => 'all faults and edits end');
  for (const end of world.faults.values()) end();
  world.isCalm = true;
  forgetAwait();
  world.provider.faults.clear();
  world.server.forbidden.clear();
  world.server.statusForbidden = false;
  // Second parts of edits and delayed restarts
  await world.scheduler.runUntil(Math.max(world.now + seconds(90), world.lastEditAt + 1));
  for (const end of world.faults.values()) end();
  for (const { slot, replica, hasEnded } of world.processes.values()) {
    replica.setClockRight();
    if (hasEnded || replica.isDead) world.start(slot);
  }
  world.touched();
  putThingsRight(world, dice);
  putClustersRight(world, dice);
  requestForLatecomers(world);
}
