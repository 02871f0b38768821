import { execFile } from 'node:child_process';
import { mkdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { outputOf } from '../server-process.ts';

export interface BuildOptions {
  context: string;
  args?: Readonly<Record<string, string>>;
  /** Folders of this machine, by their path in the build. */
  mounts?: Readonly<Record<string, string>>;
}

export interface ImageFacts {
  /** Digests of the uncompressed layers, base image first. */
  layers: string[];
  labels: Readonly<Record<string, string>>;
  user: string;
}

/** Images built by buildah, stored in `dir` and not in the store of the machine. */
export class ImageStore {
  readonly #dir: string;

  constructor(dir: string) {
    this.#dir = dir;
  }

  /** Builds without the layer cache. */
  async build(name: string, { context, args = {}, mounts = {} }: BuildOptions): Promise<void> {
    const given = Object.entries(args).flatMap(([key, value]) => [
      '--build-arg',
      `${key}=${value}`,
    ]);
    const volumes = Object.entries(mounts).flatMap(([to, from]) => ['--volume', `${from}:${to}`]);
    const how = ['--isolation=chroot', '--no-cache', '--timestamp=0', '--pull=never'];
    await this.#buildah('build', ...how, ...given, ...volumes, '--tag', name, context);
  }

  /** The file that `archive` writes, in the format of `docker load` and `ctr images import`. */
  archiveOf(name: string): string {
    return join(this.#dir, `${name.replaceAll(/[/:]/g, '-')}.tar`);
  }

  async archive(name: string): Promise<void> {
    await this.#buildah('push', '--quiet', name, `docker-archive:${this.archiveOf(name)}:${name}`);
  }

  /** Size of the archive in bytes; its layers are not compressed. */
  async sizeOf(name: string): Promise<number> {
    return (await stat(this.archiveOf(name))).size;
  }

  async facts(name: string): Promise<ImageFacts> {
    const { OCIv1 } = JSON.parse(await this.#buildah('inspect', '--type=image', name));
    const { config, rootfs } = OCIv1;
    return { layers: rootfs.diff_ids, labels: config.Labels ?? {}, user: config.User ?? '' };
  }

  async #buildah(command: string, ...args: string[]): Promise<string> {
    await mkdir(this.#dir, { recursive: true });
    const storage = ['--root', join(this.#dir, 'root'), '--runroot', join(this.#dir, 'run')];
    const all = [...storage, '--storage-driver=vfs', command, ...args];
    try {
      const { stdout } = await promisify(execFile)('buildah', all, { maxBuffer: 64 << 20 });
      return stdout;
    } catch (error) {
      const output = error instanceof Error && 'stderr' in error ? String(error.stderr) : '';
      throw new Error(`buildah ${command} failed:\n${output.slice(-4_000)}`, { cause: error });
    }
  }
}

/** Paths of the shared libraries that a program needs. */
export async function librariesOf(program: string): Promise<string[]> {
  const listing = (await outputOf('ldd', [program])) ?? '';
  return [...listing.matchAll(/(?:^|\s)(\/\S+)/g)].map(([, path = '']) => path);
}
