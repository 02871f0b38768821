import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type ControlPlane, startControlPlane } from '../../dev/envtest/control-plane.ts';
import { installCrd } from '../../dev/testbed/operator.ts';
import { parseCredential } from '../../src/credential/credential.ts';
import { credentialFrom } from '../../src/kubernetes/objects.ts';
import { isFailure } from '../../src/lib/failure.ts';
import { SETTINGS } from '../support/builders.ts';

const KIND = 'convercuscredentials.convercus.io';

const GOOD = {
  program: 'ABC',
  environment: 'staging',
  credentialsSecretRef: { name: 'convercus-abc' },
};

const texts = (count: number, length: number, unit = 'x') =>
  Object.fromEntries(Array.from({ length: count }, (_, at) => [`k${at}`, unit.repeat(length)]));

/** What 0.1.0 takes and this version does not, and what this version says of it; undefined: it is served. */
const STORED: Record<string, [spec: object, refusal: string | undefined]> = {
  data: [
    { ...GOOD, target: { data: texts(32, 4_096, 'ü') } },
    'spec.target.data: keys and values have at most 16384 characters together',
  ],
  annotations: [
    { ...GOOD, target: { annotations: texts(32, 4_096) } },
    'spec.target.annotations: keys and values have at most 8192 characters together',
  ],
  renewal: [{ ...GOOD, renewal: { percent: 95, jitterPercent: 20 } }, undefined],
  percent: [{ ...GOOD, renewal: { percent: 95 } }, undefined],
  request: [GOOD, undefined],
};

/** The API server checks only what changes of an object, so that a CRD may be tightened (CRDValidationRatcheting). */
describe('credentials that were stored under the CRD of 0.1.0', () => {
  const names = Object.keys(STORED);
  let controlPlane: ControlPlane;

  const kubectl = (...args: string[]): Promise<string> => controlPlane.kubectl(args);
  const get = async (name: string) => JSON.parse(await kubectl('get', KIND, name, '-o', 'json'));
  const patch = (name: string, change: object, ...flags: string[]): Promise<string> =>
    kubectl('patch', KIND, name, '--type=merge', '-p', JSON.stringify(change), ...flags);

  beforeAll(async () => {
    controlPlane = await startControlPlane();
    await installCrd(controlPlane, join(import.meta.dirname, '../upgrade/0.1.0/crd.yaml'));
    for (const [name, [spec]] of Object.entries(STORED)) {
      const metadata = { name, namespace: 'default' };
      const object = {
        apiVersion: 'convercus.io/v1alpha1',
        kind: 'ConvercusCredential',
        metadata,
        spec,
      };
      await controlPlane.kubectl(['create', '-f', '-'], { input: JSON.stringify(object) });
    }
    const status = { lastHandledRenewRequest: 'x'.repeat(5_000) };
    await patch('request', { status }, '--subresource=status');
    await installCrd(controlPlane);
  }, 600_000);

  afterAll(() => controlPlane?.stop());

  it.each(names)('keep taking a status, labels and annotations (%s)', async (name) => {
    const status = { observedGeneration: 7, lastHandledRenewRequest: 'now' };
    const before = await get(name);
    await patch(name, { metadata: { labels: { a: 'b' }, annotations: { c: 'd' } } });
    await patch(name, { spec: { suspend: true } });
    await patch(name, { status }, '--subresource=status');

    const { metadata, spec, status: after } = await get(name);
    expect(metadata).toMatchObject({ labels: { a: 'b' }, annotations: { c: 'd' } });
    expect(spec).toEqual({ ...before.spec, suspend: true });
    expect(after).toMatchObject(status);
  });

  it.each(names)('are served, or refused with a reason (%s)', async (name) => {
    const credential = credentialFrom(await get(name));
    const parsed = credential && parseCredential(credential, SETTINGS);
    const [, refusal] = STORED[name] ?? [];
    expect(isFailure(parsed) ? `${parsed.kind} ${parsed.message}` : undefined).toBe(
      refusal && `InvalidSpec ${refusal}`,
    );
  });

  it.each([
    ['data', { spec: { target: { data: { k0: 'y' } } } }, 'at most 16384 characters'],
    ['annotations', { spec: { target: { annotations: { k0: 'y' } } } }, 'at most 8192 characters'],
    ['renewal', { spec: { renewal: { percent: 94 } } }, 'at most 99 together'],
    ['percent', { spec: { renewal: { jitterPercent: 5 } } }, 'at most 99 together'],
  ])('may not be changed to what is not allowed either (%s)', async (name, change, sentence) => {
    await expect(patch(name, change)).rejects.toThrow(sentence);
  });

  it('may be corrected', async () => {
    await patch('data', { spec: { target: { data: null } } });
    await patch('annotations', { spec: { target: { annotations: null } } });
    await patch('renewal', { spec: { renewal: { percent: 79 } } });
    for (const name of names) {
      const credential = credentialFrom(await get(name));
      expect(credential && isFailure(parseCredential(credential, SETTINGS))).toBe(false);
    }
  });
});
