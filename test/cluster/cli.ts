import { spawn } from 'node:child_process';
import { chmod, copyFile, mkdir, mkdtemp } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, describe, expect, it } from '@jest/globals';
import { bundleOperator } from '../../dev/bundled-operator.ts';
import type { ControlPlane } from '../../dev/envtest/control-plane.ts';
import { type Lab, OPERATOR_NAMESPACE, until } from './lab.ts';
import { memoryOf, processOf } from './operator-processes.ts';
import type { Report } from './report.ts';
import { workloadPod } from './workload.ts';

/** In milliseconds, only reached when it hangs. */
const LONG = 10 * 60_000;
const NAMESPACE = 'till';

interface Ran {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** `kubectl convercus` as a plugin of kubectl, as its users have it. */
class Plugin {
  readonly #env: NodeJS.ProcessEnv;

  private constructor(env: NodeJS.ProcessEnv) {
    this.#env = env;
  }

  static async install({ binaries, adminKubeconfig }: ControlPlane, dir: string): Promise<Plugin> {
    const home = await mkdtemp(join(dir, 'plugin-'));
    const bin = join(home, 'bin');
    await mkdir(bin);
    await bundleOperator(join(home, 'bundle'));
    const plugin = join(bin, 'kubectl-convercus');
    await copyFile(join(home, 'bundle/kubectl-convercus.js'), plugin);
    await chmod(plugin, 0o755);
    const folders = [bin, dirname(binaries.kubectl), dirname(process.execPath), '/usr/bin', '/bin'];
    return new Plugin({ PATH: folders.join(':'), HOME: home, KUBECONFIG: adminKubeconfig });
  }

