import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { eventually } from '../../dev/testbed/objects.ts';
import type { Tenant } from '../../dev/testbed/tenant.ts';
import type { Testbed } from '../../dev/testbed/testbed.ts';
import { expectNoSecretIn, Person, personWith, testbedWithPeople } from './person.ts';

describe('kubectl convercus', () => {
  let testbed: Testbed;
  let tenant: Tenant;
  let viewer: Person;
  let editor: Person;
  let stranger: Person;

  beforeAll(async () => {
    testbed = await testbedWithPeople();
    tenant = await testbed.tenant();
    viewer = personWith(testbed, 'viewer', tenant.namespace);
    editor = personWith(testbed, 'editor', tenant.namespace);
    stranger = personWith(testbed, 'stranger', tenant.namespace);
    await tenant.credential('loyalty');
    await tenant.ready('loyalty');
  }, 600_000);

  afterAll(async () => {
    try {
      if (tenant !== undefined) await expectNoSecretIn(testbed, tenant);
    } finally {
      await testbed?.stop();
    }
  });

  it('lists what a viewer may see', async () => {
    const { code, out } = await viewer.cli('list');
    expect(out.split('\n')[0]).toMatch(/^NAME +PROGRAM +READY +RENEWAL +TOKEN +NEXT$/);
    expect(out).toMatch(/^loyalty +T1 staging +yes +ok +\d+m\d*s? left +in \d+m/m);
    expect(code).toBe(0);
    const all = await viewer.cli('list', '-A', '-o', 'json');
    expect(JSON.parse(all.out)).toEqual([
      expect.objectContaining({
        namespace: tenant.namespace,
        name: 'loyalty',
        ready: true,
        renewal: 'ok',
      }),
    ]);
    expect((await viewer.cli('list', '--not-ready')).out).toBe(
      `None of the 1 ConvercusCredentials of namespace ${tenant.namespace} is like that.\n`,
    );
    expect((await viewer.cli('list', '--expiring', '2h')).out).toContain('loyalty');
  });

  it('tells the status to a viewer, who may not see Secrets', async () => {
    const { code, out } = await viewer.cli('status', 'loyalty');
    expect(code).toBe(0);
    expect(out).toMatch(/^loyalty \(shop-1\) {3}T1 · staging · client_credentials · http/);
    expect(out).toMatch(/^Token {7}valid, \d+m/m);
    expect(out).toMatch(/^Renewal {5}ok, next /m);
    expect(out).toContain(
      'Source      Secret source, key client_secret; you may not read Secrets in shop-1',
    );
    expect(out).toMatch(/^Consumers {3}no pod uses the target/m);
    expect(out).toMatch(/^Events {6}/m);
  });

  it('tells an editor when the Secrets were changed, and by what', async () => {
    const { out } = await editor.cli('status', 'loyalty');
    expect(out).toMatch(/^Source {6}Secret source, key client_secret, changed \S+Z by kubectl/m);
    expect(out).toMatch(
      /^Target {6}Secret loyalty-token, key token \(Owner, Delete\), changed \S+Z by convercus-operator/m,
    );
  });

  it('tells the status as data', async () => {
    const { out } = await editor.cli('status', 'loyalty', '-o', 'json');
    expect(JSON.parse(out)).toMatchObject({
      name: 'loyalty',
      ready: true,
      source: { name: 'source', state: 'there' },
      target: { name: 'loyalty-token', state: 'there' },
      consumers: [],
    });
    expect((await editor.cli('status', 'loyalty', '-o', 'yaml')).out).toContain('\nready: true\n');
  });

  it('watches until Ctrl-C', async () => {
    const { code, out } = await viewer
      .with({ signal: AbortSignal.timeout(15_000), types: [] })
      .cli('status', 'loyalty', '--watch');
    const screens = out.split('\u001b[H\u001b[2J').slice(1);
    expect([code, screens.length > 1]).toEqual([0, true]);
    for (const screen of screens) expect(screen).toMatch(/^loyalty \(shop-1\)/);
  });

  it('tells a script that it was ended by Ctrl-C', async () => {
    const ended = viewer.with({ signal: AbortSignal.abort() });
    const { code, out } = await ended.cli('list');
    expect([code, out]).toEqual([130, '']);
  });

  it('renews, and waits for it', async () => {
    const before = await tenant.file('loyalty-token');
    const { code, out } = await editor.cli('renew', 'loyalty', '--wait', '90s');
    expect([code, out]).toEqual([0, 'shop-1/loyalty: renewed\n']);
    expect(await tenant.file('loyalty-token')).not.toBe(before);
  });

  it('asks before it renews all, and tells how long it takes', async () => {
    const asked = await editor.with({ types: ['n'] }).cli('renew', '-A');
    expect(asked.err).toContain(
      'This renews 1 credential of the whole cluster. The operator sends at most 5 requests a second to a token host, so it takes about 0s. Go on? [y/N] ',
    );
    expect(asked.code).toBe(1);
    const piped = await editor.cli('renew', '-A');
    expect([piped.code, piped.err]).toEqual([2, expect.stringContaining('add --yes')]);
    const yes = await editor.cli('renew', '-A', '--yes');
    expect([yes.code, yes.out]).toEqual([0, expect.stringContaining('renewal requested')]);
  });

  it('asks before it suspends all', async () => {
    const asked = await editor.with({ types: ['n'] }).cli('suspend', '-A');
    expect(asked.err).toContain(
      'This suspends 1 credential of the whole cluster. Tokens then expire without a renewal. Go on? [y/N] ',
    );
    const piped = await editor.cli('suspend', '-A');
    expect([asked.code, piped.code]).toEqual([1, 2]);
    expect((await editor.cli('status', 'loyalty')).out).not.toContain('suspended');
  });

  it('suspends and resumes', async () => {
    const { out } = await editor.cli('suspend', 'loyalty');
    expect(out).toMatch(/^shop-1\/loyalty: suspended; its token expires /);
    await eventually(
      () => editor.cli('status', 'loyalty'),
      ({ out }) => out.includes('suspended: the token is not renewed'),
    );
    const status = await editor.cli('status', 'loyalty');
    expect(status.out).toContain('Do          go on: kubectl convercus resume loyalty -n shop-1');
    expect((await editor.cli('renew', 'loyalty', '--wait')).out).toContain(
      'suspended, renewed when it is resumed',
    );
    expect((await editor.cli('suspend', 'loyalty')).out).toContain('was suspended before');
    expect((await editor.cli('resume', 'loyalty')).out).toBe('shop-1/loyalty: resumed\n');
    // Also the renewal that was asked for during the suspension: later tests read one token twice
    await eventually(
      () => tenant.get('loyalty'),
      ({ metadata, status }) =>
        status?.lastHandledRenewRequest ===
        metadata.annotations?.['convercus.io/renew-requested-at'],
    );
  });

  it('shows claims, and only the command token shows the token', async () => {
    const inspected = await editor.cli('inspect', 'loyalty');
    expect(inspected.out).toMatch(/^Issuer {6}http/m);
    expect(inspected.out).toMatch(/^Expires {5}\S+Z \(in \d+m/m);
    expect(inspected.code).toBe(0);
    // The renewal that was asked for during the suspension may come in between
    const [token, piped] = await eventually(
      async () => {
        const cli = await editor.cli('token', 'loyalty', '--header');
        return [await tenant.file('loyalty-token'), cli] as const;
      },
      ([token, { out }]) => out === `Authorization: Bearer ${token}\n`,
    );
    expect([piped.out === `Authorization: Bearer ${token}\n`, piped.err]).toEqual([true, '']);
    const shown = await editor.with({ types: [] }).cli('token', 'loyalty');
    expect([shown.out === `${token}\n`, shown.err]).toEqual([
      true,
      expect.stringContaining('this is a secret'),
    ]);
  });

  it('shows no client id that comes from a Secret', async () => {
    const { clientSecret } = tenant;
    await tenant.secret('with-id', { client_id: 'machine-2-machine', client_secret: clientSecret });
    const keys = { clientSecret: 'client_secret', username: 'u', password: 'p', org: 'o' };
    const ref = { name: 'with-id', keys: { ...keys, clientId: 'client_id' } };
    await tenant.credential('hidden', { credentialsSecretRef: ref });
    await tenant.ready('hidden');
    for (const args of [
      ['inspect', 'hidden'],
      ['inspect', 'hidden', '-o', 'json'],
      ['status', 'hidden'],
    ]) {
      const { code, out } = await editor.cli(...args);
      expect([code, out]).toEqual([0, expect.not.stringContaining('machine-2-machine')]);
    }
    // The same text is no secret of the other credentials
    await tenant.kubectl('delete', 'convercuscredential', 'hidden');
    await tenant.kubectl('delete', 'secret', 'with-id');
  });

  it.each([
    [
      ['inspect', 'loyalty'],
      'You may not get secrets "loyalty-token" in namespace "shop-1"; ask an administrator for the right, and check with: kubectl auth can-i get secrets -n shop-1',
    ],
    [['token', 'loyalty'], 'You may not get secrets "loyalty-token"'],
    [
      ['renew', 'loyalty'],
      'You may not patch convercuscredentials.convercus.io "loyalty" in namespace "shop-1"; ask an administrator',
    ],
    [
      ['status', 'lojalty'],
      'There is no ConvercusCredential "lojalty" in namespace "shop-1"; see those that are there: kubectl convercus list -n shop-1',
    ],
  ])('tells a viewer in one sentence why not: %j', async (args, sentence) => {
    const { code, out, err } = await viewer.cli(...args);
    expect([code, out, err.split('\n').length]).toEqual([3, '', 2]);
    expect(err).toContain(sentence);
  });

  it('tells a person without rights so', async () => {
    const { code, err } = await stranger.cli('list');
    expect([code, err]).toEqual([
      3,
      'You may not list convercuscredentials.convercus.io in namespace "shop-1"; ask an administrator for the right, and check with: kubectl auth can-i list convercuscredentials.convercus.io -n shop-1\n',
    ]);
  });

  it('tells that there is no cluster', async () => {
    const { code, err } = await new Person({}).cli('list', '--kubeconfig', '/nowhere/config');
    expect([code, err]).toEqual([
      3,
      expect.stringMatching(/^The kubeconfig \/nowhere\/config can't be read \(ENOENT\)/),
    ]);
    const other = await viewer.cli('list', '--context', 'moon');
    expect([other.code, other.err]).toEqual([3, expect.stringContaining('no context "moon"')]);
  });

  it.each([
    [['list', '--expiring', 'soon'], '"soon" is no time; write one such as 30s, 5m or 1h30m'],
    [['list', '-o', 'wide'], 'There is no output format "wide"; use json or yaml'],
    [['renew'], 'Which ones? Give names, or a selector (-l team=shop), or all of the cluster (-A)'],
    [['renew', '-l', 'a=b=c'], "The selector can't be used"],
    [['renew', 'a', '-A'], 'only one of them'],
    [['lst'], "unknown command 'lst'"],
  ])('refuses %j', async (args, sentence) => {
    const { code, err } = await viewer.cli(...args);
    expect([code, err]).toEqual([2, expect.stringContaining(sentence)]);
  });
});
