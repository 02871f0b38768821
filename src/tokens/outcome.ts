import { type Failure, type FailureKind, isFailure } from '../lib/failure.ts';
import type { Token } from '../oauth/token.ts';

/**
 * How a request ended, as far as it tells about the server.
 * - `responded`: as a server does that works.
 * - `abnormal`: something has responded, perhaps a proxy. That does not show that the server works.
 * - `refused`: it asks for patience.
 * - `unreachable`: no response.
 * - `unsent`: the request was not sent, which tells nothing.
 */
export type Outcome = 'responded' | 'abnormal' | 'refused' | 'unreachable' | 'unsent';

export function outcomeOf(response: Token | Failure): Outcome {
  if (!isFailure(response)) return 'responded';
  return pausesRealm(response) ? 'refused' : (OUTCOMES[response.kind] ?? 'responded');
}

/** Of the other kinds, each says something of what was presented, as only the server itself can. */
const OUTCOMES: Partial<Record<FailureKind, Outcome>> = {
  NetworkError: 'unreachable',
  ServerUnavailable: 'abnormal',
  AccessBlocked: 'abnormal',
  EndpointNotFound: 'abnormal',
  UnexpectedRedirect: 'abnormal',
  UnexpectedResponse: 'abnormal',
  TLSError: 'unsent',
  // A server may say this too, but not one that works for anybody
  InsecureEndpoint: 'unsent',
  InternalError: 'unsent',
  InvalidSpec: 'unsent',
};

/** 429, 503 and Retry-After: no request goes to the realm for a while. */
export const pausesRealm = ({ kind, status, code, retryAfter }: Failure): boolean =>
  kind === 'RateLimited' ||
  retryAfter !== undefined ||
  status === 503 ||
  code === 'temporarily_unavailable';
