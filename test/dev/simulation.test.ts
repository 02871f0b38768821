import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { Dice } from '../../dev/simulation/dice.ts';
import { FAULT_NAMES } from '../../dev/simulation/faults.ts';
import { applied, fieldsOf, type Part, updated } from '../../dev/simulation/field-ownership.ts';
import { play } from '../../dev/simulation/game.ts';
import { type Mutant, mutantNames } from '../../dev/simulation/mutants/mutants.ts';
import {
  type Draft,
  decoded,
  encoded,
  type FieldsV1,
  type ManagedFieldsEntry,
  type StoredObject,
} from '../../dev/simulation/objects.ts';
import { problemsOf } from '../../dev/simulation/oracle.ts';
import { Canary } from '../../dev/simulation/rules/canary.ts';
import { Scheduler } from '../../dev/simulation/scheduler.ts';
import { World } from '../../dev/simulation/world.ts';
import { digest } from '../../src/credential/credential.ts';

const ROOT = join(import.meta.dirname, '../..');

interface Run {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** Starts the command line program. */
async function simulate(...args: string[]): Promise<Run> {
  const child = spawn(process.execPath, ['dev/simulation/main.ts', ...args], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const [out, err, code] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    new Promise<number | null>((resolve) => child.once('close', resolve)),
  ]);
  return { code, out, err };
}

describe('the command line', () => {
  it('plays 300 runs without a violation', async () => {
    const { out, err, code } = await simulate('--seeds', '1..300');
    console.log(out);
    expect(out.split('\n').filter((line) => line.startsWith('seed '))).toEqual([]);
    expect(out).toContain('300 passed, 0 failed');
    expect({ code, err }).toEqual({ code: 0, err: '' });
  }, 600_000);

  it.each([
    [['--seeds', '2']],
    [['--seeds', '3', '--faults', 'none']],
    [['--seeds', '4', '--faults', FAULT_NAMES.join(',')]],
    [['--seeds', '5', '--faults', FAULT_NAMES.join(',')]],
  ])('%j has the same trace in every process', async (args) => {
    const [one, other] = await Promise.all([
      simulate(...args, '--trace'),
      simulate(...args, '--trace'),
    ]);
    expect(one.out.split('\n').length).toBeGreaterThan(100);
    expect(other).toEqual(one);
  });

  it('shows of a run what it did among others', async () => {
    await play({ seed: 1 });
    const { trace } = await play({ seed: 2, trace: true });
    const alone = await simulate('--seeds', '2', '--trace');
    expect(alone.out.split('\n').slice(0, trace.length)).toEqual(trace);
  });

  it('shortens a failing run, which goes on failing for the same reason', async () => {
    const common = ['--mutant', 'frozen', '--faults', 'freeze'];
    const found = await simulate(...common, '--seeds', '1..40', '--until-failure');
    const [, seed = ''] = /^seed (\d+) /m.exec(found.out) ?? [];
    const [whole, shrunk] = await Promise.all(
      ['--trace', '--shrink'].map((how) => simulate(...common, '--seeds', seed, how)),
    );
    expect(ruleIn(shrunk)).toBe('no request leaves after the end of a term');
    expect(ruleIn(whole)).toBe(ruleIn(shrunk));
    expect(stepsIn(shrunk)).toBeLessThan(stepsIn(whole) / 2);
    expect([found.code, whole?.code, shrunk?.code]).toEqual([1, 1, 1]);
  });

  it('names all mutants, and refuses one that it does not know', async () => {
    const { out, code } = await simulate('--help');
    expect(code).toBe(0);
    for (const name of mutantNames()) expect(out).toContain(name);
    const unknown = await simulate('--seeds', '1', '--mutant', 'unheard-of');
    expect(unknown.err).toContain('no such mutant: unheard-of');
    expect(unknown.code).not.toBe(0);
  });

  it.each([[[]], [['--seeds', 'x']], [['--seeds', '1', '--faults', 'rain']]])(
    'tells how to use it after %j',
    async (args) => {
      const { err, code } = await simulate(...args);
      expect(err).toContain('--seeds A..B');
      expect(code).toBe(2);
    },
  );
});

const ruleIn = (run: Run | undefined): string | undefined =>
  /^VIOLATION ([^:]*):/m.exec(run?.out ?? '')?.[1];

const stepsIn = (run: Run | undefined): number =>
  Number(/^seed \d+: .*?; (\d+) steps: /m.exec(run?.out ?? '')?.[1]);

