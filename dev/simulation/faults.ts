import { hours, type Ms, minutes, seconds } from '../../src/lib/time.ts';
import { type FaultEffect, proxies } from '../keycloak/dialect/faults.ts';
import { pickAwaits, whenReached } from './awaits.ts';
import { type Conditions, goodConditions } from './conditions.ts';
import type { Dice } from './dice.ts';
import { NAMESPACES } from './names.ts';
import type { Action } from './people.ts';
import type { Process, World } from './world.ts';

/** Faults of random duration. Each ends by itself, or when all faults are ended. */

const briefly = (dice: Dice): Ms =>
  dice.pick([seconds(3), seconds(20), seconds(80), seconds(150), minutes(4)]);

/** Faults that do not change the leader. */
const LEAVES_LEADER = new Set([
  'host',
  'provider unavailable',
  'provider has enough',
  'bad gateway',
  'redirect',
  'no JSON',
  'provider hangs',
  'provider resets',
  'no refresh tokens',
]);

/** One fault of a name at a time: the next one of that name replaces it. */
function lasting(world: World, name: string, duration: Ms, end: () => void): void {
  world.trace.add('fault', () => `${name} for ${duration / 1_000} s`);
  world.faults.get(name)?.();
  let isOver = false;
  const stop = (): void => {
    if (isOver) return;
    isOver = true;
    world.faults.delete(name);
    if (LEAVES_LEADER.has(name)) world.touched();
    else world.leaderTouched();
    world.trace.add('fault', () => `${name} ends`);
    end();
  };
  world.faults.set(name, stop);
  world.scheduler.after(duration, stop);
}

type Networks = Omit<Conditions, 'latency'>;

/** Makes a network worse until the fault ends. */
const worse =
  <K extends keyof Networks>(name: K, change: (dice: Dice) => Partial<Networks[K]>): Action =>
  (world, dice) => {
    world.conditions[name] = { ...world.conditions[name], ...change(dice) };
    lasting(world, name, briefly(dice), () => {
      world.conditions[name] = goodConditions()[name];
    });
  };

const latency: Action = (world, dice) => {
  world.conditions.latency = dice.pick(['mixed', 'long']);
  lasting(world, 'latency', briefly(dice), () => {
    world.conditions.latency = 'short';
  });
};

/** The API server is killed and started again. */
const apiServerDown: Action = (world, dice) => {
  world.conditions.api = { ...world.conditions.api, down: true };
  for (const watch of world.watches) watch.cut();
  lasting(world, 'API server down', briefly(dice), () => {
    world.conditions.api = { ...world.conditions.api, down: false };
  });
};

const cutWatches: Action = (world, dice) => {
  for (const watch of world.watches) if (dice.chance(0.6)) watch.cut();
};

const compaction: Action = (world, dice) => {
  world.server.compact();
  cutWatches(world, dice);
};

const forbidden: Action = (world, dice) => {
  const namespace = world.setting.byNamespace ? dice.pick(NAMESPACES) : '*';
  world.server.forbidden.add(namespace);
  for (const watch of world.watches) watch.cut();
  lasting(world, `no permissions in ${namespace}`, briefly(dice), () =>
    world.server.forbidden.delete(namespace),
  );
};

/** Like a Role from a release that did not need that verb. Tokens must still be renewed. */
const statusForbidden: Action = (world, dice) => {
  world.trace.add('fault', () => 'no permission to write statuses');
  world.server.statusForbidden = true;
  world.scheduler.after(dice.pick([minutes(1), minutes(8), minutes(20)]), () => {
    world.server.statusForbidden = false;
  });
};

const providerFault =
  (name: string, effect: (dice: Dice) => FaultEffect): Action =>
  (world, dice) => {
    const realm = dice.pick(['any', 'abc-staging', 'xyz-staging', 'abc']);
    const end = world.provider.faults.add({
      ...effect(dice),
      ...(realm === 'any' ? {} : { realm }),
    });
    lasting(world, name, briefly(dice), end);
  };

const loseSessions: Action = (world) => {
  world.safety.sessions.losses += 1;
  world.provider.loseSessions();
};

/** An administrator lets logins bring no refresh token for a while. */
export const withholdRefreshTokens: Action = (world, dice) => {
  const { provider } = world;
  provider.givesRefreshTokens = false;
  lasting(world, 'no refresh tokens', briefly(dice), () => {
    provider.givesRefreshTokens = true;
  });
};

const moveProviderClock: Action = (world, dice) =>
  world.provider.jump(dice.pick([-minutes(10), -seconds(40), seconds(40), minutes(10)]));

const revokeAll: Action = (world, dice) => {
  world.safety.sessions.losses += 1;
  dice.pick([...world.provider.realms.values()]).logoutAll();
};

function pickProcess({ processes }: World, dice: Dice): Process | undefined {
  const running = [...processes.values()].filter(({ replica }) => !replica.isDead);
  return running.length === 0 ? undefined : dice.pick(running);
}

/** Crashes at a chosen await when awaits are marked, else right before the n-th message from now arrives. */
const crash: Action = (world, dice) => {
  const process = pickProcess(world, dice);
  if (process === undefined) return;
  const places = pickAwaits(dice);
  if (places.length > 0) return crashAt(world, places, dice);
  process.replica.crashAfter(dice.between(1, 12));
  world.scheduler.after(dice.pick([500, 4_000, 30_000]), () => process.replica.crash());
  startAgain(world, process, dice.between(600, 45_000) + 30_000);
};

