import { proxies } from '../keycloak/dialect/faults.ts';
import type { Taken } from './probe.ts';
import { World } from './world.ts';

/**
 * Which files of the sources something runs through: those with a named function that it calls. The calls are counted
 * by V8 (precise coverage) from the moment on at which the operator leads and is idle, so what an idle operator does is
 * not among them, and a call means one more than in an idle run. Functions without a name and the top level of modules
 * do not count.
 */
export interface Walk {
  /** In the order of the first call into each. */
  readonly steps: readonly Step[];
  /** What had run before: the start, the lists and the election. */
  readonly before: Functions;
}

export interface Step {
  /** Path from the folder of the sources. */
  readonly file: string;
  /** The function that was called first. */
  readonly first: string;
  /** Named functions that were called. */
  readonly functions: readonly string[];
}

/** Names of functions by file. */
export type Functions = ReadonlyMap<string, readonly string[]>;

/** A new credential with client_credentials, from its watch event until the operator is idle. */
export const firstSync = (entry: string): Promise<Walk> =>
  inWorld(entry, async (world) => {
    world.create({});
    await world.untilWritten();
  });

/** The same, but its first token request is answered with 429 and `Retry-After: 1`. */
export const tooManyRequests = (entry: string): Promise<Walk> =>
  inWorld(entry, async (world) => {
    world.provider.faults.add({ ...proxies.tooManyRequests('1'), times: 1 });
    world.create({});
    await world.untilWritten();
  });

/** A credential with the password grant, from the moment its renewal is due until the operator is idle. */
export const refresh = (entry: string): Promise<Walk> =>
  inWorld(entry, async (world) => {
    // Due after 4 s
    world.setLifespan(8);
    world.create({ grantType: 'password', renewal: { percent: 50 } });
    const version = await world.untilWritten();
    await world.take();
    await world.untilWritten(version);
  });

/** Files in which the walk calls a function that is not among `others`. */
export const filesBeyond = ({ steps }: Walk, others: Functions): string[] =>
  steps
    .filter(({ file, functions }) =>
      functions.some((name) => others.get(file)?.includes(name) !== true),
    )
    .map(({ file }) => file);

export const functionsOf = ({ steps }: Walk): Functions =>
  new Map(steps.map(({ file, functions }) => [file, functions]));

async function inWorld(entry: string, act: (world: World) => Promise<void>): Promise<Walk> {
  const world = await World.start(entry);
  try {
    await world.untilIdle();
    const { calls } = await world.take();
    await act(world);
    return { steps: stepsOf(await world.take()), before: namesIn(calls) };
  } finally {
    await world.stop();
  }
}

function stepsOf({ calls, entries }: Taken): Step[] {
  const called = namesIn(calls);
  const steps = entries
    .filter(({ file }) => called.has(file))
    .map(({ file, name }) => ({ file, first: name, functions: called.get(file) ?? [] }));
  // A call that goes on after a wait enters no function
  const resumed = [...called].filter(([file]) => !steps.some((step) => step.file === file));
  return [
    ...steps,
    ...resumed.map(([file, functions]) => ({ file, first: functions[0] ?? '', functions })),
  ];
}

const namesIn = (calls: Taken['calls']): Functions =>
  new Map(
    Object.entries(calls)
      .map(([file, counts]) => [file, Object.keys(counts)] as const)
      .filter(([, names]) => names.length > 0),
  );
