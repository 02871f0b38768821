import { join } from 'node:path';
import { ensureBinaries, ensureNodeBinaries } from '../binaries.ts';
import type { Log } from '../server-process.ts';
import { ImageStore } from './image-store.ts';
import {
  buildBaseImages,
  buildOperatorImage,
  imagesOf,
  NODE_IMAGE,
  operatorImage,
} from './images.ts';
import { Isolation } from './isolation.ts';
import { PAUSE_IMAGE } from './node.ts';
import { missingForCluster, SYSTEM_FOLDERS } from './requirements.ts';

/** Names the isolation's folder to what runs inside. */
export const CLUSTER_DIR = 'CONVERCUS_CLUSTER_DIR';

/**
 * Builds the programs, an isolation and the images, with the operator's image once per version; then does the work.
 * @returns the exit code of the work; 1 when something has to be installed first, which is said
 */
export async function withIsolation(
  versions: readonly string[],
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
  // Pods run as others than root, and read what is written here.
  process.umask(0o022);
  const isolation = await Isolation.create();
  try {
    const store = new ImageStore(imagesOf(isolation.dir));
    log('Building images');
    await buildBaseImages(store, join(isolation.dir, 'scratch'));
    for (const version of versions) await buildOperatorImage(store, version);
    const names = [PAUSE_IMAGE, NODE_IMAGE, ...versions.map(operatorImage)];
    for (const name of names) await store.archive(name);
    return await work(isolation, store);
  } finally {
    await isolation.remove();
  }
}
