import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** What the kernel knows of one process. */
export interface Sample {
  readonly at: number;
  /** User and system time so far. */
  readonly cpuMs: number;
  readonly residentMb: number;
  readonly peakMb: number;
  /** Bytes of all reads and writes so far; but for the start these are those of its connections. */
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

/** Looks at a process twice a second and collects the connections that it has had to a port. */
export class ConnectionWatch {
  readonly #pid: number;
  readonly #port: string;
  readonly #seen = new Set<string>();
  readonly #timer: NodeJS.Timeout;

  constructor(pid: number, port: number) {
    this.#pid = pid;
    this.#port = port.toString(16).toUpperCase().padStart(4, '0');
    this.#look();
    this.#timer = setInterval(() => this.#look(), 500);
  }

  /** How many different ones there were. */
  stop(): number {
    clearInterval(this.#timer);
    return this.#seen.size;
  }

  #look(): void {
    const sockets = socketsOf(this.#pid);
    for (const line of readFileSync(`/proc/${this.#pid}/net/tcp`, 'utf8').split('\n').slice(1)) {
      const [, local = '', remote = '', , , , , , , inode = ''] = line.trim().split(/\s+/);
      if (remote.endsWith(`:${this.#port}`) && sockets.has(inode)) this.#seen.add(local);
    }
  }
}

function socketsOf(pid: number): Set<string> {
  const inodes = new Set<string>();
  for (const fd of readdirSync(`/proc/${pid}/fd`)) {
    try {
      const inode = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1];
      if (inode !== undefined) inodes.add(inode);
    } catch {
      // It has been closed meanwhile.
    }
  }
  return inodes;
}
