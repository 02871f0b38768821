import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { eventually, expiryOf } from '../../dev/testbed/objects.ts';
import type { SpecOverrides, Tenant } from '../../dev/testbed/tenant.ts';
import { Testbed } from '../../dev/testbed/testbed.ts';
import { expectNoLeaks } from './leaks.ts';

const NOT_ALLOWED = { Renewed: 'False/MergeNotAllowed', Stalled: 'True/MergeNotAllowed' };

const into = (name: string, target: SpecOverrides['target'] = {}): SpecOverrides => ({
  target: { name, creationPolicy: 'Merge', ...target },
});

/** Targets with `creationPolicy: Merge`, and Secrets that look like something they are not. */
describe('the operator', () => {
  let testbed: Testbed;

  beforeAll(async () => {
    testbed = await Testbed.start();
  }, 600_000);

  afterAll(() => testbed?.stop());

  const told = (tenant: Tenant, name: string, reason: string) =>
    eventually(
      () => tenant.conditions(name),
      ({ Renewed }) => Renewed === `False/${reason}`,
    );

  const keysOf = async (tenant: Tenant, secret: string): Promise<string[]> =>
    Object.keys((await tenant.target(secret))?.data ?? {}).sort();

  it('merges into a Secret that allows it, and takes over no key of others', async () => {
    const shop = await testbed.tenant();
    await shop.credential('loyalty', into('app'));
    expect(await told(shop, 'loyalty', 'TargetMissing')).toMatchObject({
      Ready: 'False/TargetMissing',
    });
    await shop.secret('app', { password: 'theirs' });
    expect(await told(shop, 'loyalty', 'MergeNotAllowed')).toMatchObject(NOT_ALLOWED);
    expect(shop.requests()).toEqual([]);

    const command = /Its owner can: kubectl (.*)\.$/.exec(await shop.message('loyalty', 'Renewed'));
    await shop.kubectl(...(command?.[1]?.split(' ') ?? []));
    await shop.ready('loyalty');
    expect(await shop.file('app', 'password')).toBe('theirs');
    expect(expiryOf(await shop.token('app'))).toBeGreaterThan(Date.now());

    await shop.secret('other', { password: 'theirs' }, { 'convercus.io/merge': 'greedy' });
    await shop.credential('greedy', into('other', { data: { password: '{{access_token}}' } }));
    expect(await told(shop, 'greedy', 'TargetNotOurs')).toMatchObject({
      Renewed: 'False/TargetNotOurs',
    });
    expect(await shop.file('other', 'password')).toBe('theirs');
  });

  /** Finding H3. */
  it('adds nothing to a Secret that does not allow it, and no metadata to one that does', async () => {
    const shop = await testbed.tenant();
    await shop.secret('database', { DB_PASSWORD: '4711' });
    const before = await shop.target('database');
    const target = {
      labels: { 'argocd.argoproj.io/secret-type': 'repository' },
      annotations: { 'replicator.v1.mittwald.de/replicate-to': 'evil-namespace' },
      data: { LD_PRELOAD: '/tmp/evil.so', token: '{{access_token}}' },
    };
    await shop.credential('evil', into('database', target));
    expect(await told(shop, 'evil', 'MergeNotAllowed')).toMatchObject(NOT_ALLOWED);
    expect(await shop.target('database')).toEqual(before);
    expect(shop.requests()).toEqual([]);

    await shop.allowMerge('database', 'evil');
    await shop.ready('evil');
    const { metadata } = (await shop.target('database')) ?? {};
    expect(metadata?.labels).toBeUndefined();
    const names = Object.keys(metadata?.annotations ?? {});
    expect(
      names.filter((name) => !/^(convercus\.io|kubectl\.kubernetes\.io)\//.test(name)),
    ).toEqual([]);
  });

  /** Finding M2a: an apply of an equal value is no conflict. */
  it('does not tell a guess from the value that a Secret holds', async () => {
    const shop = await testbed.tenant();
    await shop.secret('database', { DB_PASSWORD: '4711' });
    const statuses = new Set<string>();
    for (const guess of ['0815', '1234', '4711', '47112', 'x']) {
      await shop.credential('guess', into('database', { data: { DB_PASSWORD: guess } }));
      await told(shop, 'guess', 'MergeNotAllowed');
      const text = JSON.stringify((await shop.get('guess')).status);
      statuses.add(text.replaceAll(/\d{4}-\d\d-\d\dT[\d:]+Z/g, 'TIME'));
      await shop.kubectl('delete', 'convcred', 'guess');
    }
    expect([...statuses]).toHaveLength(1);
    expect(await keysOf(shop, 'database')).toEqual(['DB_PASSWORD']);
  });

  it('goes on merging for a credential that was renamed', async () => {
    const shop = await testbed.tenant();
    await shop.secret('app', { password: 'theirs' }, { 'convercus.io/merge': 'old' });
    await shop.credential('old', into('app', { deletionPolicy: 'Retain' }));
    await shop.ready('old');
    const before = await shop.token('app');
    await shop.kubectl('delete', 'convcred', 'old');
    await shop.credential('new', into('app'));
    await told(shop, 'new', 'MergeNotAllowed');
    expect(await shop.token('app')).toBe(before);
    await shop.allowMerge('app', 'new');
    await shop.ready('new');
    expect((await shop.target('app'))?.metadata.annotations).toMatchObject({
      'convercus.io/credential': 'new',
    });
    expect(await shop.token('app')).toBe(before); // shared by all that present the same
    expect(await shop.file('app', 'password')).toBe('theirs');
  });

  /** Finding L18. */
  it('releases what it has merged when the credential goes, for the next one to take', async () => {
    const shop = await testbed.tenant();
    await shop.secret('app', { password: 'theirs' }, { 'convercus.io/merge': 'old' });
    await shop.credential('old', into('app'));
    await shop.ready('old');
    await shop.token('app');
    await shop.kubectl('delete', 'convcred', 'old');
    const keys = await eventually(
      () => keysOf(shop, 'app'),
      (found) => found.length === 1,
    );
    expect(keys).toEqual(['password']);
    const annotations = (await shop.target('app'))?.metadata.annotations ?? {};
    expect(Object.keys(annotations).filter((name) => name.startsWith('convercus.io/'))).toEqual([
      'convercus.io/merge',
    ]);

    await shop.credential('new', into('app'));
    await shop.allowMerge('app', 'new');
    await shop.ready('new');
    expect(await shop.token('app')).not.toBe('');
  });

  it('releases it at its next start when the credential went while it was down', async () => {
    const shop = await testbed.tenant();
    await shop.secret('gone', { password: 'theirs' }, { 'convercus.io/merge': 'gone' });
    await shop.credential('gone', into('gone'));
    await shop.secret('kept', { password: 'theirs' }, { 'convercus.io/merge': 'kept' });
    await shop.credential('kept', into('kept', { deletionPolicy: 'Retain' }));
    await shop.secret('living', { password: 'theirs' }, { 'convercus.io/merge': 'living' });
    await shop.credential('living', into('living'));
    for (const name of ['gone', 'kept', 'living']) {
      await shop.ready(name);
      await shop.token(name);
    }
    const before = { kept: await shop.target('kept'), living: await shop.target('living') };
    await testbed.operator.kill();
    await shop.kubectl('delete', 'convcred', 'gone', 'kept');
    await shop.kubectl('annotate', 'secret', 'gone', 'convercus.io/merge-');
    await testbed.operator.run();

    const keys = await eventually(
      () => keysOf(shop, 'gone'),
      (found) => found.length === 1,
    );
    expect(keys).toEqual(['password']);
    expect(await shop.target('kept')).toEqual(before.kept);
    expect(await shop.target('living')).toEqual(before.living);
  });

  /** Finding M3. */
  it('takes no Secret of another type for a session', async () => {
    const shop = await testbed.tenant();
    await shop.secret('database', { password: testbed.secrets[0] ?? '' });
    const facts = {
      credentialUid: 'u',
      environment: 'staging',
      realm: shop.realm,
      clientId: 'machine-2-machine',
      source: { name: 'database', key: 'password' },
      startedAt: 1,
      longest: 1,
    };
    const lookalike = {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: {
        name: 'loyalty-session',
        labels: {
          'app.kubernetes.io/managed-by': 'convercus-operator',
          'app.kubernetes.io/component': 'session',
          'convercus.io/credential': 'loyalty',
        },
      },
      stringData: {
        refresh_token: 'anything',
        username: 'anyone',
        'session.json': JSON.stringify(facts),
      },
    };
    await shop.apply(lookalike);
    const before = await shop.target('loyalty-session');
    await shop.credential('loyalty');
    await shop.ready('loyalty');
    await shop.kubectl('delete', 'convcred', 'loyalty');
    const last = await testbed.tenant();
    await last.credential('loyalty'); // its token shows that what went before is over
    await last.ready('loyalty');
    await last.token('loyalty-token');
    await shop.token('loyalty-token');
    expect(await shop.target('loyalty-session')).toEqual(before);
    expect(shop.requests()).toEqual(['client_credentials 200']);
  });

  it('has let no secret and no token out of Secrets', async () => {
    expect(testbed.tokens.length).toBeGreaterThan(0);
    await expectNoLeaks(testbed);
  });
});