/** Crashes at one await after another, until faults are ended; one that is not reached soon is skipped. */
function crashAt(world: World, places: readonly string[], dice: Dice): void {
  const goOn = (): void => {
    if (!world.isCalm) crashAt(world, pickAwaits(dice), dice);
  };
  const giveUp = world.scheduler.after(seconds(60), goOn);
  whenReached(places, (slot) => {
    giveUp();
    const process = world.processes.get(slot);
    process?.replica.crash();
    if (process !== undefined) startAgain(world, process, dice.between(10, 20_000));
    world.scheduler.after(dice.between(1_000, 30_000), goOn);
  });
}

const crashNow: Action = (world, dice) => {
  const process = pickProcess(world, dice);
  process?.replica.crash();
  if (process !== undefined) startAgain(world, process, dice.between(10, 20_000));
};

const terminate: Action = (world, dice) => {
  const process = pickProcess(world, dice);
  if (process === undefined) return;
  world.terminate(process);
  startAgain(world, process, dice.between(0, 40_000));
};

/** Starts the next process when the previous one has ended, as a Deployment does. */
function startAgain(world: World, { slot, replica }: Process, wait: Ms): void {
  world.scheduler.after(wait, () => {
    const current = world.processes.get(slot);
    if (current?.replica !== replica) return;
    if (!replica.isDead) return startAgain(world, current, seconds(1));
    world.start(slot);
  });
}

/**
 * Restores an old state. If resource versions go back too, all components with a cache have to be restarted, as the
 * documentation of Kubernetes says ("Operating etcd clusters", restoring).
 */
const restoreBackup: Action = (world, dice) => {
  const backup = world.server.snapshot();
  const isBumped = dice.chance(0.5);
  world.later(dice.between(1_000, 60_000), () => {
    world.trace.add('fault', () => `etcd is restored to version ${backup.version}`);
    world.server.restore(backup, isBumped);
    world.namespacesRestored();
    world.safety.restored();
    world.collectGarbage();
    for (const watch of world.watches) watch.cut();
    if (isBumped) return;
    for (const process of world.processes.values()) {
      if (process.replica.isDead) continue;
      process.replica.crash();
      startAgain(world, process, dice.between(10, 20_000));
    }
  });
};

/** SIGSTOP, then SIGCONT before or after the lease duration is over. */
const freeze: Action = (world, dice) => {
  const process = pickProcess(world, dice);
  if (process === undefined || process.replica.isFrozen) return;
  const { replica } = process;
  replica.freeze();
  process.wasFrozen = true;
  const duration = dice.pick([seconds(2), seconds(9), seconds(18), seconds(45), minutes(3)]);
  lasting(world, `${replica.name} is frozen`, duration, () => replica.thaw());
};

const moveClock: Action = (world, dice) => {
  const process = pickProcess(world, dice);
  const by = dice.pick([-hours(3), -minutes(20), -minutes(2), minutes(2), minutes(20), hours(3)]);
  process?.replica.jump(by);
  world.safety.clocksAgree = false;
  world.trace.add('fault', () => `${process?.replica.name} sets its clock by ${by / 1_000} s`);
};

/** By their names in `--faults`: the faults, with weights. */
export const FAULTS = {
  latency: { latency },
  api: {
    loss: worse('api', (dice) => ({
      lostBefore: dice.pick([0.05, 0.3]),
      lostAfter: dice.pick([0.05, 0.3]),
    })),
    refused: worse('api', (dice) => ({ refused: dice.pick([0.1, 0.5, 1]) })),
    hangs: worse('api', (dice) => ({ hangs: dice.pick([0.1, 0.5, 1]) })),
    apiServerDown,
  },
  watch: {
    cutWatches,
    cutOften: worse('watch', () => ({ cut: 0.2 })),
    stall: worse('watch', (dice) => ({ stall: dice.pick([seconds(2), seconds(20)]) })),
    compaction,
  },
  permissions: { forbidden, statusForbidden },
  restore: { restoreBackup },
  provider: {
    unavailable: providerFault('provider unavailable', (dice) =>
      proxies.unavailable(dice.pick(['', '5', '120'])),
    ),
    tooManyRequests: providerFault('provider has enough', (dice) =>
      proxies.tooManyRequests(dice.pick(['1', '30', '3600'])),
    ),
    badGateway: providerFault('bad gateway', () => proxies.badGateway),
    redirect: providerFault('redirect', () => proxies.redirect('https://maintenance.test/')),
    notJson: providerFault('no JSON', () => ({ kind: 'not-json' })),
    hang: providerFault('provider hangs', (dice) => ({
      kind: 'hang',
      afterWork: dice.chance(0.5),
    })),
    reset: providerFault('provider resets', (dice) => ({
      kind: 'reset',
      afterWork: dice.chance(0.5),
    })),
    lost: worse('host', (dice) => ({
      lostBefore: dice.pick([0.1, 0.5, 1]),
      lostAfter: dice.pick([0, 0.1, 0.3]),
    })),
    slow: worse('host', (dice) => ({ slow: dice.pick([seconds(4), seconds(12)]) })),
  },
  sessions: { loseSessions, revokeAll },
  crash: { crash, crashNow },
  stop: { terminate },
  freeze: { freeze },
  clock: { moveClock, moveProviderClock },
} as const satisfies Record<string, Record<string, Action>>;

export type FaultName = keyof typeof FAULTS;

export const FAULT_NAMES: readonly FaultName[] = [
  'latency',
  'api',
  'watch',
  'permissions',
  'restore',
  'provider',
  'sessions',
  'crash',
  'stop',
  'freeze',
  'clock',
];
