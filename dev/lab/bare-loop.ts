/**
 * What the operator does for a renewal and nothing else: a token request, the write of a Secret, the write of a status,
 * over kept connections, with everything known beforehand and nothing watched. Prints its result as JSON.
 */
import { readFileSync } from 'node:fs';
import { Agent, type Dispatcher } from 'undici';
import { each } from './api-client.ts';

export interface BareOptions {
  readonly url: string;
  readonly ca: string;
  readonly token: string;
  readonly tokenUrl: string;
  readonly client: { readonly id: string; readonly secret: string };
  readonly namespace: string;
  readonly count: number;
  readonly concurrency: number;
  readonly seconds: number;
  readonly secretBy: Write;
  readonly statusBy: Write;
}

export type Write = 'put' | 'merge' | 'apply';

export interface BareResult {
  readonly perSecond: number;
  /** Processor time of the loop per renewal. */
  readonly cpuMs: number;
  readonly renewals: number;
}

const options: BareOptions = JSON.parse(readFileSync(0, 'utf8'));
const { namespace } = options;
const METADATA = 'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1';
const api = new Agent({ allowH2: false, connect: { ca: options.ca } });
const provider = new Agent({ allowH2: false });
const versions = new Map<string, string>();
const uids = new Map<string, string>();

const TYPES: Record<Write, string> = {
  put: 'application/json',
  merge: 'application/merge-patch+json',
  apply: 'application/apply-patch+yaml',
};

async function text(dispatcher: Dispatcher, request: Dispatcher.RequestOptions): Promise<string> {
  const { statusCode, body } = await dispatcher.request(request);
  const response = await body.text();
  if (statusCode >= 300) throw new Error(`${request.path} answered ${statusCode}: ${response}`);
  return response;
}

async function write(path: string, by: Write | 'create', body: object, accept: string) {
  const query = by === 'apply' ? '?fieldManager=bare&force=true' : '';
  const response = await text(api, {
    origin: options.url,
    path: `${path}${query}`,
    method: by === 'create' ? 'POST' : by === 'put' ? 'PUT' : 'PATCH',
    headers: {
      authorization: `Bearer ${options.token}`,
      accept,
      'content-type': TYPES[by === 'create' ? 'put' : by],
    },
    body: JSON.stringify(body),
  });
  return JSON.parse(response).metadata;
}

async function token(): Promise<string> {
  const { origin, pathname } = new URL(options.tokenUrl);
  const response = await text(provider, {
    origin,
    path: pathname,
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded', accept: 'application/json' },
    body: `grant_type=client_credentials&scope=openid&client_id=${options.client.id}&client_secret=${options.client.secret}`,
  });
  return JSON.parse(response).access_token;
}

const secrets = `/api/v1/namespaces/${namespace}/secrets`;
const credentials = `/apis/convercus.io/v1alpha1/namespaces/${namespace}/convercuscredentials`;
const API_VERSION = 'convercus.io/v1alpha1';
const now = (): string => `${new Date().toISOString().slice(0, 19)}Z`;

const secretBody = (name: string, accessToken: string) => ({
  apiVersion: 'v1',
  kind: 'Secret',
  type: 'convercus.io/token',
  metadata: {
    name: `${name}-token`,
    labels: { 'app.kubernetes.io/managed-by': 'bare-loop', 'convercus.io/credential': name },
    annotations: {
      'convercus.io/issued-at': new Date().toISOString(),
      'convercus.io/expires-at': new Date().toISOString(),
      'convercus.io/renew-at': new Date().toISOString(),
      'convercus.io/spec-hash': 'vFB2uJ1TFPM8sGJ4vXQm1g',
      'convercus.io/source-version': '6c1bb3de-2ac5-4c92-8f5b-94d1cbb62b51/12345',
      'convercus.io/content-hash': 'vFB2uJ1TFPM8sGJ4vXQm1g',
    },
    ownerReferences: [
      {
        apiVersion: API_VERSION,
        kind: 'ConvercusCredential',
        name,
        uid: uids.get(name),
        controller: true,
      },
    ],
  },
  data: { token: Buffer.from(accessToken).toString('base64') },
});

const condition = (type: string) => ({
  type,
  status: 'True',
  reason: 'RenewalDue',
  message: 'A token was issued because the one before was due for renewal',
  lastTransitionTime: '2026-01-01T00:00:00Z',
  observedGeneration: 1,
});

const spec = {
  program: 'BARE',
  environment: 'staging',
  suspend: true,
  credentialsSecretRef: { name: 'source' },
};

const statusBody = (name: string, targetVersion: string, by: Write) => ({
  apiVersion: API_VERSION,
  kind: 'ConvercusCredential',
  metadata: { name, ...(by === 'put' ? { resourceVersion: versions.get(name) } : {}) },
  status: {
    observedGeneration: 1,
    conditions: [condition('Ready'), condition('Renewed')],
    tokenUrl: options.tokenUrl,
    issuedAt: now(),
    expiresAt: now(),
    renewAt: now(),
    target: { name: `${name}-token`, resourceVersion: targetVersion },
  },
});

async function renew(name: string): Promise<void> {
  const body = secretBody(name, await token());
  const { resourceVersion } = await write(
    `${secrets}/${name}-token`,
    options.secretBy,
    body,
    METADATA,
  );
  const status = statusBody(name, resourceVersion, options.statusBy);
  const response = await write(`${credentials}/${name}/status`, options.statusBy, status, METADATA);
  versions.set(name, response.resourceVersion);
}

async function create(name: string): Promise<void> {
  const object = { apiVersion: API_VERSION, kind: 'ConvercusCredential', metadata: { name }, spec };
  const created = await write(credentials, 'create', object, METADATA);
  versions.set(name, created.resourceVersion);
  uids.set(name, created.uid);
  await write(secrets, 'create', secretBody(name, 'none'), METADATA);
  await renew(name);
}

const names = Array.from({ length: options.count }, (_, i) => `bare-${i}`);
await each(names, options.concurrency, create);

console.log('begin');
const started = { at: performance.now(), cpu: process.cpuUsage() };
let renewals = 0;
const worker = async (from: number): Promise<void> => {
  for (
    let i = from;
    performance.now() - started.at < options.seconds * 1_000;
    i += options.concurrency
  ) {
    await renew(names[i % names.length] ?? '');
    renewals += 1;
  }
};
await Promise.all(Array.from({ length: options.concurrency }, (_, i) => worker(i)));
const took = (performance.now() - started.at) / 1_000;
const { user, system } = process.cpuUsage(started.cpu);
const result: BareResult = {
  perSecond: renewals / took,
  cpuMs: (user + system) / 1_000 / renewals,
  renewals,
};
console.log(JSON.stringify(result));
await Promise.all([api.close(), provider.close()]);
