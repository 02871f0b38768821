import {
  chmod,
  copyFile,
  cp,
  mkdir,
  readdir,
  realpath,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { outputOf } from '../server-process.ts';
import { type ImageStore, librariesOf } from './image-store.ts';
import { PAUSE_IMAGE } from './node.ts';
import { CERTIFICATES } from './requirements.ts';

/**
 * Images for a cluster that can't pull. Base images are made from files of this machine: Node from its npm package with
 * the shared libraries it needs, busybox, npm.
 */

/** Node with its shared libraries, laid out like the distroless image. Test pods run it too. */
export const NODE_IMAGE = 'localhost/node:1';
/** `NODE_IMAGE` with a shell and npm. Mount the cache of npm at `NPM_CACHE`. */
export const NODE_BUILD_IMAGE = 'localhost/node-build:1';
export const NPM_CACHE = '/npm-cache';

/** The image of pod sandboxes, a runtime and a build image. */
export async function buildBaseImages(store: ImageStore, scratch: string): Promise<void> {
  await store.build(NODE_IMAGE, { context: await nodeContext(join(scratch, 'node')) });
  await store.build(NODE_BUILD_IMAGE, { context: await buildContext(join(scratch, 'node-build')) });
  await store.build(PAUSE_IMAGE, { context: await pauseContext(join(scratch, 'pause')) });
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

/** npm runs offline from its cache: the build needs neither network nor registry credentials. */
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
  await write(dir, '/root/.npmrc', `offline=true\ncache=${NPM_CACHE}\nregistry=${registry}\n`);
  await write(
    dir,
    '/Dockerfile',
    `FROM ${NODE_IMAGE}\nCOPY . /\nENV PATH=/bin:/usr/bin HOME=/root\nENTRYPOINT []\n`,
  );
  await write(dir, '/.dockerignore', '/Dockerfile\n/.dockerignore\n');
  return dir;
}

/** The image of pod sandboxes. containerd ends it with SIGKILL. */
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

/** @throws when the program is not on the PATH */
async function pathOf(program: string): Promise<string> {
  const path = (await outputOf('which', [program]))?.trim();
  if (!path) throw new Error(`There is no ${program} on this machine`);
  return path;
}

/** The image archives of the cluster in `dir`. */
export async function archivesIn(dir: string): Promise<string[]> {
  const images = imagesOf(dir);
  const names = await readdir(images);
  return names.filter((name) => name.endsWith('.tar')).map((name) => join(images, name));
}

export const imagesOf = (dir: string): string => join(dir, 'images');
