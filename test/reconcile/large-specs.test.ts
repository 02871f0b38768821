import { beforeEach, describe, expect, it } from '@jest/globals';
import { minutes } from '../../src/lib/time.ts';
import { CANARY, START } from '../support/builders.ts';
import { TARGET, World } from '../support/world.ts';

/** Labels, annotations and data of its target are too large for the cache. */
describe('a credential whose target is large', () => {
  let world: World;

  beforeEach(() => {
    world = World.with({
      target: { labels: { team: 'loyalty' }, data: { token: '{{access_token}}', motd: 'x' } },
    });
    world.cluster.omitsTargets = true;
  });

  const requests = () => world.cluster.requests.splice(0);

  it('is read for each reconcile, and gets what its spec says', async () => {
    const action = await world.reconcile();
    expect(world.cluster.stored(TARGET)).toMatchObject({
      labels: { team: 'loyalty' },
      data: { token: `${CANARY}-token-1`, motd: 'x' },
    });
    expect(action).toEqual({ requeueAt: START + minutes(4) });
    expect(world.summary('Ready')).toBe('True TokenValid');
    requests();
    await world.reconcile();
    expect(requests()).toEqual(['readCredential loyalty']);
  });

  it('keeps its token, and is tried again, while it can not be read', async () => {
    await world.reconcile();
    requests();
    world.clock.step(minutes(4));
    world.cluster.failNext('readCredential');
    expect(await world.reconcile()).toMatchObject({ requeueAt: expect.any(Number) });
    expect(requests()).toEqual(['readCredential loyalty']);
    expect(world.cluster.stored(TARGET)?.data['token']).toBe(`${CANARY}-token-1`);
    expect(world.summary('Ready')).toBe('True TokenValid');
    await world.reconcile();
    expect(world.cluster.stored(TARGET)?.data['token']).toBe(`${CANARY}-token-2`);
  });
});
