import { existsSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type ControlPlane, startControlPlane } from '../../dev/envtest/control-plane.ts';

describe('a real control plane', () => {
  let controlPlane: ControlPlane;

  beforeAll(async () => {
    controlPlane = await startControlPlane({ users: [{ name: 'alice' }], log: console.log });
  }, 15 * 60_000);

  afterAll(() => controlPlane.stop(), 60_000);

  it('reports the version that was built', async () => {
    const version: unknown = JSON.parse(await controlPlane.kubectl(['version', '-o', 'json']));
    const wanted = process.env['KUBERNETES_VERSION'] || '1.';
    const gitVersion = expect.stringContaining(`v${wanted.replace('v', '')}`);
    expect(version).toMatchObject({ serverVersion: { gitVersion } });
  });

  it('stores what the administrator applies', async () => {
    const configMap = {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'kept', namespace: 'default' },
      data: { word: 'stored' },
    };
    await controlPlane.kubectl(['apply', '-f', '-'], { input: JSON.stringify(configMap) });
    expect(await readWord(controlPlane)).toBe('stored');
  });

  it('gives users and new service accounts no rights of their own', async () => {
    const user = controlPlane.userKubeconfig('alice');
    await controlPlane.kubectl(['create', 'serviceaccount', 'other']);
    const other = await controlPlane.serviceAccountKubeconfig('default', 'other');
    for (const kubeconfig of [user, other]) {
      const listing = controlPlane.kubectl(['get', 'secrets'], { kubeconfig });
      await expect(listing).rejects.toThrow(/forbidden/i);
    }
  });

  it('counts requests in its metrics', async () => {
    expect(await controlPlane.metrics()).toContain('apiserver_request_total{');
  });

  it('comes back with its data after an outage', async () => {
    await controlPlane.stopApiServer();
    await expect(readWord(controlPlane)).rejects.toThrow(/refused/);
    await controlPlane.startApiServer();
    expect(await readWord(controlPlane)).toBe('stored');
  }, 120_000);

  it('leaves no process and no file behind', async () => {
    const { pids, dir } = controlPlane;
    expect(pids.filter(isRunning)).toHaveLength(2);
    await controlPlane.stop();
    expect(pids.filter(isRunning)).toEqual([]);
    expect(existsSync(dir)).toBe(false);
  }, 60_000);
});

function readWord(controlPlane: ControlPlane): Promise<string> {
  return controlPlane.kubectl(['get', 'configmap', 'kept', '-o', 'jsonpath={.data.word}']);
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
