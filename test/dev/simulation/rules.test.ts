import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { decoded, encoded } from '../../../dev/simulation/objects.ts';
import { problemsOf } from '../../../dev/simulation/oracle.ts';
import { Canary } from '../../../dev/simulation/rules/canary.ts';
import { World } from '../../../dev/simulation/world.ts';
import { digest } from '../../../src/credential/credential.ts';

/** One credential with the grant password, served by one replica. */
async function servedWorld(): Promise<World> {
  const setting = { releases: 1, accessToken: 900 } as const;
  const world = new World('served', { trace: false, setting });
  const metadata = { namespace: 'shop', name: 'a' };
  world.server.put('convercuscredentials', { metadata, spec: SPEC }, 'kubectl');
  world.start('A');
  await world.scheduler.runUntil(60_000);
  return world;
}

const SPEC = {
  program: 'ABC',
  environment: 'staging',
  grantType: 'password',
  clientId: 'client-1',
  scope: 'openid',
  credentialsSecretRef: {
    name: 'source-1',
    keys: { clientSecret: 'client_secret', username: 'username', password: 'password', org: 'org' },
  },
  target: {
    creationPolicy: 'Owner',
    deletionPolicy: 'Delete',
    data: { token: '{{access_token}}' },
  },
  suspend: false,
};

describe('the canary', () => {
  const isFound = ({ safety }: World, text: string): boolean => {
    safety.violations.clear();
    new Canary(safety).look('log', text);
    return safety.violations.size > 0;
  };

  it('finds a secret and a token in a line of the log', async () => {
    const world = await servedWorld();
    const { client_secret: secret } = world.provider.goodValues('client-1');
    expect(isFound(world, `The server answered: ${secret}`)).toBe(true);
    const { token = '' } = decoded(world.server.get('secrets', 'shop/a-token')?.data);
    expect(isFound(world, `sent {"authorization":"Bearer ${token}"}`)).toBe(true);
    expect(isFound(world, `"${token.slice(0, 40)}…"`)).toBe(true);
  });

  it('takes no hash, uid, version or time for one', () => {
    const world = new World('canary', { trace: false });
    fc.assert(
      fc.property(fc.string(), fc.uuid(), (value, uid) => {
        const text = `content-hash=${digest([value])} ${uid}/345 2026-09-21T12:00:00Z`;
        expect(isFound(world, text)).toBe(false);
      }),
    );
  });
});

describe('the oracle', () => {
  it('tells what is not as it should be', async () => {
    const fresh = new World('oracle', { trace: false, setting: { releases: 1 } });
    expect(problemsOf(fresh)).toEqual([]);
    const metadata = { namespace: 'shop', name: 'a' };
    fresh.server.put('convercuscredentials', { metadata, spec: SPEC }, 'kubectl');
    expect(problemsOf(fresh)).toEqual([expect.stringContaining('shop/a: status is of generation')]);

    const world = await servedWorld();
    const { server } = world;
    expect(problemsOf(world)).toEqual([]);
    world.processes.get('A')?.replica.crash();

    const target = server.get('secrets', 'shop/a-token')!;
    const edited = { ...target, data: encoded({ ...decoded(target.data), token: 'edited' }) };
    server.put('secrets', edited, 'kubectl');
    expect(problemsOf(world)).toEqual([expect.stringContaining('no token under token')]);
    server.remove('secrets', 'shop/a-token', 'people');
    expect(problemsOf(world)).toEqual([expect.stringContaining('no target')]);
    server.put('secrets', target, 'kubectl');
    expect(problemsOf(world)).toEqual([expect.stringContaining('status has version')]);
    server.remove('convercuscredentials', 'shop/a', 'people');
    expect(problemsOf(world)).toEqual([
      expect.stringMatching('session shop/a-session .* is left'),
      'target shop/a-token is left',
    ]);
    expect([...world.safety.violations]).toEqual([]);
  });
});
