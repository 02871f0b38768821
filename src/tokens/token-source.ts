import type { Failure } from '../lib/failure.ts';
import type { TokenRequest } from '../oauth/grants.ts';
import type { Token } from '../oauth/token.ts';

export type { LogOut } from '../oauth/logout.ts';

/** One token request to one server, with no memory; at most a few quick tries on transport faults. */
export type TokenSource = (request: TokenRequest, signal: AbortSignal) => Promise<Token | Failure>;