  as(kubeconfig: string): Plugin {
    return new Plugin({ ...this.#env, KUBECONFIG: kubeconfig });
  }

  /** @param isEnough ends it by Ctrl-C when the standard output is like that */
  async run(args: readonly string[], isEnough?: (out: string) => boolean): Promise<Ran> {
    const child = spawn('kubectl', ['convercus', ...args, '-n', NAMESPACE], {
      env: this.#env,
      timeout: 120_000,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let out = '';
    child.stdout.on('data', (chunk: Buffer) => {
      out += chunk.toString();
      if (isEnough?.(out) === true) child.kill('SIGINT');
    });
    const closed = new Promise<number | null>((resolve) => child.once('close', resolve));
    const [err, code] = await Promise.all([text(child.stderr), closed]);
    return { code, out, err };
  }
}

/** On a cluster where the chart is installed: what needs pods that run. */
export function describeCli(lab: () => Lab, report: Report): void {
  describe('kubectl convercus', () => {
    let plugin: Plugin;
    let clientSecret: string;

    beforeAll(async () => {
      plugin = await Plugin.install(lab().cluster.controlPlane, lab().cluster.dir);
      await lab().namespace(NAMESPACE);
      clientSecret = await lab().customer(NAMESPACE, 'loyalty', 300);
      await lab().credential(NAMESPACE, 'loyalty');
      await lab().cluster.kubectl([
        'wait',
        '--for=condition=Ready',
        'convcred/loyalty',
        '-n',
        NAMESPACE,
        '--timeout=180s',
      ]);
    }, LONG);

    /** Bytes by which the container of an operator has grown until then. */
    async function mostMemoryDuring(running: Promise<unknown>): Promise<number> {
      const uids = (await lab().operatorPods()).map(({ metadata }) => metadata.uid);
      const pods = (await Promise.all(uids.map(processOf))).filter((pod) => pod !== undefined);
      const before = await Promise.all(pods.map(memoryOf));
      let most = 0;
      const over = running.then(() => false);
      while (await Promise.race([over, sleep(20, true)])) {
        const now = await Promise.all(pods.map(memoryOf));
        most = Math.max(most, ...now.map((bytes, at) => bytes - (before[at] ?? bytes)));
      }
      return most;
    }

    it(
      'finds nothing wrong from inside of the operator',
      async () => {
        const started = Date.now();
        const running = plugin.run(['doctor', 'loyalty', '--from', 'operator']);
        const grown = mostMemoryDuring(running);
        const { code, out, err } = await running;
        report.seconds('doctor --from operator', Date.now() - started);
        report.mebibytes('memory that it adds to a pod, at most', await grown);
        expect(err).toBe('');
        expect(out).toMatch(
          /^\[ok] {3}Operator {4}\w+, 2 of 2 ready in namespace convercus-operator$/m,
        );
        expect(out).toMatch(/^\[ok] {3}Leader {6}convercus-operator-\S+ \(lease \d+s old\)$/m);
        expect(out).toMatch(/^\[ok] {3}Source {6}Secret loyalty has client_secret/m);
        expect(out).toMatch(/^\[ok] {3}Login {7}a token was issued, valid for [45]m/m);
        expect(out).toMatch(/^No failure\.$/m);
        expect(code).toBe(0);
      },
      LONG,
    );

    it(
      'tells from there that the client secret is wrong, and when it is right again',
      async () => {
        await lab().setSecret(NAMESPACE, 'loyalty', 'that-of-production');
        const wrong = await plugin.run(['doctor', 'loyalty', '--from', 'operator']);
        expect(wrong.out).toMatch(/^\[fail] Login {7}ClientSecretRejected: /m);
        expect([wrong.code, wrong.out + wrong.err]).toEqual([
          1,
          expect.not.stringContaining('that-of-production'),
        ]);
        await lab().setSecret(NAMESPACE, 'loyalty', clientSecret);
        const renewed = await plugin.run(['renew', 'loyalty', '--wait']);
        expect([renewed.code, renewed.out]).toEqual([0, `${NAMESPACE}/loyalty: renewed\n`]);
        const right = await plugin.run(['doctor', 'loyalty', '--from', 'operator']);
        expect([right.code, right.out]).toEqual([0, expect.stringMatching(/^No failure\.$/m)]);
      },
      LONG,
    );

    it(
      'tells a viewer what is missing for it',
      async () => {
        const { cluster } = lab();
        const account = ['serviceaccount', 'viewer', '-n', NAMESPACE];
        await cluster.kubectl(['create', ...account]);
        const binding = ['rolebinding', 'viewer', '--clusterrole=view', '-n', NAMESPACE];
        await cluster.kubectl(['create', ...binding, `--serviceaccount=${NAMESPACE}:viewer`]);
        const kubeconfig = await cluster.controlPlane.serviceAccountKubeconfig(NAMESPACE, 'viewer');
        const viewer = plugin.as(kubeconfig);
        const flags = ['--operator-namespace', OPERATOR_NAMESPACE];
        const { code, out } = await viewer.run([
          'doctor',
          'loyalty',
          '--from',
          'operator',
          ...flags,
        ]);
        expect(out).toMatch(
          /^\[fail] Operator {4}you may not list pods in namespace convercus-operator\n +It needs the right to create pods\/exec/m,
        );
        expect(code).toBe(1);
        // The role that the chart adds to `view` is enough for the rest
        expect((await viewer.run(['status', 'loyalty'])).code).toBe(0);
        expect((await viewer.run(['consumers', 'loyalty'])).code).toBe(0);
      },
      LONG,
    );

    it(
      'knows the workloads whose pods never see a new token',
      async () => {
        await lab().cluster.apply(...workloads());
        const listed = ['get', 'pods', '-n', NAMESPACE, '-o', 'name'];
        await until(async () => {
          const names = (await lab().cluster.kubectl(listed)).trim().split('\n');
          return names.length >= 6;
        });
        const { code, out } = await plugin.run(['consumers', 'loyalty']);
        const told = out.trimEnd().split('\n').slice(1).sort();
        expect(told.map((line) => line.replaceAll(/ {2,}/g, ' | '))).toEqual([
          'deploy/checkout | 2 | volume | ok',
          'deploy/report | 1 | env TOKEN | will never see a new token: mount it as a volume without subPath',
          'job/nightly | 1 | envFrom | will never see a new token: mount it as a volume without subPath',
          'pod/debug | 1 | subPath | will never see a new token: mount it as a volume without subPath',
          'sts/cache | 1 | volume | ok',
        ]);
        expect(code).toBe(1);
      },
      LONG,
    );

    it(
      "shows the leader's log, and follows it",
      async () => {
        const { code, out } = await plugin.run(['logs', 'loyalty']);
        const lines = out.trimEnd().split('\n');
        expect(lines.length).toBeGreaterThan(1);
        for (const line of lines) {
          expect(line).toMatch(/^\S+Z (INFO|WARN) {1,2}\w.* namespace="till" name="loyalty"/);
        }
        expect(code).toBe(0);
        const isRenewed = (text: string) => text.split('Token renewed').length > before;
        const before = out.split('Token renewed').length;
        const following = plugin.run(['logs', 'loyalty', '-f'], isRenewed);
        await plugin.run(['renew', 'loyalty', '--wait']);
        const followed = await following;
        expect([followed.code, isRenewed(followed.out), followed.err]).toEqual([0, true, '']);
      },
      LONG,
    );
  });
}

const labels = (app: string) => ({ metadata: { labels: { app } } });

/** Two that read the file again, and three that don't. */
function workloads(): object[] {
  const template = (app: string, use: object) => ({ ...labels(app), spec: podSpec(use) });
  const set = (kind: string, app: string, spec: object) => ({
    apiVersion: 'apps/v1',
    kind,
    metadata: { name: app, namespace: NAMESPACE },
    spec: { selector: { matchLabels: { app } }, ...spec },
  });
  const mount = { name: 'token', mountPath: '/var/run/convercus' };
  const secretKeyRef = { name: 'loyalty-token', key: 'token' };
  const asFile = { volumeMounts: [mount] };
  const asVariable = { env: [{ name: 'TOKEN', valueFrom: { secretKeyRef } }] };
  const asCopy = { volumeMounts: [{ ...mount, subPath: 'token' }] };
  const asVariables = { envFrom: [{ secretRef: { name: 'loyalty-token' } }] };
  const job = { template: { spec: { ...podSpec(asVariables), restartPolicy: 'Never' } } };
  return [
    set('Deployment', 'checkout', { replicas: 2, template: template('checkout', asFile) }),
    set('Deployment', 'report', { template: template('report', asVariable) }),
    set('StatefulSet', 'cache', { serviceName: 'cache', template: template('cache', asFile) }),
    {
      apiVersion: 'batch/v1',
      kind: 'Job',
      metadata: { name: 'nightly-29400000', namespace: NAMESPACE },
      spec: job,
    },
    {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'debug', namespace: NAMESPACE },
      spec: podSpec(asCopy),
    },
  ];
}

/** A container that sleeps, and uses the token like that. */
function podSpec(use: object): object {
  const { spec } = workloadPod({ name: '', namespace: NAMESPACE, api: '', credentials: [] });
  const { image, imagePullPolicy, securityContext } = spec.containers[0]!;
  const args = ['--eval', 'setInterval(() => {}, 60000)'];
  const container = { name: 'app', image, imagePullPolicy, securityContext, args };
  return {
    ...spec,
    containers: [{ ...container, ...use }],
    volumes: [{ name: 'token', secret: { secretName: 'loyalty-token' } }],
  };
}
