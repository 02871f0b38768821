import { lookup } from 'node:dns/promises';
import { readFile } from 'node:fs/promises';
import { request as plainRequest } from 'node:http';
import { request as tlsRequest } from 'node:https';
import tls, { TLSSocket } from 'node:tls';
import type { Failure } from '../../lib/failure.ts';
import { type EpochMs, hours, type Ms, parseTime, seconds } from '../../lib/time.ts';
import type { Environment } from '../../oauth/environment.ts';
import { networkFailure, toFailure } from '../../oauth/network-errors.ts';
import { duration } from '../output.ts';
import { certificateText, nameOf, presentedCertificate } from './certificate.ts';
import { type Check, fail, failure, ok, skip } from './check.ts';

const TIMEOUT: Ms = seconds(10);
const SKEW: Ms = seconds(30);
const SOON: Ms = hours(24 * 14);

/** What one request for `/` of a host shows, before any secret is sent there. */
interface Probe {
  readonly certificate?: { readonly subject: string; readonly validTo: EpochMs | undefined };
  /** The server's clock minus ours. Absent when it does not tell. */
  readonly skew?: Ms;
}

interface NetworkOptions {
  readonly proxy: string;
  readonly now: () => EpochMs;
  readonly timeout?: Ms;
}

/** DNS, connection and TLS, and the clock of a token host. */
export async function networkChecks(
  environment: Environment,
  tokenUrl: string,
  { proxy, now, timeout = TIMEOUT }: NetworkOptions,
): Promise<Check[]> {
  const url = new URL(tokenUrl);
  if (proxy !== '' && url.protocol === 'https:') {
    return [
      skip('Network', 'a proxy is set (HTTPS_PROXY): the token request shows whether it works'),
    ];
  }
  const addresses = await lookup(url.hostname.replace(/^\[|\]$/g, ''), { all: true }).catch(
    (error: unknown) => toFailure(error, url.host),
  );
  if (!Array.isArray(addresses)) return [failure('DNS', addresses.kind, addresses.message)];
  const named = ok(
    'DNS',
    `${url.hostname} is ${addresses.map(({ address }) => address).join(', ')}`,
  );
  const signal = AbortSignal.timeout(timeout);
  const probe = await probed(environment, url, { now, signal }).catch((error: unknown) =>
    signal.aborted ? networkFailure('TIMEOUT', url.host) : toFailure(error, url.host),
  );
  if ('kind' in probe) return [named, await connectionFailure(probe, url, now())];
  return [named, tlsCheck(probe, now()), ...clockChecks(probe)];
}

async function connectionFailure(
  { kind, message }: Failure,
  url: URL,
  now: EpochMs,
): Promise<Check> {
  if (kind !== 'TLSError') return failure('Connection', kind, message);
  const presented = await presentedCertificate(url);
  const help =
    presented === undefined
      ? undefined
      : `The server presents the ${certificateText(presented, now)}.`;
  return failure('TLS', kind, message, help);
}

async function probed(
  environment: Environment,
  url: URL,
  { now, signal }: { readonly now: () => EpochMs; readonly signal: AbortSignal },
): Promise<Probe> {
  const ca = environment.caFile === '' ? undefined : await readFile(environment.caFile, 'utf8');
  const options = {
    method: 'HEAD',
    agent: false,
    signal,
    ...(ca === undefined ? {} : { ca: [...tls.getCACertificates('default'), ca] }),
  };
  return new Promise((resolve, reject) => {
    const send = url.protocol === 'https:' ? tlsRequest : plainRequest;
    const request = send(new URL('/', url), options, (response) => {
      response.resume();
      const date = parseTime(response.headers.date);
      resolve({
        ...certificateOf(response.socket),
        ...(date === undefined ? {} : { skew: date - now() }),
      });
    });
    request.on('error', reject).end();
  });
}

function certificateOf(socket: unknown): Pick<Probe, 'certificate'> {
  if (!(socket instanceof TLSSocket)) return {};
  const { subject, valid_to: validTo } = socket.getPeerCertificate();
  return {
    certificate: {
      subject: nameOf(subject),
      validTo: parseTime(validTo),
    },
  };
}

function tlsCheck({ certificate }: Probe, now: EpochMs): Check {
  if (certificate === undefined)
    return skip('TLS', 'plain HTTP, as insecureHttp of the environment allows');
  const { subject, validTo } = certificate;
  const left = validTo === undefined ? '' : `, valid for ${duration(validTo - now)}`;
  const isSoon = validTo !== undefined && validTo - now < SOON;
  return ok('TLS', `certificate of ${subject} is trusted${left}${isSoon ? ' only' : ''}`);
}

function clockChecks({ skew }: Probe): Check[] {
  if (skew === undefined) return [skip('Clock', 'the server does not tell its time')];
  const text = `differs from that of the server by ${(Math.abs(skew) / 1_000).toFixed(0)} s`;
  if (Math.abs(skew) <= SKEW) return [ok('Clock', text)];
  return [
    fail(
      'Clock',
      `${text} (the one here is ${skew > 0 ? 'behind' : 'ahead'})`,
      'Check NTP on the machine or node.',
    ),
  ];
}
