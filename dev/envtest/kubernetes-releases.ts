import { execFile } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

/** API servers of other minor versions than the one in `tools/go.mod`, which is the newest. */

/** The newest patch of each, as of November 2026, the lowest first. Lower minors don't serve `selectableFields` of the CRD. */
export const OLDER_RELEASES = ['v1.32.13', 'v1.33.13', 'v1.34.4', 'v1.35.4', 'v1.36.3'];

/**
 * The version that KUBERNETES_VERSION names, such as 1.32 or v1.32.13; undefined when it is unset.
 * @throws when it is a minor without a known patch
 */
export function requestedRelease(newest: string): string | undefined {
  const wanted = process.env['KUBERNETES_VERSION'];
  if (!wanted) return undefined;
  const version = `v${wanted.replace(/^v/, '')}`;
  if (/^v\d+\.\d+\.\d+$/.test(version)) return version;
  const known = [...OLDER_RELEASES, newest];
  const release = known.find((each) => each.startsWith(`${version}.`));
  if (release !== undefined) return release;
  throw new Error(
    `KUBERNETES_VERSION is ${wanted}: give a patch version such as v1.32.0, or one of ${known.map(minorOf).join(', ')}.`,
  );
}

/** `1.32` of `v1.32.13`. */
export function minorOf(version: string): string {
  return version.replace(/^v/, '').split('.').slice(0, 2).join('.');
}

/** The output of `go mod edit -json`, in parts. */
interface GoMod {
  readonly Go: string;
  readonly Godebug?: readonly { readonly Key: string; readonly Value: string }[];
  readonly Require: readonly { readonly Path: string; readonly Version: string }[];
  readonly Replace: readonly { readonly Old: { readonly Path: string } }[];
}

/**
 * Writes a module that requires this Kubernetes, made from the release's own go.mod and go.sum. Its staging modules are
 * replaced there by relative paths, and here by their published versions; go's checksum database vouches for those.
 */
export async function writeModuleOf(version: string, dir: string): Promise<void> {
  await mkdir(dir, { recursive: true });
  const download = await go(dir, 'mod', 'download', '-json', `k8s.io/kubernetes@${version}`);
  const { Dir, GoMod }: { Dir: string; GoMod: string } = JSON.parse(download);
  const release: GoMod = JSON.parse(await go(dir, 'mod', 'edit', '-json', GoMod));
  await writeFile(join(dir, 'go.mod'), moduleFor(version, release));
  await writeFile(join(dir, 'go.sum'), await readFile(join(Dir, 'go.sum')));
}

export function moduleFor(version: string, { Go, Godebug = [], Require, Replace }: GoMod): string {
  const replaced = Replace.map(({ Old }) => Old.Path);
  // The sample modules are not published with every release, and no program needs them
  const staging = replaced.filter((path) => !path.startsWith('k8s.io/sample-'));
  const stagingVersion = version.replace(/^v1/, 'v0');
  const others = Require.filter(({ Path }) => !replaced.includes(Path));
  return [
    'module envtest/kubernetes',
    `go ${Go}`,
    ...Godebug.map(({ Key, Value }) => `godebug ${Key}=${Value}`),
    `require k8s.io/kubernetes ${version}`,
    ...others.map(({ Path, Version }) => `require ${Path} ${Version}`),
    ...staging.map((path) => `require ${path} ${stagingVersion}`),
    ...staging.map((path) => `replace ${path} => ${path} ${stagingVersion}`),
    '',
  ].join('\n');
}

async function go(cwd: string, ...args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)('go', args, { cwd, maxBuffer: 64 << 20 });
  return stdout;
}
