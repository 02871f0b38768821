import { dirname, join } from 'node:path';
import { ensureBinaries } from '../binaries.ts';
import { silent } from '../server-process.ts';
import { startCluster } from './cluster.ts';
import { archivesIn } from './images.ts';
import { CLUSTER_DIR, type Image, withIsolation } from './prepare.ts';

/**
 * A cluster with these images to try things on, until Ctrl-C. Runs this process's script again, in the isolation.
 * @returns the exit code
 */
export function serveCluster(images: readonly Image[]): Promise<number> {
  const inside = process.env[CLUSTER_DIR];
  return inside === undefined ? outside(images) : serve(inside);
}

function outside(images: readonly Image[]): Promise<number> {
  const script = process.argv[1] ?? '';
  return withIsolation(images, async (isolation) => {
    const { kubectl } = await ensureBinaries(silent);
    return isolation.run(process.execPath, [script], {
      env: { [CLUSTER_DIR]: isolation.dir },
      onStart: (pid) => console.log(howToEnter(pid, kubectl, isolation.dir)),
    });
  });
}

async function serve(dir: string): Promise<number> {
  console.log('Starting the cluster');
  const cluster = await startCluster({ dir, images: await archivesIn(dir), log: console.log });
  console.log(await cluster.kubectl(['get', 'nodes', '-o', 'wide']));
  console.log('Ctrl-C ends it and removes everything.');
  return new Promise(() => {});
}

function howToEnter(pid: number, kubectl: string, dir: string): string {
  return `To work in it:
  nsenter --net=/proc/${pid}/ns/net --mount=/proc/${pid}/ns/mnt --pid=/proc/${pid}/ns/pid_for_children env \\
    PATH=${dirname(kubectl)}:$PATH KUBECONFIG=${join(dir, 'control-plane/admin.kubeconfig')} bash`;
}
