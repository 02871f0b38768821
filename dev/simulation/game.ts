import { clusterNameOf } from '../../src/credential/cluster-name.ts';
import { conditionOf } from '../../src/credential/status.ts';
import { member } from '../../src/lib/json.ts';
import { type EpochMs, hours, type Ms, minutes, parseTime, seconds } from '../../src/lib/time.ts';
import { forgetAwait } from './awaits.ts';
import { instancesOf, ownerNameIn } from './clusters.ts';
import { Dice } from './dice.ts';
import { requestForLatecomers, setPasswordEarly } from './early-password.ts';
import { FAULT_NAMES, FAULTS, type FaultName } from './faults.ts';
import { mergeAllowedTo, type StoredObject } from './objects.ts';
import { problemsOf } from './oracle.ts';
import {
  type Action,
  CREDENTIAL_EDITS,
  NAMESPACE_EDITS,
  putThingsRight,
  SECRET_EDITS,
} from './people.ts';
import { CLUSTER_EDITS, putClustersRight } from './people-of-clusters.ts';
import { START } from './replica.ts';
import { specOf, statusOf } from './rules/rule.ts';
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

/**
 * Virtual time within which every credential has to be right: the longest retry is an hour, and a password that may be
 * right but locked out is tried again after 20 min, 2 h and 12 h.
 */
const BOUND: Ms = minutes(75);
const BOUND_AFTER_LOCK: Ms = hours(15);
const LOOK_EVERY: Ms = seconds(20);
/** Milliseconds without a request, except for renewals that are due. */
const QUIET: Ms = minutes(4);
/** The longest wait before a read of the API server is tried again, which a log-out needs too. */
const LONGEST_RETRY: Ms = minutes(5);
/** Milliseconds within which a renewal that is due has been carried out, and its status written. */
const RECONCILED: Ms = minutes(2);
const LAST_LOOK: Ms = minutes(30);
/** Milliseconds from the first SIGTERM until a new leader has looked at all credentials. */
const RESTART: Ms = minutes(4);
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
  return withEarlyPasswords(dice.fork('early passwords'), all);
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