describe.each(mutantNames())('the mutant %s', (name) => {
  const file = join(ROOT, `dev/simulation/mutants/${name}.json`);
  const { what, edits }: Mutant = JSON.parse(readFileSync(file, 'utf8'));

  it('says what it is, and each of its texts is there once', () => {
    expect(what).toMatch(/^[A-Z].*\.$/);
    for (const { file, find, replace } of edits) {
      expect(readFileSync(join(ROOT, file), 'utf8').split(find)).toHaveLength(2);
      expect(replace).not.toBe(find);
    }
  });

  it('runs', async () => {
    const { out, err } = await simulate('--seeds', '1', '--faults', 'none', '--mutant', name);
    expect(err).toBe('');
    expect(out).toContain('Seeds 1 to 1: 1 runs');
    expect(out).not.toContain('the simulation itself failed');
  });
});

describe('the dice', () => {
  const rolls = (dice: Dice): unknown[] => [
    dice.next(),
    dice.below(100),
    dice.between(3, 9),
    dice.chance(0.5),
    dice.pick(['a', 'b', 'c']),
    dice.weighted({ a: 1, b: 2 }),
    dice.shuffled([1, 2, 3, 4]),
    dice.uuid(),
  ];

  it('fall the same for the same seed, and otherwise for another', () => {
    expect(rolls(new Dice('one'))).toEqual(rolls(new Dice('one')));
    expect(rolls(new Dice('one'))).not.toEqual(rolls(new Dice('two')));
  });

  it('leave other dice alone', () => {
    const [untouched, used] = [new Dice('one'), new Dice('one')];
    for (let count = 0; count < 5; count += 1) used.next();
    expect(rolls(used.fork('a'))).toEqual(rolls(untouched.fork('a')));
    expect(rolls(untouched.fork('a'))).not.toEqual(rolls(untouched.fork('b')));
    rolls(used.fork('a'));
    const after = new Dice('one');
    for (let count = 0; count < 5; count += 1) after.next();
    expect(rolls(used)).toEqual(rolls(after));
  });

  it('stay within their bounds and reach all of it', () => {
    const dice = new Dice('bounds');
    const seen = new Set(Array.from({ length: 200 }, () => dice.between(3, 6)));
    expect(seen).toEqual(new Set([3, 4, 5, 6]));
    const sums = Array.from({ length: 10_000 }, () => dice.next());
    expect(Math.min(...sums)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...sums)).toBeLessThan(1);
    expect(sums.reduce((sum, each) => sum + each) / sums.length).toBeCloseTo(0.5, 1);
    expect(() => dice.pick([])).toThrow('nothing to pick from');
  });
});

describe('virtual time', () => {
  it('runs events in their order, each with what follows from it, up to the end', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 0, max: 60 }), { maxLength: 30 }),
        async (delays) => {
          const scheduler = new Scheduler(new Dice('order'));
          const seen: number[] = [];
          const settled: number[] = [];
          for (const delay of delays) {
            scheduler.after(delay, () => {
              expect(settled).toHaveLength(seen.length);
              expect(scheduler.now).toBe(delay);
              seen.push(delay);
              void Promise.resolve()
                .then(() => undefined)
                .then(() => settled.push(delay));
            });
          }
          await scheduler.runUntil(40);
          const wanted = delays.filter((delay) => delay <= 40).sort((a, b) => a - b);
          expect(seen).toEqual(wanted);
          expect(scheduler.now).toBe(40);
          expect(scheduler.count).toBe(wanted.length);
        },
      ),
      { numRuns: 50 },
    );
  });

  it('decides by the dice between events of the same moment', async () => {
    const orderOf = async (seed: string): Promise<string> => {
      const scheduler = new Scheduler(new Dice(seed));
      const seen: string[] = [];
      for (const name of 'abcdefgh') scheduler.after(5, () => seen.push(name));
      await scheduler.runUntil(5);
      return seen.join('');
    };
    expect(await orderOf('one')).toBe(await orderOf('one'));
    expect(await orderOf('one')).not.toBe(await orderOf('two'));
  });

  it('takes a fraction of a millisecond for a whole one, and a past moment for now', async () => {
    const scheduler = new Scheduler(new Dice('one'));
    const seen: number[] = [];
    scheduler.after(0.2, () => {
      seen.push(scheduler.now);
      scheduler.after(-5, () => seen.push(scheduler.now));
    });
    await scheduler.runUntil(1);
    expect(seen).toEqual([1, 1]);
  });

  it('does not run what was cancelled, not even at the same moment', async () => {
    const scheduler = new Scheduler(new Dice('one'));
    const seen: string[] = [];
    const cancelLate = scheduler.after(9, () => seen.push('late'));
    const cancels = ['a', 'b'].map((name) =>
      scheduler.after(5, () => {
        seen.push(name);
        for (const cancel of cancels) cancel();
        cancelLate();
      }),
    );
    await scheduler.runUntil(10);
    expect(seen).toHaveLength(1);
    expect(scheduler.count).toBe(1);
  });
});

