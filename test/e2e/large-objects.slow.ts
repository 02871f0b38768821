import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { ApiClient } from '../../dev/lab/api-client.ts';
import { eventually } from '../../dev/testbed/objects.ts';
import { installCrd, type Operator, thisRelease } from '../../dev/testbed/operator.ts';
import { credentialObject, type Tenant } from '../../dev/testbed/tenant.ts';
import { Testbed } from '../../dev/testbed/testbed.ts';
import { type UnpackedRelease, unpackRelease } from '../upgrade/release.ts';

/** As a container of 512 MiB has it. */
const HEAP = '--max-old-space-size=256';

const keys = (count: number): string[] => [...Array(count).keys()].map((n) => `key-${n}`);
const entries = (names: readonly string[], value: string): Record<string, string> =>
  Object.fromEntries(names.map((name) => [name, value]));

/** The largest target that the CRD of 0.1.0 lets through: 1 MB. */
const LARGEST_OF_OLD = {
  annotations: entries(keys(32), '😀'.repeat(4_096)),
  data: { token: '{{access_token}}', ...entries(keys(31), '😀'.repeat(4_096)) },
};

/** 16,384 characters of data and 8,192 of annotations. */
const LARGE = {
  annotations: entries(keys(4), '😀'.repeat(2_000)),
  data: { token: '{{access_token}}', ...entries(keys(4), '😀'.repeat(4_000)) },
};

/** About as much metadata as etcd takes: names of labels are in `managedFields`, too. */
const LABELLED = {
  labels: entries(
    [...Array(3_000).keys()].map((n) => `${'p'.repeat(100)}.example/${'n'.repeat(58)}${n}`),
    'v'.repeat(63),
  ),
  annotations: entries(['note'], '<'.repeat(250_000)),
};

/** Comes as 9 MB, for JSON has six characters for each of these, and is as much as etcd takes. */
const ESCAPED = {
  ownerReferences: [{ apiVersion: 'v1', kind: 'ConfigMap', name: '<'.repeat(1_500_000), uid: 'u' }],
};

describe('one tenant with objects as large as the API server takes', () => {
  let old: UnpackedRelease;
  let testbed: Testbed;
  let client: ApiClient;
  let greedy: Tenant;
  let shop: Tenant;
  let operator: Operator;

  beforeAll(async () => {
    old = await unpackRelease('0.1.0');
    const release = { ...(await thisRelease()), crd: old.crd };
    testbed = await Testbed.start({ release, operators: [] });
    client = await ApiClient.from(testbed.controlPlane.adminKubeconfig);
    greedy = await testbed.tenant();
    shop = await testbed.tenant({ accessTokenLifespan: 20 });
    for (let n = 0; n < 250; n += 1) await createCredential(`old-${n}`, LARGEST_OF_OLD);
    await installCrd(testbed.controlPlane);
    for (let n = 0; n < 300; n += 1) await createCredential(`new-${n}`, LARGE);
    for (let n = 0; n < 60; n += 1) await createSecret(`s-${n}`, n < 50 ? LABELLED : ESCAPED);
    await shop.credential('loyalty');
    operator = await testbed.startOperator({ nodeArguments: [HEAP] });
  }, 900_000);

  afterAll(async () => {
    await testbed?.stop();
    await client?.close();
    await old?.remove();
  });

  const createCredential = (name: string, target: object): Promise<string> =>
    client.send({
      method: 'POST',
      path: `/apis/convercus.io/v1alpha1/namespaces/${greedy.namespace}/convercuscredentials`,
      body: credentialObject(name, { program: greedy.program }, target),
    });

  const createSecret = (name: string, metadata: object): Promise<string> =>
    client.send({
      method: 'POST',
      path: `/api/v1/namespaces/${greedy.namespace}/secrets`,
      body: { apiVersion: 'v1', kind: 'Secret', metadata: { name, ...metadata } },
    });

  const readyIn = async (): Promise<number> => {
    const ready = /^convercus_credential_ready\{.*name="new-.*\} 1$/gm;
    return [...(await operator.get('/metrics')).matchAll(ready)].length;
  };

  it('does not keep the operator from getting ready, and from renewing for others', async () => {
    await shop.ready('loyalty');
    const first = await shop.file('loyalty-token');
    const later = await eventually(
      () => shop.file('loyalty-token'),
      (token) => token !== first,
    );
    expect(later).not.toBe(first);
  }, 200_000);

  it('is served where its targets are as large as they may be', async () => {
    expect(await eventually(readyIn, (count) => count === 300, 300)).toBe(300);
  }, 400_000);

  it('does not keep it from getting ready when it starts again', async () => {
    await operator.kill();
    await operator.run();
    const before = await shop.file('loyalty-token');
    const later = await eventually(
      () => shop.file('loyalty-token'),
      (token) => token !== before,
    );
    expect(later).not.toBe(before);
    expect(await eventually(readyIn, (count) => count === 300, 300)).toBe(300);
  }, 600_000);
});
