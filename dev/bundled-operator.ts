import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { NodeSettings } from './lab/process-sample.ts';

/** The operator as the image runs it. The Dockerfile is the only place that has its flags. */

const ROOT = join(import.meta.dirname, '..');

/** Builds what the image ships: one file with all libraries. @param out the folder; default: `bundle` */
export async function bundleOperator(out = join(ROOT, 'bundle')): Promise<void> {
  await promisify(execFile)(process.execPath, [join(ROOT, 'dev/bundle.ts'), out]);
}

/** How the image runs Node. */
export async function imageSettings(): Promise<NodeSettings> {
  const text = await readFile(join(ROOT, 'Dockerfile'), 'utf8');
  const entrypoint: string[] = JSON.parse(/^ENTRYPOINT (.*)$/m.exec(text)?.[1] ?? '[]');
  const env = [...text.matchAll(/^ENV (\w+)=(\S+)$/gm)];
  return {
    nodeArguments: entrypoint.slice(1, -1),
    env: Object.fromEntries(env.map(([, name = '', value = '']) => [name, value])),
  };
}
