import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import type { Check } from '../../src/cli/doctor/check.ts';
import { networkChecks } from '../../src/cli/doctor/network.ts';
import { selfSigned } from '../oauth/self-signed.ts';
import { startSilentServer } from '../support/silent-server.ts';

const DAY = 24 * 60 * 60 * 1_000;

/** What `doctor` finds at a host with TLS. A certificate that signs itself is its own authority. */
describe('DNS, TLS and clock', () => {
  let dir: string;
  let server: Server | undefined;
  let requests = 0;

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'cli-tls-'));
  });

  afterEach(() => {
    server?.closeAllConnections();
    server?.close();
    server = undefined;
  });

  afterAll(() => rm(dir, { recursive: true }));

  async function checks(
    certificate: ReturnType<typeof selfSigned>,
    { trusted = true, date = new Date(), host = '127.0.0.1' } = {},
  ): Promise<Record<string, Check>> {
    requests = 0;
    server = createServer({ ...certificate }, (_, response) => {
      requests += 1;
      response.setHeader('date', date.toUTCString());
      response.end();
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    const url = `https://${host}:${typeof address === 'object' ? address?.port : 0}/realms/abc`;
    const caFile = trusted ? join(dir, 'ca.pem') : '';
    if (trusted) await writeFile(caFile, certificate.cert);
    const environment = { name: 'staging', realm: '', tokenUrl: url, loginUrl: '', apiUrl: '' };
    const found = await networkChecks({ ...environment, insecureHttp: false, caFile }, url, {
      proxy: '',
      now: Date.now,
    });
    return Object.fromEntries(found.map((check) => [check.name, check]));
  }

  it('trusts a certificate by caFile of the environment', async () => {
    const { DNS, TLS, Clock } = await checks(selfSigned());
    expect([DNS?.result, Clock?.result]).toEqual(['ok', 'ok']);
    expect(TLS).toEqual({
      name: 'TLS',
      result: 'ok',
      text: expect.stringMatching(
        /^certificate of [0-9a-f]{12} is trusted, valid for \d+d(\d+h)?$/,
      ),
    });
  });

  it('tells that a certificate ends soon', async () => {
    const until = new Date(Date.now() + 3.5 * DAY).toISOString();
    const { TLS } = await checks(selfSigned({ until }));
    expect([TLS?.result, TLS?.text]).toEqual([
      'ok',
      expect.stringMatching(/valid for 3d1\dh only$/),
    ]);
  });

  it.each([
    {
      what: 'one that nothing here trusts',
      certificate: selfSigned(),
      trusted: false,
      code: 'DEPTH_ZERO_SELF_SIGNED_CERT',
      presented:
        /certificate of [0-9a-f]{12}, issued by [0-9a-f]{12}, for IP Address:127.0.0.1, valid until 2100-01-01T00:00:00Z/,
    },
    {
      what: 'an expired one',
      certificate: selfSigned({ until: '2024-02-29T12:00:00Z' }),
      trusted: true,
      code: 'CERT_HAS_EXPIRED',
      presented: /valid until 2024-02-29T12:00:00Z/,
    },
    {
      what: 'that of another host',
      certificate: selfSigned({ names: ['auth.example.com'] }),
      trusted: true,
      code: 'ERR_TLS_CERT_ALTNAME_INVALID',
      presented: /for DNS:auth.example.com, valid until/,
    },
  ])('refuses $what, and tells what was presented', async (given) => {
    const { TLS, Clock } = await checks(given.certificate, { trusted: given.trusted });
    expect(TLS).toEqual({
      name: 'TLS',
      result: 'fail',
      reason: 'TLSError',
      text: expect.stringMatching(
        new RegExp(
          `^The certificate or TLS handshake of 127.0.0.1:\\d+ was refused .${given.code}.`,
        ),
      ),
      help: expect.stringMatching(given.presented),
    });
    expect([Clock, requests]).toEqual([undefined, 0]);
  });

  it('asks by the name of the host', async () => {
    const certificate = selfSigned({ names: ['localhost'] });
    expect((await checks(certificate, { host: 'localhost' }))['TLS']?.result).toBe('ok');
  });

  it('tells that the clocks differ', async () => {
    const { Clock } = await checks(selfSigned(), { date: new Date(Date.now() - DAY) });
    expect(Clock).toMatchObject({
      result: 'fail',
      text: expect.stringMatching(
        /^differs from that of the server by 864\d\d s \(the one here is ahead\)$/,
      ),
    });
  });

  it('tells that the host does not answer', async () => {
    await using silent = await startSilentServer();
    const url = `http://127.0.0.1:${silent.port}/realms/abc`;
    const environment = { name: 'staging', realm: '', tokenUrl: url, loginUrl: '', apiUrl: '' };
    const checks = await networkChecks({ ...environment, insecureHttp: true, caFile: '' }, url, {
      proxy: '',
      now: Date.now,
      timeout: 200,
    });
    expect(checks[1]).toEqual({
      name: 'Connection',
      result: 'fail',
      reason: 'NetworkError',
      text: expect.stringMatching(
        /^127\.0\.0\.1:\d+ cannot be reached: no whole answer in time \(TIMEOUT\)/,
      ),
    });
  });
});
