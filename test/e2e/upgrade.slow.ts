import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { eventually } from '../../dev/testbed/objects.ts';
import { credentialObject, type SpecOverrides, type Tenant } from '../../dev/testbed/tenant.ts';
import { Testbed } from '../../dev/testbed/testbed.ts';
import type { ConvercusCredential } from '../../src/credential/api.ts';
import { type UnpackedRelease, unpackRelease } from '../upgrade/release.ts';

const GRANTS: Record<string, SpecOverrides> = {
  machine: {},
  user: { grantType: 'password', credentialsSecretRef: { name: 'login' } },
  legacy: { grantType: 'legacy_login', credentialsSecretRef: { name: 'legacy' } },
};

const targetsOf = (grant: string): Record<string, SpecOverrides['target']> => ({
  owner: {},
  retain: { deletionPolicy: 'Retain' },
  merge: {
    name: `${grant}-app`,
    creationPolicy: 'Merge',
    data: { [grant]: '{{access_token}}' },
  },
});

const NAMES = Object.keys(GRANTS).flatMap((grant) =>
  Object.keys(targetsOf(grant)).map((target) => `${grant}-${target}`),
);

const LONG_REQUEST = `convercus.io/renew-requested-at=${'now'.repeat(100)}`;

/** On one API server: release 0.1.0, then this checkout, each with its CRD and permissions. */
describe('an upgrade from 0.1.0', () => {
  let old: UnpackedRelease;
  let testbed: Testbed;
  /** Every grant with every kind of target; tokens of half an hour. */
  let shop: Tenant;
  /** Tokens of ten seconds by the grant password, which are renewed all the time. */
  let busy: Tenant;
  /** A target beyond the limits of this version, and a renew request of 300 characters. */
  let large: Tenant;

  beforeAll(async () => {
    old = await unpackRelease('0.1.0');
    testbed = await Testbed.start({ release: old });
    shop = await aTenant();
    busy = await aTenant({ accessTokenLifespan: 10 });
    for (const [grant, spec] of Object.entries(GRANTS)) {
      await shop.secret(`${grant}-app`, { password: 'theirs' });
      for (const [kind, target = {}] of Object.entries(targetsOf(grant))) {
        await shop.credential(`${grant}-${kind}`, { ...spec, target });
      }
    }
    await busy.credential('loyalty', GRANTS['user']);
    large = await aTenant();
    const note = 'x'.repeat(4_000);
    const data = { token: '{{access_token}}', a: note, b: note, c: note, d: note, e: note };
    await large.credential('data', { target: { data } });
    await large.credential('asked');
    await large.ready('asked');
    await large.kubectl('annotate', 'convercuscredentials', 'asked', LONG_REQUEST);
    await eventually(
      () => large.get('asked'),
      ({ status }) => status?.lastHandledRenewRequest !== undefined,
    );
    await large.ready('data');
    await allReady(shop);
    await busy.ready('loyalty');
  }, 600_000);

  afterAll(async () => {
    await testbed?.stop();
    await old?.remove();
  });

  async function aTenant(settings: Record<string, unknown> = {}): Promise<Tenant> {
    const tenant = await testbed.tenant(settings);
    const { namespace: org, password, clientSecret } = tenant;
    await tenant.secret('login', { client_secret: clientSecret, username: 'api-user', password });
    testbed.provider.legacy.accounts.push({ org, userName: 'legacy-user', password });
    await tenant.secret('legacy', { org, username: 'legacy-user', password });
    return tenant;
  }

  const allReady = (tenant: Tenant): Promise<string> =>
    tenant.kubectl(
      'wait',
      '--for=condition=Ready',
      'convercuscredentials',
      '--all',
      '--timeout=90s',
    );

  const count = (lines: readonly string[], wanted: string): number =>
    lines.filter((line) => line === wanted).length;

  async function list<T>(kind: string): Promise<(T & { metadata: { name: string } })[]> {
    return JSON.parse(await shop.kubectl('get', kind, '-o', 'json')).items;
  }

  const specs = async () =>
    (await list<ConvercusCredential>('convercuscredentials')).map(
      ({ metadata: { name }, spec }) => ({
        name,
        spec,
      }),
    );

  const secrets = async () =>
    (await list<{ data: Record<string, string> }>('secrets')).map(({ metadata, data }) => ({
      metadata,
      data,
    }));

  const secretOf = (name: string): string =>
    name.endsWith('-merge') ? name.replace(/merge$/, 'app') : `${name}-token`;

  async function token(name: string): Promise<string | undefined> {
    const [grant = ''] = name.split('-');
    return shop.file(secretOf(name), name.endsWith('-merge') ? grant : 'token');
  }

  it('requests no token, writes no Secret, and finds everything Ready', async () => {
    const found = { secrets: await secrets(), specs: await specs(), requests: shop.requests() };
    expect(found.specs.map(({ name }) => name).sort()).toEqual([...NAMES].sort());
    const before = await testbed.audit.length();
    const requestsOfLarge = large.requests();

    await testbed.upgrade();
    const fresh = await aTenant();
    await fresh.credential('loyalty'); // its token shows that the first reconciles of the others are over
    await fresh.ready('loyalty');
    await eventually(
      () => testbed.operator.get('/metrics'),
      (text) => NAMES.every((name) => readyInMetrics(text, name)),
    );

    expect(shop.requests()).toEqual(found.requests);
    expect(large.requests()).toEqual(requestsOfLarge);
    const writes = (await testbed.audit.since(before)).filter(
      ({ verb, resource, namespace }) =>
        [shop.namespace, large.namespace].includes(namespace ?? '') &&
        resource === 'secrets' &&
        !/^(get|list)$/.test(verb),
    );
    expect(writes).toEqual([]);
    expect(await secrets()).toEqual(found.secrets);
    expect(await specs()).toMatchObject(found.specs);
    for (const name of NAMES) {
      expect([name, await shop.conditions(name)]).toMatchObject([
        name,
        { Ready: 'True/TokenValid' },
      ]);
    }
  });

  it('refuses a spec beyond the limits with a reason, keeps its token, and serves it when it is corrected', async () => {
    const conditions = await eventually(
      () => large.conditions('data'),
      ({ Stalled }) => Stalled !== undefined,
    );
    expect(conditions).toEqual({
      Ready: 'True/TokenValid',
      Renewed: 'False/InvalidSpec',
      Stalled: 'True/InvalidSpec',
    });
    expect(await large.message('data', 'Renewed')).toBe(
      'spec.target.data: keys and values have at most 16384 characters together',
    );
    expect(await large.conditions('asked')).toMatchObject({ Ready: 'True/TokenValid' });
    await large.credential('data', { target: { data: { token: '{{access_token}}' } } });
    const corrected = await eventually(
      () => large.conditions('data'),
      ({ Stalled }) => Stalled === undefined,
    );
    expect(corrected).toMatchObject({ Ready: 'True/TokenValid', Renewed: 'True/SpecChanged' });
  });

  it('tells those that merge to ask the owner of the Secret, whose consent costs nothing', async () => {
    const merging = NAMES.filter((name) => name.endsWith('-merge'));
    for (const name of merging) {
      const { Renewed, Stalled } = await shop.conditions(name);
      expect([Renewed, Stalled]).toEqual(['False/MergeNotAllowed', 'True/MergeNotAllowed']);
    }
    const before = shop.requests();
    const data = await secrets();
    for (const name of merging) await shop.allowMerge(secretOf(name), name);
    for (const name of merging) {
      const conditions = await eventually(
        () => shop.conditions(name),
        ({ Stalled }) => Stalled === undefined,
      );
      expect(conditions).toEqual({ Ready: 'True/TokenValid', Renewed: 'True/TokenValid' });
    }
    expect(shop.requests()).toEqual(before);
    expect((await secrets()).map((secret) => secret.data)).toEqual(data.map((each) => each.data));
  });

  const readyInMetrics = (text: string, name: string): boolean =>
    new RegExp(
      `^convercus_credential_ready\\{[^}]*namespace="${shop.namespace}"[^}]*name="${name}"[^}]*\\} 1$`,
      'm',
    ).test(text);

  it('keeps the credentials in the new CRD, which would also admit them as new', async () => {
    for (const { name, spec } of await specs()) {
      const object = { ...credentialObject(`${name}-2`, {}), spec };
      const input = JSON.stringify(object);
      const args = ['create', '--dry-run=server', '-n', shop.namespace, '-f', '-'];
      expect(await testbed.controlPlane.kubectl(args, { input })).toContain('created');
    }
  });

  it.each(['first', 'second'])(
    'renews all of them, with the sessions that are stored: the %s time',
    async (time) => {
      const before = { tokens: await Promise.all(NAMES.map(token)), requests: shop.requests() };
      await shop.kubectl(
        'annotate',
        'convercuscredentials',
        '--all',
        '--overwrite',
        `convercus.io/renew-requested-at=${time}`,
      );
      const isNew = (each: string | undefined, index: number): boolean =>
        each !== undefined && each !== before.tokens[index];
      const renewed = await eventually(
        () => Promise.all(NAMES.map(token)),
        (tokens) => tokens.every(isNew),
        90,
      );
      expect(NAMES.filter((_, index) => !isNew(renewed[index], index))).toEqual([]);
      const since = shop.requests().slice(before.requests.length);
      expect(count(since, 'refresh_token 200')).toBe(3);
      expect(since.filter((line) => line.startsWith('password'))).toEqual([]);
      expect(since.filter((line) => !line.endsWith(' 200'))).toEqual([]);
      await allReady(shop);
      for (const grant of Object.keys(GRANTS)) {
        expect(await shop.file(`${grant}-app`, 'password')).toBe('theirs');
      }
    },
  );

  it('refreshes on time with one login before and after', async () => {
    const before = count(busy.requests(), 'refresh_token 200');
    await eventually(
      async () => count(busy.requests(), 'refresh_token 200'),
      (refreshes) => refreshes > before + 1,
      90,
    );
    expect(count(busy.requests(), 'refresh_token 200')).toBeGreaterThan(before + 1);
    expect(new Set(busy.requests().slice(1))).toEqual(new Set(['refresh_token 200']));
    expect(busy.requests()[0]).toBe('password 200');
  });

  it('logs out what 0.1.0 has logged in, and keeps a target that is to be kept', async () => {
    const kept = await shop.target('user-retain-token');
    await shop.kubectl('delete', 'convercuscredentials', '--all');
    const { sessions } = testbed.provider.realms.get(shop.realm);
    expect(
      await eventually(
        async () => sessions.size,
        (size) => size === 0,
      ),
    ).toBe(0);
    const names = await eventually(
      async () => (await secrets()).map(({ metadata }) => metadata.name),
      (all) => all.every((name) => !name.endsWith('-session')),
    );
    expect(names.filter((name) => name.endsWith('-session'))).toEqual([]);
    expect((await shop.target('user-retain-token'))?.metadata.uid).toBe(kept?.metadata.uid);
  });
});