/** Further ones, in some runs, so that the steps of the others stay. */
function withEarlyPasswords(dice: Dice, steps: readonly Step[]): Step[] {
  const length = Math.max(steps.at(-1)?.at ?? 0, 10_000);
  const count = dice.chance(0.2) ? dice.between(1, 2) : 0;
  const more = Array.from({ length: count }, (_, at) => ({
    number: steps.length + at,
    at: dice.below(length),
    name: 'setPasswordEarly',
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
  const settledAfter = await settle(world, boundFor);
  // After a clock was set the dates in targets do not say when the next renewal is due
  const { violations, clocksAgree } = world.safety;
  if (violations.size === 0 && clocksAgree) {
    await checkQuiet(world);
    await checkRenewals(world);
    await checkRestart(world);
    await finishLogouts(world);
  }
  world.safety.sessions.checkEnd();
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

/** A rejection that the provider itself may not have made, as by a proxy, is tried again as rarely as one by a lock. */
function boundFor(world: World): Ms {
  const waits = ({ status }: StoredObject) =>
    member(status, 'rejectedLogin', 'retryAt') !== undefined;
  const all = [...world.credentials(), ...world.clusterCredentials()];
  return world.setting.failureFactor < 30 || all.some(waits) ? BOUND_AFTER_LOCK : BOUND;
}

/** Runs until everything is right. */
async function settle(world: World, boundFor: (world: World) => Ms): Promise<Ms> {
  const since = world.now;
  let problems = problemsOf(world);
  while (problems.length > 0 && world.now - since < boundFor(world)) {
    await world.scheduler.runUntil(world.now + LOOK_EVERY);
    problems = problemsOf(world);
    if (world.safety.violations.size > 0) break;
  }
  for (const problem of problems) world.safety.violated('it always gets there', problem);
  return world.now - since;
}

/** Checks that nothing is sent before the next renewal is due. */
async function checkQuiet(world: World): Promise<void> {
  // A new leader looks at all credentials. Logouts, events; of cluster credentials also a status that was refused
  const { clusterCredentials, lease } = world.setting;
  const background = clusterCredentials ? LONGEST_RETRY : minutes(1) + seconds(2 * lease.lease);
  await world.scheduler.runUntil(world.now + background);
  await finishLogouts(world);
  // A logout waits in the queue, and its operator checks at times whether it is still needed
  if (world.now < world.provider.pausedUntil) return;
  const due = changesDue(world);
  const next = Math.min(...due, world.now + QUIET);
  if (due.some((at) => at <= world.now)) return;
  const until = next - seconds(2);
  // The status of a renewal that was just due may not be written yet; that of many namespaces waits for 5 s
  await world.scheduler.runUntil(world.now + seconds(clusterCredentials ? 7 : 1));
  if (until <= world.now) return;
  world.safety.activity = { apiRequests: 0, tokenRequests: 0, lines: [] };
  const since = world.now;
  await world.scheduler.runUntil(until);
  const { apiRequests, tokenRequests, lines } = world.safety.activity;
  if (apiRequests + tokenRequests === 0) return;
  const most = lines.slice(0, 4).join(', ');
  world.safety.violated(
    'then nothing is sent until something is due',
    `${lines.length} requests within ${(until - since) / 1_000} s: ${most}`,
  );
}

async function finishLogouts({ safety, scheduler }: World): Promise<void> {
  const giveUpAt = scheduler.now + LONGEST_RETRY;
  while (!safety.sessions.areAllStored && scheduler.now < giveUpAt)
    await scheduler.runUntil(scheduler.now + LOOK_EVERY);
}

/** Lets each token be renewed, at most for half an hour. Then everything is right again. */
async function checkRenewals(world: World): Promise<void> {
  const until = Math.min(
    Math.max(world.now, ...changesDue(world)) + seconds(90),
    LAST_LOOK + world.now,
  );
  await world.scheduler.runUntil(until);
  if (world.now < world.provider.pausedUntil) return;
  await settle(world, () => RECONCILED);
}

/** Starts all replicas once more, which need no token for it. What has failed is tried at once. */
async function checkRestart(world: World): Promise<void> {
  const next = Math.min(...changesDue(world), world.now + 2 * RESTART);
  const isSoon = next < world.now + RESTART || world.now < world.provider.pausedUntil;
  if (world.safety.violations.size > 0 || isSoon || hasFailures(world)) return;
  for (const process of world.processes.values()) world.terminate(process);
  await world.scheduler.runUntil(world.now + seconds(26));
  world.safety.activity = { apiRequests: 0, tokenRequests: 0, lines: [] };
  for (const slot of world.slots) world.start(slot);
  await world.scheduler.runUntil(next - seconds(2));
  const { tokenRequests, lines } = world.safety.activity;
  if (tokenRequests > 0)
    world.safety.violated('a restart requests no token', lines.slice(0, 8).join(', '));
  await settle(world, () => 0);
}

const hasFailures = (world: World): boolean =>
  [...world.credentials(), ...instancesOf(world)].some(
    (credential) => conditionOf(statusOf(credential), 'Renewed')?.status !== 'True',
  );

/** Moments, on the virtual clock, at which tokens are due. */
const changesDue = (world: World): Ms[] =>
  [...world.server.all('secrets')]
    .map((secret) => nextChangeOf(world, secret))
    .filter((at) => at !== undefined)
    .map((at) => at - START);

/** When a token is due for renewal, or expires because its credential is gone, suspended or may not merge any more. */
function nextChangeOf(world: World, secret: StoredObject): EpochMs | undefined {
  const { annotations = {} } = secret.metadata;
  const at = (name: string) => parseTime(annotations[`convercus.io/${name}`]);
  const credential = credentialOf(world, secret);
  if (credential !== undefined && !specOf(credential).suspend) return at('renew-at');
  const expiresAt = at('expires-at');
  return expiresAt !== undefined && expiresAt - START > world.now ? expiresAt : undefined;
}

/** The credential that renews the token in the Secret. */
function credentialOf(world: World, secret: StoredObject): StoredObject | undefined {
  const { namespace, labels = {}, annotations = {}, ownerReferences = [] } = secret.metadata;
  const owner = ownerReferences[0]?.uid;
  const all = [...world.credentials(), ...world.clusterCredentials()];
  if (owner !== undefined) return all.find(({ metadata }) => metadata.uid === owner);
  const merged = annotations['convercus.io/credential'];
  const isTarget = secret.type === 'convercus.io/token';
  if (!isTarget && mergeAllowedTo(secret) !== merged) return undefined;
  const name = isTarget ? ownerNameIn(labels) : merged;
  const clusterName = clusterNameOf(name ?? '');
  return clusterName === undefined
    ? world.server.get('convercuscredentials', `${namespace}/${name}`)
    : world.server.get('clusterconvercuscredentials', `/${clusterName}`);
}
