import { conditionOf } from '../../src/credential/status.ts';
import { member } from '../../src/lib/json.ts';
import { type EpochMs, hours, type Ms, minutes, parseTime, seconds } from '../../src/lib/time.ts';
import { credentialNamed, instancesOf, ownerNameIn } from './instances.ts';
import { mergeAllowedTo, type StoredObject } from './objects.ts';
import { problemsOf } from './oracle.ts';
import { START } from './replica.ts';
import { specOf, statusOf } from './rules/rule.ts';
import type { World } from './world.ts';

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
/**
 * Milliseconds from the third end of a session within an hour until the next login. A token of 90 s may expire before it.
 */
const CONTENTION: Ms = minutes(17);
const LAST_LOOK: Ms = minutes(30);
/** Milliseconds from the first SIGTERM until a new leader has looked at all credentials. */
const RESTART: Ms = minutes(4);

/**
 * When all faults and edits have ended: everything gets right, then nothing is sent, renewals go on, and a restart
 * changes nothing.
 * @returns after what time everything was right
 */
export async function checkEnd(world: World): Promise<Ms> {
  const settledAfter = await settle(world, boundFor);
  const { violations, clocksAgree, sessions } = world.safety;
  // After a clock was set the dates in targets do not say when the next renewal is due
  if (violations.size === 0 && clocksAgree) {
    await checkQuiet(world);
    await checkRenewals(world);
    await checkRestart(world);
    await finishLogouts(world);
  }
  sessions.checkEnd();
  return settledAfter;
}

/** A rejection that the provider itself may not have made, as by a proxy, is tried again as rarely as one by a lock. */
function boundFor(world: World): Ms {
  const waits = ({ status }: StoredObject) =>
    member(status, 'rejectedLogin', 'retryAt') !== undefined;
  const all = [...world.credentials(), ...world.clusterCredentials()];
  return world.setting.failureFactor < 30 || all.some(waits) ? BOUND_AFTER_LOCK : BOUND;
}

/** Runs until everything is right. */
async function settle(world: World, bound: (world: World) => Ms): Promise<Ms> {
  const since = world.now;
  let problems = problemsOf(world);
  while (problems.length > 0 && world.now - since < bound(world)) {
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
  const isContended = world.safety.sessions.losses > 2;
  await settle(world, () => (isContended ? CONTENTION : RECONCILED));
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

/** Moments, on the virtual clock, at which tokens are due, or logins that wait because sessions ended too often. */
const changesDue = (world: World): Ms[] =>
  [
    ...[...world.server.all('secrets')].map((secret) => nextChangeOf(world, secret)),
    ...[...world.credentials(), ...world.clusterCredentials()].map(heldLoginOf),
  ]
    .filter((at) => at !== undefined)
    .map((at) => at - START);

function heldLoginOf(credential: StoredObject): EpochMs | undefined {
  const status = statusOf(credential);
  const isHeld = conditionOf(status, 'Renewed')?.reason === 'SessionContention';
  return isHeld ? parseTime(status?.nextAttemptAt) : undefined;
}

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
  return credentialNamed(world, namespace, isTarget ? ownerNameIn(labels) : merged);
}
