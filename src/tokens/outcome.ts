import { type Failure, isFailure } from '../lib/failure.ts';
import type { Token } from '../oauth/token.ts';

/** How a request ended, as far as it tells about the server. `refused`: it asks for patience. */
export type Outcome = 'responded' | 'refused' | 'unreachable';

export function outcomeOf(response: Token | Failure): Outcome {
  if (!isFailure(response)) return 'responded';
  if (response.kind === 'NetworkError') return 'unreachable';
  return pausesRealm(response) ? 'refused' : 'responded';
}

/** 429, 503 and Retry-After: no request goes to the realm for a while. */
export const pausesRealm = ({ kind, status, code, retryAfter }: Failure): boolean =>
  kind === 'RateLimited' ||
  retryAfter !== undefined ||
  status === 503 ||
  code === 'temporarily_unavailable';
