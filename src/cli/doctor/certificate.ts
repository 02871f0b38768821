import { connect, type PeerCertificate, type TLSSocket } from 'node:tls';
import { type EpochMs, type Ms, parseTime, seconds } from '../../lib/time.ts';
import { clockTime, plain } from '../output.ts';

const TIMEOUT: Ms = seconds(5);

/** In words: whose it is, who signed it, for which names, and until when. */
export function certificateText(
  { subject, issuer, subjectaltname, valid_to: validTo }: PeerCertificate,
  now: EpochMs,
): string {
  const until = parseTime(validTo);
  return [
    `certificate of ${nameOf(subject)}`,
    `issued by ${nameOf(issuer)}`,
    `for ${plain(subjectaltname ?? 'no host', 200)}`,
    ...(until === undefined ? [] : [`valid until ${clockTime(until, now)}`]),
  ].join(', ');
}

/** The common name, else the organization. A field that occurs several times is a list. */
export const nameOf = (subject: PeerCertificate['subject'] | undefined): string =>
  plain(String(subject?.CN ?? subject?.O ?? 'no name'), 120);

/** The certificate that a server presents, trusted or not; nothing is sent to it. Undefined when there is none. */
export async function presentedCertificate(url: URL): Promise<PeerCertificate | undefined> {
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const options = { host, port: Number(url.port || 443), rejectUnauthorized: false };
  const isName = !/^[\d.]+$|:/.test(host);
  const socket = connect({ ...options, ...(isName ? { servername: host } : {}) });
  try {
    return await certificateOf(socket);
  } finally {
    socket.destroy();
  }
}

const certificateOf = (socket: TLSSocket): Promise<PeerCertificate | undefined> =>
  new Promise((resolve) => {
    socket.once('secureConnect', () => {
      const certificate = socket.getPeerCertificate();
      resolve(Object.hasOwn(certificate, 'valid_to') ? certificate : undefined);
    });
    socket.once('error', () => resolve(undefined));
    socket.setTimeout(TIMEOUT, () => resolve(undefined));
  });