describe('field ownership', () => {
  const values = fc.constantFrom('1', '2', '3');
  const texts = fc.dictionary(fc.constantFrom('a', 'b', 'c'), values, { maxKeys: 3 });
  const drafts = fc.record({ data: texts, labels: texts, annotations: texts }).map(
    ({ data, labels, annotations }): Draft => ({
      type: 'Opaque',
      data: encoded(data),
      metadata: { labels, annotations },
    }),
  );
  const managers = fc.constantFrom('one', 'two', 'three');
  const writes = fc.record({
    draft: drafts,
    manager: managers,
    how: fc.constantFrom('apply', 'force', 'update' as const),
  });
  /** The object after some writes. */
  const objects = fc
    .array(writes, { maxLength: 8 })
    .map((history) => history.reduce<StoredObject>(written, EMPTY));

  it('every field that has an owner is there', () => {
    fc.assert(
      fc.property(objects, (object) => {
        const fields = fieldsOf(object);
        for (const { paths } of ownersOf(object)) {
          expect([...paths].filter((path) => !fields.has(path))).toEqual([]);
        }
      }),
    );
  });

  it('an apply brings what it says, or names whose it is', () => {
    fc.assert(
      fc.property(objects, drafts, managers, (object, draft, manager) => {
        const made = applied(object, draft, { manager, force: false });
        if (isPart(made)) expect(holdsAll(made, draft)).toBe(true);
        else {
          const owners = ownersOf(object);
          const [current, wanted] = [fieldsOf(object), fieldsOf(draft)];
          for (const { path, manager } of made) {
            expect(current.get(path)).not.toBe(wanted.get(path));
            expect(
              owners.some((owner) => owner.name.startsWith(`${manager} `) && owner.paths.has(path)),
            ).toBe(true);
          }
        }
        expect(holdsAll(forced(object, draft, manager), draft)).toBe(true);
      }),
    );
  });

  it('the same apply once more changes nothing, and meets no conflict', () => {
    fc.assert(
      fc.property(objects, drafts, managers, (object, draft, manager) => {
        const first = stored(object, forced(object, draft, manager));
        const again = applied(first, draft, { manager, force: false });
        expect(isPart(again) && sortedPart(again)).toEqual(sortedPart(first));
      }),
    );
  });

  it('what an apply does not name any more goes, unless another has it', () => {
    fc.assert(
      fc.property(objects, drafts, managers, (object, draft, manager) => {
        const fields = fieldsOf(stored(object, forced(object, draft, manager)));
        const wanted = fieldsOf(draft);
        const before = ownersOf(object);
        const ours = before.find(({ name }) => name === `${manager} Apply`)?.paths ?? new Set();
        for (const path of fieldsOf(object).keys()) {
          if (wanted.has(path)) continue;
          const isOthers = before.some(
            ({ name, paths }) => name !== `${manager} Apply` && paths.has(path),
          );
          expect(fields.has(path)).toBe(!ours.has(path) || isOthers);
        }
      }),
    );
  });

  it('an update makes what it changes its own, and leaves the rest to its owners', () => {
    fc.assert(
      fc.property(objects, drafts, managers, (object, draft, manager) => {
        const after = stored(object, updated(object, draft, manager));
        expect(fieldsOf(after)).toEqual(fieldsOf(draft));
        const [current, wanted] = [fieldsOf(object), fieldsOf(draft)];
        for (const [path, value] of wanted) {
          const owners = (of: StoredObject): string[] =>
            ownersOf(of)
              .filter(({ paths }) => paths.has(path))
              .map(({ name }) => name)
              .sort();
          const isChanged = current.get(path) !== value;
          expect(owners(after)).toEqual(isChanged ? [`${manager} Update`] : owners(object));
        }
      }),
    );
  });
});

const EMPTY: StoredObject = {
  apiVersion: 'v1',
  kind: 'Secret',
  type: 'Opaque',
  metadata: { name: 'a', namespace: 'shop', uid: '1', resourceVersion: '1' },
};

interface Write {
  readonly draft: Draft;
  readonly manager: string;
  readonly how: string;
}

function written(object: StoredObject, { draft, manager, how }: Write): StoredObject {
  if (how === 'update') return stored(object, updated(object, draft, manager));
  const made = applied(object, draft, { manager, force: how === 'force' });
  return isPart(made) ? stored(object, made) : object;
}

function forced(object: StoredObject, draft: Draft, manager: string): Part {
  const made = applied(object, draft, { manager, force: true });
  if (!isPart(made)) throw new Error('a forced apply meets no conflict');
  return made;
}

const isPart = (made: ReturnType<typeof applied>): made is Part => 'metadata' in made;

const stored = (object: StoredObject, part: Part): StoredObject => ({
  ...object,
  ...part,
  metadata: { ...object.metadata, ...part.metadata },
});

