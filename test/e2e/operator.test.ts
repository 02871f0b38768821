import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { eventually, expiryOf } from '../../dev/testbed/objects.ts';
import { EARLY } from '../../dev/testbed/tenant.ts';
import { Testbed } from '../../dev/testbed/testbed.ts';
import { expectNoLeaks } from './leaks.ts';

/** Milliseconds in which the operator would have sent a request that it should not send. */
const TIME_TO_ASK = 2_000;

/** Against a real API server, as a user with exactly the permissions of `deploy/base/rbac.yaml`. */
describe('the operator', () => {
  let testbed: Testbed;

  beforeAll(async () => {
    testbed = await Testbed.start();
  }, 600_000);

  afterAll(() => testbed?.stop());

  it('turns a credential into a token Secret, at the price of one read, two writes and an event', async () => {
    const shop = await testbed.tenant();
    const before = await testbed.audit.length();
    await shop.credential('loyalty', {
      target: {
        labels: { 'example.com/team': 'shop' },
        data: {
          token: '{{access_token}}',
          header: 'Authorization: Bearer {{access_token}}',
          at: '{{expires_at}}',
        },
      },
    });
    await shop.ready('loyalty');

    const { metadata, type } = (await shop.target('loyalty-token')) ?? {};
    const text = await shop.token('loyalty-token');
    expect(expiryOf(text)).toBeGreaterThan(Date.now());
    expect(await shop.file('loyalty-token', 'header')).toBe(`Authorization: Bearer ${text}`);
    expect(type).toBe('convercus.io/token');
    expect(metadata?.labels).toMatchObject({
      'example.com/team': 'shop',
      'app.kubernetes.io/managed-by': 'convercus-operator',
      'convercus.io/credential': 'loyalty',
    });
    const credential = await shop.get('loyalty');
    expect(metadata?.ownerReferences).toMatchObject([
      { uid: credential.metadata.uid, controller: true },
    ]);
    expect(credential.status).toMatchObject({
      observedGeneration: 1,
      tokenUrl: testbed.provider.tokenUrl(shop.realm),
      target: { name: 'loyalty-token', resourceVersion: metadata?.resourceVersion },
    });
    expect(await shop.file('loyalty-token', 'at')).toBe(credential.status?.expiresAt);
    expect(
      await eventually(
        () => shop.events('loyalty'),
        (events) => events.length > 0,
      ),
    ).toEqual(['Normal TokenIssued']);
    const requests = (await testbed.audit.since(before)).filter(
      ({ namespace }) => namespace === shop.namespace,
    );
    expect(requests.map(({ verb, resource }) => `${verb} ${resource}`)).toEqual([
      'get secrets',
      'create secrets',
      'update convercuscredentials/status',
      'create events',
    ]);
    expect(shop.requests().length).toBe(1);
  });

  it('shows what people look for in kubectl get', async () => {
    const shop = await testbed.tenant();
    await shop.credential('loyalty');
    await shop.ready('loyalty');
    const [header = '', row = ''] = (await shop.kubectl('get', 'convcred', '-o', 'wide')).split(
      '\n',
    );
    expect(header.split(/\s+/)).toEqual([
      'NAME',
      'PROGRAM',
      'ENVIRONMENT',
      'READY',
      'STATUS',
      'RENEWED',
      'EXPIRES',
      'AGE',
      'GRANT',
      'TARGET',
      'RENEWS',
    ]);
    expect(row).toMatch(
      /^loyalty\s+T\d+\s+staging\s+True\s+TokenValid\s+Issued\s+20\S+Z\s+\d+s\s+client_credentials\s+loyalty-token\s+20\S+Z$/,
    );
  });

  it('renews before the token expires, with two writes each time and no further event', async () => {
    const shop = await testbed.tenant({ accessTokenLifespan: 10 });
    await shop.credential('loyalty', EARLY);
    await shop.ready('loyalty');
    // The event is sent after the status
    await eventually(
      () => shop.events('loyalty'),
      (events) => events.length > 0,
    );
    const before = await testbed.audit.length();
    const tokens = new Set<string>();
    await eventually(
      async () => {
        const readAt = Date.now();
        const text = await shop.token('loyalty-token');
        if (!(expiryOf(text) >= readAt)) throw new Error('an expired token was readable');
        tokens.add(text);
      },
      () => tokens.size >= 4,
    );
    expect(tokens.size).toBe(4);
    const requests = (await testbed.audit.since(before)).filter(
      ({ namespace }) => namespace === shop.namespace,
    );
    const kinds = new Set(requests.map(({ verb, resource }) => `${verb} ${resource}`));
    expect(kinds).toEqual(new Set(['update secrets', 'update convercuscredentials/status']));
    expect(await shop.events('loyalty')).toEqual(['Normal TokenIssued']);
  });

  it('requests one token for twenty credentials that present the same client secret in four namespaces', async () => {
    const first = await testbed.tenant();
    const namespaces = [first.namespace];
    for (const extra of ['a', 'b', 'c']) {
      const namespace = `${first.namespace}-${extra}`;
      await testbed.controlPlane.kubectl(['create', 'namespace', namespace]);
      namespaces.push(namespace);
    }
    const objects = namespaces.flatMap((namespace) => [
      {
        apiVersion: 'v1',
        kind: 'Secret',
        metadata: { name: 'source', namespace },
        stringData: { client_secret: first.clientSecret },
      },
      ...[1, 2, 3, 4, 5].map((n) => ({
        apiVersion: 'convercus.io/v1alpha1',
        kind: 'ConvercusCredential',
        metadata: { name: `loyalty-${n}`, namespace },
        spec: {
          program: first.program,
          environment: 'staging',
          credentialsSecretRef: { name: 'source' },
        },
      })),
    ]);
    const input = objects.map((object) => JSON.stringify(object)).join('\n---\n');
    await testbed.controlPlane.kubectl(['apply', '-f', '-'], { input });
    for (const namespace of namespaces) {
      await testbed.controlPlane.kubectl([
        'wait',
        '--for=condition=Ready',
        'convcred',
        '--all',
        '-n',
        namespace,
        '--timeout=90s',
      ]);
    }
    expect(first.requests().length).toBe(1);
  });

  it('waits for a Secret that is missing, incomplete or badly written, and goes on as soon as it is right', async () => {
    const shop = await testbed.tenant();
    const reason = (wanted: string) =>
      eventually(
        () => shop.conditions('loyalty'),
        ({ Ready }) => Ready === `False/${wanted}`,
      );
    await shop.credential('loyalty', { credentialsSecretRef: { name: 'later' } });
    expect(await reason('InputMissing')).toMatchObject({
      Ready: 'False/InputMissing',
      Stalled: 'True/InputMissing',
    });
    await shop.secret('later', { wrong_key: 'x' });
    await eventually(
      () => shop.message('loyalty', 'Renewed'),
      (text) => text.includes('has no key'),
    );
    expect(await shop.message('loyalty', 'Renewed')).toBe(
      'Secret "later" has no key "client_secret"; put the client secret there',
    );
    await shop.secret('later', { client_secret: `${shop.clientSecret}\n` });
    expect((await reason('InputInvalid'))['Ready']).toBe('False/InputInvalid');
    expect(shop.requests().length).toBe(0);
    expect(await shop.target('loyalty-token')).toBeUndefined();
    await shop.secret('later', { client_secret: shop.clientSecret });
    await shop.ready('loyalty');
    expect(await shop.conditions('loyalty')).toEqual({
      Ready: 'True/TokenValid',
      Renewed: 'True/Issued',
    });
    const events = await eventually(
      () => shop.events('loyalty'),
      (events) => events.length >= 4,
    );
    expect(events).toHaveLength(4);
    expect(events).toEqual(
      expect.arrayContaining(['Warning InputMissing', 'Warning InputInvalid', 'Normal Recovered']),
    );
  });

  it('sends one request with a wrong client secret, says so, and recovers when it is corrected', async () => {
    const shop = await testbed.tenant();
    await shop.secret('source', { client_secret: 'canary-wrong' });
    testbed.secrets.push('canary-wrong');
    await shop.credential('loyalty');
    await shop.credential('checkout');
    const rejected = {
      Ready: 'False/ClientSecretRejected',
      Renewed: 'False/ClientSecretRejected',
      Stalled: 'True/ClientSecretRejected',
    };
    for (const name of ['loyalty', 'checkout']) {
      expect(
        await eventually(
          () => shop.conditions(name),
          ({ Ready }) => Ready === rejected.Ready,
        ),
      ).toEqual(rejected);
    }
    await shop.kubectl('label', 'secret', 'source', 'touched=yes');
    await sleep(TIME_TO_ASK);
    expect(shop.requests().length).toBe(1);
    await shop.secret('source', { client_secret: shop.clientSecret });
    await shop.ready('loyalty');
    await shop.ready('checkout');
    expect(shop.requests().length).toBe(2);
  });

  it('renews on request, once per value', async () => {
    const shop = await testbed.tenant();
    await shop.credential('loyalty');
    await shop.ready('loyalty');
    const text = await shop.token('loyalty-token');
    await shop.kubectl('annotate', 'convcred', 'loyalty', 'convercus.io/renew-requested-at=now');
    await eventually(
      () => shop.file('loyalty-token'),
      (file) => file !== text,
    );
    expect(await shop.token('loyalty-token')).not.toBe(text);
    await eventually(
      () => shop.get('loyalty'),
      ({ status }) => status?.lastHandledRenewRequest === 'now',
    );
    await shop.kubectl('annotate', 'convcred', 'loyalty', 'example.com/other=change');
    await shop.kubectl(
      'annotate',
      'convcred',
      'loyalty',
      'convercus.io/renew-requested-at=now',
      '--overwrite',
    );
    await shop.kubectl('label', 'secret', 'source', 'touched=yes');
    await sleep(TIME_TO_ASK);
    expect(shop.requests().length).toBe(2);
  });

  it('does nothing while it is suspended', async () => {
    const shop = await testbed.tenant();
    await shop.credential('loyalty', { suspend: true });
    const conditions = await eventually(
      () => shop.conditions('loyalty'),
      ({ Ready }) => Ready !== undefined,
    );
    expect(conditions).toEqual({ Ready: 'False/Suspended', Renewed: 'Unknown/Suspended' });
    expect(shop.requests().length).toBe(0);
    await shop.credential('loyalty', { suspend: false });
    await shop.ready('loyalty');
  });

  it('follows a change of the spec', async () => {
    const shop = await testbed.tenant();
    await shop.credential('loyalty');
    await shop.ready('loyalty');
    await shop.credential('loyalty', { target: { data: { jwt: '{{access_token}}' } } });
    await eventually(
      () => shop.file('loyalty-token', 'jwt'),
      (file) => file !== undefined,
    );
    expect(Object.keys((await shop.target('loyalty-token'))?.data ?? {})).toEqual(['jwt']);
    await shop.credential('loyalty', {
      environment: 'nowhere',
      target: { data: { jwt: '{{access_token}}' } },
    });
    const invalid = await eventually(
      () => shop.conditions('loyalty'),
      ({ Renewed }) => Renewed?.startsWith('False') === true,
    );
    expect(invalid).toEqual({
      Ready: 'True/TokenValid',
      Renewed: 'False/InvalidSpec',
      Stalled: 'True/InvalidSpec',
    });
    expect(await shop.message('loyalty', 'Renewed')).toContain(
      'use staging, production or another one',
    );
  });

  it('says what it is doing on its operations port', async () => {
    expect(await testbed.operator.get('/livez')).toContain('ok');
    const metrics = await testbed.operator.get('/metrics');
    for (const name of [
      'convercus_credential_ready{namespace="',
      'convercus_credential_token_expiry_timestamp_seconds{',
      'convercus_credential_stalled{',
      'convercus_token_requests_total{',
      'convercus_token_request_duration_seconds_bucket{',
      'convercus_renewals_total{',
      'workqueue_depth{',
      'controller_runtime_reconcile_total{',
      'rest_client_requests_total{',
      'leader_election_master_status{',
    ]) {
      expect(metrics).toContain(name);
    }
  });

  it('has let no secret and no token out of Secrets', async () => {
    expect(testbed.tokens.length).toBeGreaterThan(10);
    await expectNoLeaks(testbed);
  });

  it('stops cleanly on SIGTERM and hands the Lease back', async () => {
    await testbed.operator.kill();
    expect(await testbed.operator.log()).toContain('Stopped');
    expect(await testbed.leader()).toBe('');
  });
});
