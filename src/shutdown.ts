import { setImmediate } from 'node:timers/promises';
import type { Log } from './lib/log.ts';
import { systemClock as clock } from './lib/system-clock.ts';
import { seconds } from './lib/time.ts';
import { kindAndPlaceOf } from './lib/unexpected-error.ts';
import { createLog } from './telemetry/logger.ts';

/**
 * From the signal to a forced exit, in case of a bug: reconciles have 12 s (DRAIN_TIMEOUT), the Lease 3 s (RELEASE), a
 * scrape 1 s (CLOSING_TIME) and the log 2 s (FLUSH), and Kubernetes kills after 30 s.
 */
const STOP_DEADLINE = seconds(20);
const FLUSH = seconds(2);

/** SIGTERM and SIGINT. A second signal changes nothing. */
export function stopBySignal(log: Log) {
  const stop = new AbortController();
  let cancelStopDeadline = (): void => undefined;
  const begin = (signal: string): void => {
    if (stop.signal.aborted) return;
    log.info('Stopping', { signal });
    cancelStopDeadline = clock.after(STOP_DEADLINE, () => {
      log.error('The stop takes too long and is cut', { open: openResources() });
      void end(1);
    });
    stop.abort();
  };
  process.on('SIGTERM', begin).on('SIGINT', begin);
  return { signal: stop.signal, cancelStopDeadline: () => cancelStopDeadline() };
}

/**
 * After a bug the state is unknown, so the process ends at once, with exit code 1. Node itself would print the error's
 * message, its fields and the line of code, which may hold a secret.
 * @returns replaces the log, which until then is JSON on standard output
 */
export function exitOnUnexpectedError(): (log: Log) => void {
  let log = createLog({ level: 'error', format: 'json' });
  let isEnding = false;
  const endBy = (error: unknown): void => {
    if (isEnding) return;
    isEnding = true;
    logUnexpectedError(log, error);
    void end(1);
  };
  process.on('uncaughtException', endBy).on('unhandledRejection', endBy);
  return (next) => {
    log = next;
  };
}

export function logUnexpectedError(log: Log, error: unknown): void {
  log.error('The operator ends because of an unforeseen error', kindAndPlaceOf(error));
}

/** Logs what would keep the process alive: a hanging plugin of the kubeconfig, or a bug. */
export async function logOpenResources(log: Log): Promise<void> {
  // A closed resource is gone a few turns of the event loop later
  for (let turn = 0; turn < 10 && openResources() !== ''; turn += 1) await setImmediate();
  const open = openResources();
  if (open !== '') log.debug('Still open at the end', { open });
}

const openResources = (): string => process.getActiveResourcesInfo().join(', ');

/** Ends the process, whatever is open, once the log is written or FLUSH has passed. */
export async function end(code: number): Promise<never> {
  await Promise.all([flushed(process.stdout), flushed(process.stderr)]);
  return process.exit(code);
}

const flushed = (stream: NodeJS.WriteStream): Promise<void> =>
  new Promise((resolve) => {
    clock.after(FLUSH, resolve);
    stream.write('', () => resolve());
  });
