import { type ChildProcess, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from '@jest/globals';

const PROBES = 12;

/** Of the operations server, in a process of its own. */
describe('a crowd of clients', () => {
  const processes: ChildProcess[] = [];

  afterEach(async () => {
    for (const child of processes.splice(0)) {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
  });

  async function startProcess(...args: readonly string[]): Promise<ChildProcess> {
    const child = fork(join(import.meta.dirname, 'operations-process.ts'), args);
    processes.push(child);
    return child;
  }

  async function flood(...args: readonly (string | number)[]): Promise<void> {
    const script = join(import.meta.dirname, 'flood.ts');
    const stdio = ['ignore', 'pipe', 'inherit'] as const;
    const child = spawn(process.execPath, [script, ...args.map(String)], { stdio: [...stdio] });
    processes.push(child);
    await once(child.stdout, 'data');
    await sleep(1_000);
  }

  /** Seconds of each, from the shortest to the longest. Like those of kubelet: each has a connection of its own. */
  async function probes(port: number): Promise<number[]> {
    const took: number[] = [];
    for (let n = 0; n < PROBES; n += 1) {
      const began = performance.now();
      const response = await fetch(`http://127.0.0.1:${port}/livez`);
      expect([response.status, await response.text()]).toEqual([200, 'ok\n']);
      took.push((performance.now() - began) / 1_000);
      await sleep(50);
    }
    return took.sort((a, b) => a - b);
  }

  it.each([
    [300, '/metrics', 'apart', 1],
    [1_200, '/metrics', 'apart', 1],
    // What is held and what is probed is the same: every probe is answered, later on a busy machine
    [300, '/metrics', 'shared', 30],
    [1_200, '/metrics', 'shared', 30],
    [300, '/livez', 'apart', 30],
    [1_200, '/livez', 'apart', 30],
  ])('leaves probes unharmed by %d connections to %s, ports %s', async (...given) => {
    const [count, path, ports, seconds] = given;
    const [{ port, probePort }] = await once(await startProcess(ports), 'message');
    const calm = (await probes(probePort)).at(-2) ?? 0;
    await flood(path === '/metrics' ? port : probePort, count, path, 1_000);
    // One may be late because of what else the machine does, which delays those before as well
    expect((await probes(probePort)).at(-2)).toBeLessThan(seconds + 20 * calm);
  });
});
