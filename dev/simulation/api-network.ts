import { ApiError } from '../../src/kubernetes/api-error.ts';
import type { ApiRequest } from '../../src/kubernetes/rest-client.ts';
import type { ApiServer, Change, TokenFailure } from './api-server.ts';
import type { Conditions } from './conditions.ts';
import type { Dice } from './dice.ts';
import type { Replica } from './replica.ts';
import type { Scheduler } from './scheduler.ts';
import type { Trace } from './trace.ts';

/** The network between the replicas and the API server. */
export interface ApiNetwork {
  readonly scheduler: Scheduler;
  readonly dice: Dice;
  readonly conditions: Conditions;
  readonly server: ApiServer;
  readonly trace: Trace;
  readonly watches: Set<OpenWatch>;
  /** Called with each request when it is sent; the returned function with its outcome. */
  readonly onRequest: (replica: Replica, request: ApiRequest) => (outcome: Outcome) => void;
}

/** The outcome of a request for its sender; `unknown`: there was no response. */
export interface Outcome {
  readonly isWritten: boolean;
  readonly seen: 'response' | 'unknown';
}

export interface OpenWatch {
  /** A change has been stored. */
  offer(change: Change): void;
  /** The connection breaks. */
  cut(): void;
}

export function errorFor({ code, reason, message, causes }: TokenFailure): ApiError {
  return new ApiError(code, { reason, message, details: { causes } });
}
