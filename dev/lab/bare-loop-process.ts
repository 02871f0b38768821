/**
 * The requests of a renewal and nothing else: a token request, the write of a Secret, the write of a status, over kept
 * connections. Reads its input as JSON, prints `begin` when all objects exist, and its output as JSON at the end.
 */
import { readFileSync } from 'node:fs';
import { Agent } from 'undici';
import { ApiClient, eachLimit, METADATA } from './api-client.ts';

export interface BareLoopInput {
  readonly kubeconfig: string;
  readonly tokenUrl: string;
  readonly clientId: string;
  readonly clientSecret: string;
  /** All its credentials are renewed in turn. */
  readonly namespace: string;
  /** So many workers, each with credentials of its own. */
  readonly concurrency: number;
  readonly seconds: number;
  readonly secretBy: WriteMethod;
  readonly statusBy: WriteMethod;
}

export type WriteMethod = 'put' | 'merge' | 'apply';

export interface BareLoopOutput {
  readonly perSecond: number;
  /** Processor time of the loop per renewal. */
  readonly cpuMs: number;
  readonly renewals: number;
}

const input: BareLoopInput = JSON.parse(readFileSync(0, 'utf8'));
const client = await ApiClient.from(input.kubeconfig);
const provider = new Agent({ allowH2: false });
const { origin, pathname: path } = new URL(input.tokenUrl);

const API_VERSION = 'convercus.io/v1alpha1';
const secrets = `/api/v1/namespaces/${input.namespace}/secrets`;
const credentials = `/apis/${API_VERSION}/namespaces/${input.namespace}/convercuscredentials`;
const METHODS = {
  create: { method: 'POST', contentType: 'application/json' },
  put: { method: 'PUT', contentType: 'application/json' },
  merge: { method: 'PATCH', contentType: 'application/merge-patch+json' },
  apply: { method: 'PATCH', contentType: 'application/apply-patch+yaml' },
} as const;

/** Resolves to the new resourceVersion. */
async function write(path: string, by: keyof typeof METHODS, body: object): Promise<string> {
  const query = by === 'apply' ? '?fieldManager=bare-loop&force=true' : '';
  const sent = { ...METHODS[by], path: `${path}${query}`, body, accept: METADATA };
  return JSON.parse(await client.send(sent)).metadata.resourceVersion;
}

async function requestToken(): Promise<string> {
  const grant = 'grant_type=client_credentials&scope=openid';
  const { statusCode, body } = await provider.request({
    origin,
    path,
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded', accept: 'application/json' },
    body: `${grant}&client_id=${input.clientId}&client_secret=${input.clientSecret}`,
  });
  const text = await body.text();
  if (statusCode !== 200) throw new Error(`the token endpoint answered ${statusCode}: ${text}`);
  return JSON.parse(text).access_token;
}

/** Of the same size as the operator's. */
function secretBody(name: string, uid: string, token: string): object {
  const now = new Date().toISOString();
  const owner = { apiVersion: API_VERSION, kind: 'ConvercusCredential', name, uid };
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    type: 'convercus.io/token',
    metadata: {
      name: `${name}-token`,
      labels: { 'app.kubernetes.io/managed-by': 'bare-loop', 'convercus.io/credential': name },
      annotations: {
        'convercus.io/issued-at': now,
        'convercus.io/expires-at': now,
        'convercus.io/renew-at': now,
        'convercus.io/spec-hash': 'vFB2uJ1TFPM8sGJ4vXQm1g',
        'convercus.io/source-version': '6c1bb3de-2ac5-4c92-8f5b-94d1cbb62b51/12345',
        'convercus.io/content-hash': 'vFB2uJ1TFPM8sGJ4vXQm1g',
      },
      ownerReferences: [{ ...owner, controller: true }],
    },
    data: { token: Buffer.from(token).toString('base64') },
  };
}

const condition = (type: string): object => ({
  type,
  status: 'True',
  reason: 'RenewalDue',
  message: 'A token was issued because the one before was due for renewal',
  lastTransitionTime: '2026-01-01T00:00:00Z',
  observedGeneration: 1,
});

function statusBody(name: string, version: string, targetVersion: string): object {
  const now = `${new Date().toISOString().slice(0, 19)}Z`;
  return {
    apiVersion: API_VERSION,
    kind: 'ConvercusCredential',
    metadata: { name, resourceVersion: input.statusBy === 'put' ? version : undefined },
    status: {
      observedGeneration: 1,
      conditions: [condition('Ready'), condition('Renewed')],
      tokenUrl: input.tokenUrl,
      issuedAt: now,
      expiresAt: now,
      renewAt: now,
      target: { name: `${name}-token`, resourceVersion: targetVersion },
    },
  };
}

interface Credential {
  readonly name: string;
  readonly uid: string;
  resourceVersion: string;
}

async function renew(credential: Credential, secretBy: WriteMethod | 'create'): Promise<void> {
  const { name, uid, resourceVersion } = credential;
  const path = secretBy === 'create' ? secrets : `${secrets}/${name}-token`;
  const version = await write(path, secretBy, secretBody(name, uid, await requestToken()));
  const status = statusBody(name, resourceVersion, version);
  const statusPath = `${credentials}/${name}/status`;
  credential.resourceVersion = await write(statusPath, input.statusBy, status);
}

const { items }: { items: { metadata: Credential }[] } = JSON.parse(
  await client.send({ method: 'GET', path: credentials }),
);
const all = items.map(({ metadata }) => metadata);
await eachLimit(all, input.concurrency, (credential) => renew(credential, 'create'));

console.log('begin');
const started = { at: performance.now(), cpu: process.cpuUsage() };
let renewals = 0;
const worker = async (own: readonly Credential[]): Promise<void> => {
  for (;;)
    for (const credential of own) {
      if (performance.now() - started.at > input.seconds * 1_000) return;
      await renew(credential, input.secretBy);
      renewals += 1;
    }
};
const shares = Map.groupBy(all, (_, i) => i % input.concurrency);
await Promise.all([...shares.values()].map(worker));
const seconds = (performance.now() - started.at) / 1_000;
const { user, system } = process.cpuUsage(started.cpu);
const cpuMs = (user + system) / 1_000 / renewals;
const output: BareLoopOutput = { perSecond: renewals / seconds, cpuMs, renewals };
console.log(JSON.stringify(output));
await Promise.all([client.close(), provider.close()]);
