import type { Failure } from '../lib/failure.ts';
import type { LogoutRequest, TokenRequest } from '../oauth/grants.ts';
import type { Token } from '../oauth/token.ts';

/** One token request to one server, with no memory; at most a few quick tries on transport faults. */
export type TokenSource = (request: TokenRequest, signal: AbortSignal) => Promise<Token | Failure>;

/** Ends a session at the provider. Undefined when it is over. */
export type LogOut = (request: LogoutRequest, signal: AbortSignal) => Promise<Failure | undefined>;
