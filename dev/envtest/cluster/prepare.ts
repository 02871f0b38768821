import { join } from 'node:path';
import { ensureBinaries, ensureNodeBinaries } from '../binaries.ts';
import type { Log } from '../server-process.ts';
import { ImageStore } from './image-store.ts';
import { buildBaseImages, imagesOf, NODE_IMAGE } from './images.ts';
import { Isolation } from './isolation.ts';
import { PAUSE_IMAGE } from './node.ts';
import { missingForCluster, SYSTEM_FOLDERS } from './requirements.ts';

/** The environment variable by which a program in the isolation finds the isolation's folder. */
export const CLUSTER_DIR = 'ENVTEST_CLUSTER_DIR';

/** An image for the cluster, with how to build it from the base images. */
export interface Image {
  readonly name: string;
  readonly build: (store: ImageStore) => Promise<void>;
}

/**
 * Builds the programs, creates an isolation, builds the base images and these images, then calls `work`.
 * @returns the exit code of `work`; 1 when something has to be installed first, which is printed
 */
export async function withIsolation(
  images: readonly Image[],
  work: (isolation: Isolation, store: ImageStore) => Promise<number>,
  log: Log = console.log,
): Promise<number> {
  const missing = await missingForCluster();
  if (missing.length > 0) {
    console.error(missing.join('\n'));
    return 1;
  }
  await ensureBinaries(log);
  await ensureNodeBinaries(log);
  process.env['PATH'] = [process.env['PATH'], ...SYSTEM_FOLDERS].join(':');
  // Pods do not run as root, and read files that are written here.
  process.umask(0o022);
  const isolation = await Isolation.create();
  try {
    const store = new ImageStore(imagesOf(isolation.dir));
    log('Building images');
    await buildBaseImages(store, join(isolation.dir, 'scratch'));
    for (const image of images) await image.build(store);
    const names = [PAUSE_IMAGE, NODE_IMAGE, ...images.map(({ name }) => name)];
    for (const name of names) await store.archive(name);
    return await work(isolation, store);
  } finally {
    await isolation.remove();
  }
}
