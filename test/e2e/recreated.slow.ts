import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { eventually } from '../../dev/testbed/objects.ts';
import { credentialObject, type Tenant } from '../../dev/testbed/tenant.ts';
import { Testbed } from '../../dev/testbed/testbed.ts';
import { ApiError } from '../../src/kubernetes/api-error.ts';
import { createRestClient, type RestClient } from '../../src/kubernetes/rest-client.ts';

/** ROUNDS=65 N=100 creates 6,500 of them again. */
const ROUNDS = Number(process.env['ROUNDS'] ?? 2);
const N = Number(process.env['N'] ?? 100);
const TIMEOUT = 120_000 + ROUNDS * 60_000;

interface Listed {
  readonly metadata: {
    readonly name: string;
    readonly uid: string;
    readonly ownerReferences?: readonly { readonly uid: string }[];
  };
  readonly status?: {
    readonly conditions?: readonly {
      readonly type: string;
      readonly status: string;
      readonly reason: string;
    }[];
  };
}

/** Like `kubectl replace --force`, while the garbage collector deletes the targets of the old credentials. */
describe('credentials that are deleted and made again', () => {
  const names = Array.from({ length: N }, (_, n) => `c${n}`);
  let testbed: Testbed;
  let shop: Tenant;
  let people: RestClient;

  beforeAll(async () => {
    testbed = await Testbed.start();
    shop = await testbed.tenant();
    const kubeconfigPath = testbed.controlPlane.adminKubeconfig;
    people = createRestClient({ kubeconfigPath, userAgent: 'people' });
  }, 600_000);

  afterAll(async () => {
    await people?.close();
    await testbed?.stop();
  });

  const pathOf = (plural: 'secrets' | 'convercuscredentials', name?: string): string => {
    const root = plural === 'secrets' ? '/api/v1' : '/apis/convercus.io/v1alpha1';
    const path = `${root}/namespaces/${shop.namespace}/${plural}`;
    return name === undefined ? path : `${path}/${name}`;
  };

  async function send(method: 'GET' | 'POST' | 'DELETE', path: string, body?: object) {
    const response = await people.request({
      method,
      path,
      body,
      signal: AbortSignal.timeout(60_000),
    });
    if (!(response instanceof ApiError)) return response.body;
    if (method === 'DELETE' && (response.code === 404 || response.code === 409)) return undefined;
    throw response;
  }

  const create = (name: string) =>
    send('POST', pathOf('convercuscredentials'), credentialObject(name, { program: shop.program }));

  const list = async (plural: 'secrets' | 'convercuscredentials'): Promise<readonly Listed[]> =>
    Object(await send('GET', pathOf(plural))).items;

  async function recreate(name: string): Promise<void> {
    await sleep(Math.random() * 1_000);
    await send('DELETE', pathOf('convercuscredentials', name));
    await create(name);
    await sleep(Math.random() * 12);
    await send('DELETE', pathOf('secrets', `${name}-token`));
  }

  /** Deletes Secrets whose owner is gone, as the garbage collector does, which is not part of the API server. */
  async function collect(): Promise<void> {
    const secrets = await list('secrets'); // first: an owner is older than what it owns
    const owners = new Set(
      (await list('convercuscredentials')).map(({ metadata }) => metadata.uid),
    );
    for (const { metadata } of secrets) {
      const [owner] = metadata.ownerReferences ?? [];
      if (owner === undefined || owners.has(owner.uid)) continue;
      const options = { apiVersion: 'v1', kind: 'DeleteOptions' };
      const preconditions = { uid: metadata.uid };
      await send('DELETE', pathOf('secrets', metadata.name), { ...options, preconditions });
    }
  }

  /** Credentials without a target, or not Ready, with their condition. */
  async function unfinished(): Promise<string[]> {
    await collect();
    const credentials = await list('convercuscredentials');
    const targets = new Set((await list('secrets')).map(({ metadata }) => metadata.name));
    return credentials.flatMap(({ metadata: { name }, status }) => {
      const ready = status?.conditions?.find(({ type }) => type === 'Ready');
      const hasTarget = targets.has(`${name}-token`);
      if (ready?.status === 'True' && hasTarget) return [];
      return [`${name}: ${ready?.reason}, ${hasTarget ? 'a target' : 'no target'}`];
    });
  }

  it(
    'all get a new target',
    async () => {
      await Promise.all(names.map(create));
      expect(await eventually(unfinished, (left) => left.length === 0)).toEqual([]);
      for (let round = 0; round < ROUNDS; round += 1) {
        await Promise.all(names.map(recreate));
        expect(await eventually(unfinished, (left) => left.length === 0, 120)).toEqual([]);
        expect(await list('convercuscredentials')).toHaveLength(N);
      }
    },
    TIMEOUT,
  );
});
