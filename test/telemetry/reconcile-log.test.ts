import { createHash } from 'node:crypto';
import { beforeEach, describe, expect, it } from '@jest/globals';
import type { ConvercusCredential } from '../../src/credential/api.ts';
import type { ClusterConvercusCredential } from '../../src/credential/cluster-api.ts';
import type { LogFields } from '../../src/lib/log.ts';
import { Sensitive } from '../../src/lib/sensitive.ts';
import { minutes, seconds } from '../../src/lib/time.ts';
import type { TokenRequest } from '../../src/oauth/grants.ts';
import type { Token } from '../../src/oauth/token.ts';
import { ReconcileLog } from '../../src/telemetry/reconcile-log.ts';
import { aCredential, CANARY, START } from '../support/builders.ts';
import { aClusterCredential } from '../support/cluster-world.ts';
import { FakeClock } from '../support/fake-clock.ts';

interface Line extends LogFields {
  readonly level: string;
  readonly message: string;
}

const base64 = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');

const CREDENTIAL = aCredential();
const KEY = 'shop/loyalty';
const REQUEST: TokenRequest = {
  grantType: 'client_credentials',
  environment: 'staging',
  realm: 'abc-staging',
  tokenUrl: 'https://id.test/token',
  clientId: 'machine-2-machine',
  clientSecret: new Sensitive(CANARY),
  scope: 'openid',
};

const tokenOf = (text: string): Token => ({
  accessToken: new Sensitive(text),
  tokenType: 'Bearer',
  scope: 'openid',
  issuedAt: START,
  expiresAt: START + minutes(30),
  jitter: 0,
  notBefore: 0,
});

describe('the log of reconciles', () => {
  let clock: FakeClock;
  let lines: Line[];
  let audited: Line[];
  let reconciles: ReconcileLog;

  const noteIn =
    (all: () => Line[], level: string) =>
    (message: string, fields: LogFields = {}): void => {
      all().push({ ...fields, level, message });
    };
  const logInto = (all: () => Line[]) => ({
    debug: noteIn(all, 'debug'),
    info: noteIn(all, 'info'),
    warn: noteIn(all, 'warn'),
    error: noteIn(all, 'error'),
  });

  beforeEach(() => {
    clock = new FakeClock();
    lines = [];
    audited = [];
    let count = 0;
    reconciles = new ReconcileLog({
      log: logInto(() => lines),
      audit: logInto(() => audited),
      clock,
      newID: () => `id-${(count += 1)}`,
    });
  });

  const reconcile = (
    work: () => unknown,
    credential: ConvercusCredential | ClusterConvercusCredential = CREDENTIAL,
  ): Promise<unknown> =>
    reconciles.run(KEY, credential, async () => {
      await work();
      return { requeueAt: START + seconds(90) };
    });

  it('has one line for each at debug, and the same reconcileID in all lines of one', async () => {
    await Promise.all([
      reconcile(async () => {
        reconciles.log.warn('before');
        await Promise.resolve();
        reconciles.log.info('after', { namespace: 'shop' });
      }),
      reconcile(() => reconciles.log.info('another')),
    ]);
    reconciles.log.info('outside');
    const done = { key: KEY, requeueAt: '2026-09-21T12:01:30Z', seconds: 0 };
    expect(
      lines.toSorted((a, b) => (`${a['reconcileID']}` < `${b['reconcileID']}` ? -1 : 1)),
    ).toEqual([
      { level: 'warn', message: 'before', reconcileID: 'id-1' },
      { level: 'info', message: 'after', namespace: 'shop', reconcileID: 'id-1' },
      { level: 'debug', message: 'Reconciled', ...done, reconcileID: 'id-1' },
      { level: 'info', message: 'another', reconcileID: 'id-2' },
      { level: 'debug', message: 'Reconciled', ...done, reconcileID: 'id-2' },
      { level: 'info', message: 'outside' },
    ]);
  });

  it('tells each renewal, up to 10 a second, and the sums of the others a minute later', async () => {
    for (let n = 0; n < 13; n += 1) {
      await reconcile(() =>
        reconciles.renewal('RenewalDue', n === 11 ? 'NetworkError' : 'success'),
      );
    }
    const told = () => lines.filter(({ level }) => level === 'info');
    const where = { namespace: 'shop', name: 'loyalty', program: 'ABC', environment: 'staging' };
    expect(told()).toHaveLength(10);
    expect(told()[0]).toEqual({
      level: 'info',
      message: 'Token renewed',
      ...where,
      reason: 'RenewalDue',
      outcome: 'success',
      reconcileID: 'id-1',
    });
    await clock.advance(minutes(1));
    const sum = { level: 'info', message: 'More renewals', program: 'ABC' };
    expect(told().slice(10)).toEqual([
      { ...sum, outcome: 'success', count: 2 },
      { ...sum, outcome: 'NetworkError', count: 1 },
    ]);
    await reconcile(() => reconciles.renewal('RenewalDue', 'RateLimited'));
    expect(told().at(-1)).toMatchObject({ message: 'Renewal failed', outcome: 'RateLimited' });
    expect(clock.timers).toBe(0);
  });

  it('names a missing permission once for each verb and resource, then counts', async () => {
    for (const resource of ['secrets', 'secrets', 'events', 'secrets']) {
      reconciles.permissionDenied('patch', resource, `may not patch ${resource}`);
    }
    const fields = { level: 'warn', verb: 'patch', code: '403' };
    expect(lines).toEqual([
      { ...fields, resource: 'secrets', message: 'may not patch secrets' },
      { ...fields, resource: 'events', message: 'may not patch events' },
    ]);
    reconciles.close();
    expect(lines.slice(2)).toEqual([
      { ...fields, resource: 'secrets', message: 'More requests were refused', count: 2 },
    ]);
    expect(clock.timers).toBe(0);
  });

  it('tells who got which token to the audit log, and nothing of the token', async () => {
    const jwt = `${base64({ alg: 'none' })}.${base64({ jti: `${CANARY}-jti` })}.${CANARY}`;
    await reconcile(() => reconciles.tokenIssued(REQUEST, tokenOf(jwt)));
    expect(audited).toEqual([
      {
        level: 'info',
        message: 'Token issued',
        program: 'ABC',
        environment: 'staging',
        grantType: 'client_credentials',
        clientId: 'machine-2-machine',
        expiresAt: '2026-09-21T12:30:00Z',
        jtiSHA256: createHash('sha256').update(`${CANARY}-jti`).digest('hex'),
        reconcileID: 'id-1',
      },
    ]);
    expect(JSON.stringify([audited, lines])).not.toContain(CANARY);
  });

  it('tells the program of a cluster credential, whose key logs in for all its namespaces', async () => {
    await reconcile(() => reconciles.tokenIssued(REQUEST, tokenOf(CANARY)), aClusterCredential());
    expect(audited).toMatchObject([{ program: 'ABC' }]);
  });

  it('tells of a token that is no JWT all but its jti', () => {
    reconciles.tokenIssued(REQUEST, tokenOf(CANARY));
    expect(audited).toMatchObject([{ environment: 'staging', jtiSHA256: undefined }]);
  });

  it('has no audit log by default', async () => {
    const silent = new ReconcileLog({ log: logInto(() => lines), clock, newID: () => 'id' });
    silent.tokenIssued(REQUEST, tokenOf(CANARY));
    expect(lines).toEqual([]);
  });
});
