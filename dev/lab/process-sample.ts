import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** What the kernel knows of one process. */
export interface Sample {
  readonly at: number;
  /** User and system time since its start. */
  readonly cpuMs: number;
  readonly residentMb: number;
  readonly peakMb: number;
  /** Bytes of all reads and writes since its start; but for the start these are those of its connections. */
  readonly bytes: number;
}

/** Linux counts in hundredths of a second. */
const MS_PER_TICK = 10;

export function sampleOf(pid: number): Sample {
  const read = (name: string): string => readFileSync(`/proc/${pid}/${name}`, 'utf8');
  const number = (text: string, name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(text)?.[1] ?? Number.NaN);
  const ticks = read('stat')
    .replace(/^.*\) /, '')
    .split(' ');
  const status = read('status');
  const io = read('io');
  return {
    at: Date.now(),
    cpuMs: (Number(ticks[11]) + Number(ticks[12])) * MS_PER_TICK,
    residentMb: number(status, 'VmRSS') / 1024,
    peakMb: number(status, 'VmHWM') / 1024,
    bytes: number(io, 'rchar') + number(io, 'wchar'),
  };
}

/** How Node runs the operator. */
export interface NodeSettings {
  readonly nodeArguments: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

const IDLE_SECONDS = 1;

/** Resident memory of a `node` that does nothing, in MB: mostly pages of its binary. */
export async function idleNodeMb({ nodeArguments, env }: NodeSettings): Promise<number> {
  const child = spawn(process.execPath, [...nodeArguments, '-e', 'setInterval(() => {}, 60_000)'], {
    stdio: 'ignore',
    env: { ...process.env, ...env, NODE_OPTIONS: '' },
  });
  try {
    await sleep(IDLE_SECONDS * 1_000);
    return sampleOf(child.pid ?? Number.NaN).residentMb;
  } finally {
    child.kill();
  }
}
