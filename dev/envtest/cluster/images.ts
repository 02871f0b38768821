import { execFile } from 'node:child_process';
import {
  chmod,
  copyFile,
  cp,
  mkdir,
  mkdtemp,
  readdir,
  realpath,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { outputOf } from '../server-process.ts';
import { ImageStore, librariesOf } from './image-store.ts';
import { PAUSE_IMAGE } from './node.ts';
import { CERTIFICATES } from './requirements.ts';

/**
 * The images of a cluster that can pull nothing. Base images are made from what packages have brought to this machine:
 * the Node of the npm package with its libraries, busybox, npm.
 */

const ROOT = join(import.meta.dirname, '../../..');
/** Node and what it needs, laid out like the distroless base; also what test pods run. */
export const NODE_IMAGE = 'localhost/node:1';
const BUILD_IMAGE = 'localhost/node-build:1';

export const operatorImage = (tag: string): string => `localhost/convercus-operator:${tag}`;

/** Everything but the operator's own image. */
export async function buildBaseImages(store: ImageStore, scratch: string): Promise<void> {
  await store.build(NODE_IMAGE, { context: await nodeContext(join(scratch, 'node')) });
  await store.build(BUILD_IMAGE, { context: await buildContext(join(scratch, 'node-build')) });
  await store.build(PAUSE_IMAGE, { context: await pauseContext(join(scratch, 'pause')) });
}

/** From the Dockerfile, as anybody would build it. Packages come from npm's cache, which `npm ci` fills. */
export async function buildOperatorImage(store: ImageStore, tag: string): Promise<void> {
  const cache = (await outputOf('npm', ['config', 'get', 'cache']))?.trim() ?? '';
  const build = (): Promise<void> =>
    store.build(operatorImage(tag), {
      context: ROOT,
      args: { BUILD_IMAGE, RUNTIME_IMAGE: NODE_IMAGE, VERSION: tag },
      mounts: { '/npm-cache': cache },
    });
  await build().catch(async (error: unknown) => {
    if (!String(error).includes('ENOTCACHED')) throw error;
    await fillNpmCache();
    await build();
  });
}

/** Root has a cache of its own, so that what another user has installed is not in it. */
async function fillNpmCache(): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), 'npm-cache-'));
  for (const file of ['package.json', 'package-lock.json', '.npmrc']) {
    await copyFile(join(ROOT, file), join(dir, file));
  }
  const options = { cwd: dir, maxBuffer: 64 << 20 };
  await promisify(execFile)('npm', ['ci', '--ignore-scripts'], options);
  await rm(dir, { recursive: true });
}

async function nodeContext(dir: string): Promise<string> {
  await copyWithLibraries(process.execPath, dir, '/nodejs/bin/node');
  await copyInto(dir, CERTIFICATES);
  await write(dir, '/etc/passwd', 'root:x:0:0::/:/none\nnonroot:x:65532:65532::/:/none\n');
  await write(dir, '/etc/group', 'root:x:0:\nnonroot:x:65532:\n');
  await write(dir, '/Dockerfile', 'FROM scratch\nCOPY . /\nENTRYPOINT ["/nodejs/bin/node"]\n');
  await write(dir, '/.dockerignore', 'Dockerfile\n.dockerignore\n');
  return dir;
}

/** On top of that a shell and npm, which looks into its cache only: the build needs no network and no access data. */
async function buildContext(dir: string): Promise<string> {
  const npm = dirname(dirname(await realpath(await pathOf('npm'))));
  await cp(npm, join(dir, 'npm'), { recursive: true, dereference: true });
  await copyInto(dir, await pathOf('busybox'), '/bin/busybox');
  for (const tool of ['sh', 'env', 'mkdir', 'cp', 'chmod', 'touch', 'find']) {
    await symlink('/bin/busybox', join(dir, 'bin', tool));
  }
  await mkdir(join(dir, 'usr/bin'), { recursive: true });
  await symlink('/bin/busybox', join(dir, 'usr/bin/env'));
  await symlink('/nodejs/bin/node', join(dir, 'bin/node'));
  await symlink('/npm/bin/npm-cli.js', join(dir, 'bin/npm'));
  const registry = (await outputOf('npm', ['config', 'get', 'registry']))?.trim() ?? '';
  await write(dir, '/root/.npmrc', `offline=true\ncache=/npm-cache\nregistry=${registry}\n`);
  await write(
    dir,
    '/Dockerfile',
    `FROM ${NODE_IMAGE}\nCOPY . /\nENV PATH=/bin:/usr/bin HOME=/root\nENTRYPOINT []\n`,
  );
  await write(dir, '/.dockerignore', '/Dockerfile\n/.dockerignore\n');
  return dir;
}

/** What holds the network of a pod; containerd ends it with SIGKILL. */
async function pauseContext(dir: string): Promise<string> {
  await copyInto(dir, await pathOf('busybox'), '/busybox');
  await write(
    dir,
    '/Dockerfile',
    'FROM scratch\nCOPY busybox /\nUSER 65535:65535\nENTRYPOINT ["/busybox", "sleep", "1000000"]\n',
  );
  return dir;
}

async function copyWithLibraries(program: string, dir: string, as: string): Promise<void> {
  await copyInto(dir, program, as);
  for (const library of await librariesOf(program)) await copyInto(dir, library);
}

async function copyInto(dir: string, from: string, as = from): Promise<void> {
  const to = join(dir, as);
  await mkdir(dirname(to), { recursive: true });
  await copyFile(await realpath(from), to);
  await chmod(to, 0o755);
}

async function write(dir: string, path: string, text: string): Promise<void> {
  await mkdir(dirname(join(dir, path)), { recursive: true });
  await writeFile(join(dir, path), text);
}

/** @throws when there is none */
async function pathOf(program: string): Promise<string> {
  const path = (await outputOf('which', [program]))?.trim();
  if (!path) throw new Error(`There is no ${program} on this machine`);
  return path;
}

/** The archives that were made for a cluster in this folder. */
export async function archivesIn(dir: string): Promise<string[]> {
  const images = imagesOf(dir);
  const names = await readdir(images);
  return names.filter((name) => name.endsWith('.tar')).map((name) => join(images, name));
}

export const imagesOf = (dir: string): string => join(dir, 'images');
