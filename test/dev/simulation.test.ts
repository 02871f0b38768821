import { describe, expect, it } from '@jest/globals';
import { FAULT_NAMES } from '../../dev/simulation/faults.ts';
import { play } from '../../dev/simulation/game.ts';
import { mutantNames } from '../../dev/simulation/mutants/mutants.ts';
import { type Run, simulate } from './simulation/simulate.ts';

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
