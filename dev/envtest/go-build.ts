import { execFile } from 'node:child_process';
import { access, constants, mkdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type Log, outputOf } from './server-process.ts';

/** A program that `go build` makes. A go.mod in this repository pins its version and contains no code. */
export interface GoProgram {
  readonly name: string;
  /** The Go package, such as `helm.sh/helm/v4/cmd/helm`. */
  readonly path: string;
  /** Folder of the go.mod that pins it. */
  readonly pinnedIn: string;
  /** How long a build takes on two cores, in words. */
  readonly buildTime: string;
  readonly flags?: readonly string[];
}

/** The programs that are not in the folder. */
export async function absentFrom<T extends string>(dir: string, names: readonly T[]): Promise<T[]> {
  const absent: T[] = [];
  for (const name of names) {
    await access(join(dir, name), constants.X_OK).catch(() => absent.push(name));
  }
  return absent;
}

/** What is wrong with the installed Go, to go after "…, and" in a sentence; undefined when it is new enough. */
export async function goLacks(needed: string): Promise<string | undefined> {
  const found = /\bgo(\d+\.\d+(?:\.\d+)?)/.exec((await outputOf('go', ['version'])) ?? '')?.[1];
  if (found === undefined) return 'there is none';
  return isAtLeast(found, needed) ? undefined : `this one is ${found}`;
}

/**
 * What the group of `pattern` matches in the go.mod.
 * @throws when there is no such line
 */
export async function pinIn(pinnedIn: string, what: string, pattern: RegExp): Promise<string> {
  const value = pattern.exec(await readFile(join(pinnedIn, 'go.mod'), 'utf8'))?.[1];
  if (value === undefined) throw new Error(`${join(pinnedIn, 'go.mod')} names no ${what}`);
  return value;
}

/** Built under a temporary name and renamed: two builds at once are safe, and a partial file is never run. */
export async function buildInto(dir: string, program: GoProgram, log: Log): Promise<void> {
  const { name, path, pinnedIn, buildTime, flags = ['-ldflags', '-s -w'] } = program;
  const unfinished = join(dir, `.${name}.${process.pid}`);
  await mkdir(dir, { recursive: true });
  const started = Date.now();
  const report = (): void => {
    const seconds = Math.round((Date.now() - started) / 1000);
    log(`Building ${name} (once per version, ${buildTime} on two cores): ${seconds} s`);
  };
  report();
  const progress = setInterval(report, 15_000);
  try {
    const args = ['build', ...flags, '-o', unfinished, path];
    const env = { ...process.env, CGO_ENABLED: '0' };
    await promisify(execFile)('go', args, { cwd: pinnedIn, env, maxBuffer: 64 << 20 });
    await rename(unfinished, join(dir, name));
  } finally {
    clearInterval(progress);
    await rm(unfinished, { force: true });
  }
}

function isAtLeast(found: string, needed: string): boolean {
  return found.localeCompare(needed, 'en', { numeric: true }) >= 0;
}
