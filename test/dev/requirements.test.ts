import { afterEach, describe, expect, it } from '@jest/globals';
import { missingForCluster } from '../../dev/envtest/cluster/requirements.ts';

const cache = process.env['XDG_CACHE_HOME'];

(process.platform === 'linux' ? describe : describe.skip)('what a cluster needs', () => {
  afterEach(() => {
    if (cache === undefined) delete process.env['XDG_CACHE_HOME'];
    else process.env['XDG_CACHE_HOME'] = cache;
  });

  it('is not in folders that the cluster covers', async () => {
    const covered = async () =>
      (await missingForCluster()).filter((problem) => problem.includes('covers'));
    expect(await covered()).toEqual([]);
    process.env['XDG_CACHE_HOME'] = '/var/lib/somewhere';
    expect(await covered()).toEqual([expect.stringContaining('/var/lib/somewhere')]);
  });
});
