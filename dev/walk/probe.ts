import { Session } from 'node:inspector/promises';
import { dirname, sep } from 'node:path';
import { pathToFileURL } from 'node:url';
import { countEntries, type Entry, takeEntries } from './entries-hook.ts';

/** Lets the process that started this one ask which functions have run. For `node --import`, in a fork. */

export interface Taken {
  /** Calls since the last time, by file and name. Functions without a name and the top level of modules are left out. */
  readonly calls: Readonly<Record<string, Readonly<Record<string, number>>>>;
  readonly entries: readonly Entry[];
}

const sources = `${dirname(process.argv[1] ?? '')}${sep}`;
countEntries(sources);

const session = new Session();
session.connect();
await session.post('Profiler.enable');
await session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: false });
process.on('message', () => void take().then((taken) => process.send?.(taken)));
process.on('disconnect', () => process.exit());

async function take(): Promise<Taken> {
  const { result } = await session.post('Profiler.takePreciseCoverage');
  const origin = pathToFileURL(sources).href;
  const calls: Record<string, Record<string, number>> = {};
  for (const { url, functions } of result) {
    if (!url.startsWith(origin)) continue;
    const counts: Record<string, number> = {};
    for (const { functionName: name, ranges } of functions) {
      const count = ranges[0]?.count ?? 0;
      // `<instance_members_initializer>` and the like are made by V8
      if (count > 0 && /^[^<]/.test(name)) counts[name] = (counts[name] ?? 0) + count;
    }
    calls[url.slice(origin.length)] = counts;
  }
  return { calls, entries: takeEntries() };
}