const holdsAll = (part: Part, draft: Draft): boolean =>
  [...fieldsOf(draft)].every(([path, value]) => fieldsOf(part).get(path) === value);

/** `manager operation` and the paths of its fields. */
const ownersOf = ({
  metadata,
}: Pick<StoredObject, 'metadata'>): { name: string; paths: Set<string> }[] =>
  (metadata.managedFields ?? []).map((entry) => ({
    name: `${entry.manager} ${entry.operation}`,
    paths: new Set(pathsOf(entry.fieldsV1)),
  }));

function pathsOf(fields: FieldsV1, parent: readonly string[] = []): string[] {
  return Object.entries(fields).flatMap(([name, inner]) => {
    const path = [...parent, name];
    return Object.keys(inner).length === 0 ? [path.join('|')] : pathsOf(inner, path);
  });
}

const sortedPart = (part: Part) => ({
  fields: Object.fromEntries(fieldsOf(part)),
  owners: (part.metadata.managedFields ?? [])
    .map((entry: ManagedFieldsEntry) =>
      JSON.stringify([entry.manager, entry.operation, pathsOf(entry.fieldsV1).sort()]),
    )
    .sort(),
});

/** One credential with the grant password, served by one replica. */
async function servedWorld(): Promise<World> {
  const setting = { releases: 1, accessToken: 900 } as const;
  const world = new World('served', { trace: false, setting });
  const metadata = { namespace: 'shop', name: 'a' };
  world.server.put('convercuscredentials', { metadata, spec: SPEC }, 'kubectl');
  world.start('A');
  await world.scheduler.runUntil(60_000);
  return world;
}

const SPEC = {
  program: 'ABC',
  environment: 'staging',
  grantType: 'password',
  clientId: 'client-1',
  scope: 'openid',
  credentialsSecretRef: {
    name: 'source-1',
    keys: { clientSecret: 'client_secret', username: 'username', password: 'password', org: 'org' },
  },
  target: {
    creationPolicy: 'Owner',
    deletionPolicy: 'Delete',
    data: { token: '{{access_token}}' },
  },
  suspend: false,
};

describe('the canary', () => {
  const isFound = ({ safety }: World, text: string): boolean => {
    safety.violations.clear();
    new Canary(safety).look('log', text);
    return safety.violations.size > 0;
  };

  it('finds a secret and a token in a line of the log', async () => {
    const world = await servedWorld();
    const { client_secret: secret } = world.provider.goodValues('client-1');
    expect(isFound(world, `The server answered: ${secret}`)).toBe(true);
    const { token = '' } = decoded(world.server.get('secrets', 'shop/a-token')?.data);
    expect(isFound(world, `sent {"authorization":"Bearer ${token}"}`)).toBe(true);
    expect(isFound(world, `"${token.slice(0, 40)}…"`)).toBe(true);
  });

  it('takes no hash, uid, version or time for one', () => {
    const world = new World('canary', { trace: false });
    fc.assert(
      fc.property(fc.string(), fc.uuid(), (value, uid) => {
        const text = `content-hash=${digest([value])} ${uid}/345 2026-09-21T12:00:00Z`;
        expect(isFound(world, text)).toBe(false);
      }),
    );
  });
});

describe('the oracle', () => {
  it('tells what is not as it should be', async () => {
    const fresh = new World('oracle', { trace: false, setting: { releases: 1 } });
    expect(problemsOf(fresh)).toEqual([]);
    const metadata = { namespace: 'shop', name: 'a' };
    fresh.server.put('convercuscredentials', { metadata, spec: SPEC }, 'kubectl');
    expect(problemsOf(fresh)).toEqual([expect.stringContaining('shop/a: status is of generation')]);

    const world = await servedWorld();
    const { server } = world;
    expect(problemsOf(world)).toEqual([]);
    world.processes.get('A')?.replica.crash();

    const target = server.get('secrets', 'shop/a-token')!;
    const edited = { ...target, data: encoded({ ...decoded(target.data), token: 'edited' }) };
    server.put('secrets', edited, 'kubectl');
    expect(problemsOf(world)).toEqual([expect.stringContaining('no token under token')]);
    server.remove('secrets', 'shop/a-token', 'people');
    expect(problemsOf(world)).toEqual([expect.stringContaining('no target')]);
    server.put('secrets', target, 'kubectl');
    expect(problemsOf(world)).toEqual([expect.stringContaining('status has version')]);
    server.remove('convercuscredentials', 'shop/a', 'people');
    expect(problemsOf(world)).toEqual([
      expect.stringMatching('session shop/a-session .* is left'),
      'target shop/a-token is left',
    ]);
    expect([...world.safety.violations]).toEqual([]);
  });
});
