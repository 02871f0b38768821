import { Failure } from '../lib/failure.ts';

/** Reports a failure when its message differs from the one before, and undefined at the first success after it. */
export class ErrorReporter {
  readonly #report: (failure: Failure | undefined) => void;
  #last: string | undefined;

  constructor(report: (failure: Failure | undefined) => void) {
    this.#report = report;
  }

  add(failure: Failure): void {
    if (failure.message === this.#last) return;
    this.#last = failure.message;
    this.#report(failure);
  }

  clear(): void {
    if (this.#last === undefined) return;
    this.#last = undefined;
    this.#report(undefined);
  }
}

/** For what should never throw. Only the name of the error is kept, for its text may hold anything. */
export const unexpectedError = (what: string, error: unknown): Failure =>
  new Failure('InternalError', `${what} failed for a reason that was not foreseen`, {
    code: error instanceof Error ? error.name : typeof error,
  });
