import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline/promises';
import type { BareOptions, BareResult, Write } from './bare-loop.ts';
import { BARE_USER, type Lab } from './lab.ts';

const RIGHTS = {
  apiVersion: 'rbac.authorization.k8s.io/v1',
  kind: 'ClusterRole',
  metadata: { name: BARE_USER },
  rules: [
    {
      apiGroups: ['', 'convercus.io'],
      resources: ['secrets', 'convercuscredentials', 'convercuscredentials/status'],
      verbs: ['create', 'update', 'patch'],
    },
  ],
};

const BINDING = {
  apiVersion: 'rbac.authorization.k8s.io/v1',
  kind: 'ClusterRoleBinding',
  metadata: { name: BARE_USER },
  roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: BARE_USER },
  subjects: [{ kind: 'User', name: BARE_USER, apiGroup: 'rbac.authorization.k8s.io' }],
};

/** The fastest way to write that the API server offers, as `npm run bench -- --only writes` finds it. */
export const FASTEST = { secretBy: 'put', statusBy: 'put' } as const;

export interface BoundOptions {
  readonly seconds: number;
  readonly concurrency: number;
  readonly secretBy?: Write;
  readonly statusBy?: Write;
}

/** So that no two workers meet at one object: a multiple of every concurrency that is used. */
const OBJECTS = 960;
const REALM = 'bare-staging';
let runs = 0;

export interface Bound extends BareResult {
  /** Processor time of API server, etcd and identity provider per renewal. */
  readonly serverCpuMs: number;
}

/** Runs the bare loop in a process of its own, on objects of its own that are gone afterwards. No operator may run. */
export async function bound(lab: Lab, options: BoundOptions): Promise<Bound> {
  runs += 1;
  lab.log(`Bare loop for ${options.seconds} s`);
  const namespace = `bare-${runs}`;
  await prepare(lab, namespace);
  const kubeconfig = JSON.parse(await readFile(lab.controlPlane.userKubeconfig(BARE_USER), 'utf8'));
  const input: BareOptions = {
    url: lab.controlPlane.url,
    ca: await readFile(lab.controlPlane.caFile, 'utf8'),
    token: kubeconfig.users[0].user.token,
    tokenUrl: lab.provider.tokenUrl(REALM),
    client: { id: 'bare', secret: 'bare' },
    namespace,
    count: OBJECTS,
    ...FASTEST,
    ...options,
  };
  const result = await run(lab, input);
  await cleanUp(lab, namespace);
  return result;
}

async function prepare({ controlPlane, provider }: Lab, namespace: string): Promise<void> {
  await controlPlane.kubectl(['create', 'namespace', namespace]);
  const rights = `${JSON.stringify(RIGHTS)}\n---\n${JSON.stringify(BINDING)}`;
  await controlPlane.kubectl(['apply', '-f', '-'], { input: rights });
  const client = { clientId: 'bare', secret: 'bare', serviceAccountsEnabled: true };
  await provider.realm({ realm: REALM, accessTokenLifespan: 300, clients: [client] });
}

async function cleanUp({ client }: Lab, namespace: string): Promise<void> {
  for (const path of [
    `/apis/convercus.io/v1alpha1/namespaces/${namespace}/convercuscredentials`,
    `/api/v1/namespaces/${namespace}/secrets`,
  ]) {
    await client.send({ method: 'DELETE', path });
  }
}

async function run(lab: Lab, input: BareOptions): Promise<Bound> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'bare-loop.ts')], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  child.stdin.end(JSON.stringify(input));
  let serversBefore = 0;
  for await (const line of createInterface({ input: child.stdout })) {
    if (line === 'begin') serversBefore = await lab.serverCpuSeconds();
    else {
      const result: BareResult = JSON.parse(line);
      const servers = (await lab.serverCpuSeconds()) - serversBefore;
      return { ...result, serverCpuMs: (servers * 1_000) / result.renewals };
    }
  }
  throw new Error('the bare loop failed');
}
