import { execFile } from 'node:child_process';
import { mkdir, rm, stat, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { bundleOperator } from './bundled-operator.ts';

/**
 * `node dev/cli-executable.ts [FOLDER]`: builds `kubectl-convercus` as one executable that needs no Node, by Node's own
 * single executable applications. For the platform that it runs on, with the Node that runs it (25.5 or newer).
 */

const OUT = resolve(process.argv[2] ?? join(import.meta.dirname, '../bundle/executable'));
const run = promisify(execFile);
const MEGABYTE = 1_000_000;

export async function buildCliExecutable(out: string): Promise<string> {
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

if (import.meta.main) {
  const file = await buildCliExecutable(OUT);
  const started = performance.now();
  const { stdout } = await run(file, ['--version'], { env: {} });
  const took = Math.round(performance.now() - started);
  const { size } = await stat(file);
  process.stdout.write(
    `${file}: version ${stdout.trim()}, ${Math.round(size / MEGABYTE)} MB, starts in ${took} ms\n`,
  );
}
