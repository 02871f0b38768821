import { execFile } from 'node:child_process';
import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { ImageStore } from './envtest/cluster/image-store.ts';
import { NODE_BUILD_IMAGE, NODE_IMAGE, NPM_CACHE } from './envtest/cluster/images.ts';
import type { Image } from './envtest/cluster/prepare.ts';
import { outputOf } from './envtest/server-process.ts';

const ROOT = join(import.meta.dirname, '..');

export const OPERATOR_REPOSITORY = 'localhost/convercus-operator';

/** The operator's image of this checkout, built from the Dockerfile as users build it. */
export const operatorImage = (tag: string): Image => {
  const name = `${OPERATOR_REPOSITORY}:${tag}`;
  return { name, build: (store) => build(store, name, tag) };
};

/** Packages come from npm's cache, which `npm ci` fills. */
async function build(store: ImageStore, name: string, tag: string): Promise<void> {
  const cache = (await outputOf('npm', ['config', 'get', 'cache']))?.trim() ?? '';
  const attempt = (): Promise<void> =>
    store.build(name, {
      context: ROOT,
      args: { BUILD_IMAGE: NODE_BUILD_IMAGE, RUNTIME_IMAGE: NODE_IMAGE, VERSION: tag },
      mounts: { [NPM_CACHE]: cache },
    });
  await attempt().catch(async (error: unknown) => {
    if (!String(error).includes('ENOTCACHED')) throw error;
    await fillNpmCache();
    await attempt();
  });
}

/** Root's cache is not that of the user who ran `npm ci`. */
async function fillNpmCache(): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), 'npm-cache-'));
  for (const file of ['package.json', 'package-lock.json', '.npmrc']) {
    await copyFile(join(ROOT, file), join(dir, file));
  }
  const options = { cwd: dir, maxBuffer: 64 << 20 };
  await promisify(execFile)('npm', ['ci', '--ignore-scripts'], options);
  await rm(dir, { recursive: true });
}
