import { type Ms, seconds } from '../lib/time.ts';
import type { Instruments } from './instruments.ts';

const RECONCILE_SECONDS = [0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
const WAIT_SECONDS = [0.001, 0.01, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 600];

const QUEUE = { name: 'credentials' };
const CONTROLLER = { controller: 'convercuscredential' };

export type ReconcileResult = 'success' | 'requeue_after' | 'error';

/** Those of controller-runtime, so that dashboards for controllers work. */
export function controllerMetrics(
  make: Instruments,
  workers: number,
  activeWorkers: () => number,
): (result: ReconcileResult, took: Ms) => void {
  const name = (rest: string): string => `controller_runtime_${rest}`;
  const label = Object.keys(CONTROLLER);
  const { controller } = CONTROLLER;
  make.gauge(
    name('max_concurrent_reconciles'),
    'How many reconciles may run at once.',
    label,
    () => [[CONTROLLER, workers]],
  );
  make.gauge(name('active_workers'), 'Reconciles that run now.', label, () => [
    [CONTROLLER, activeWorkers()],
  ]);
  const results = [...label, 'result'];
  const reconciles = make.counter(name('reconcile_total'), 'Reconciles by result.', results);
  const errors = make.counter(name('reconcile_errors_total'), 'Reconciles that failed.', label);
  const time = make.histogram(
    name('reconcile_time_seconds'),
    'How long reconciles took.',
    label,
    RECONCILE_SECONDS,
  );
  for (const result of ['success', 'requeue_after', 'error']) reconciles([controller, result], 0);
  errors([controller], 0);

  return (result, took) => {
    reconciles([controller, result]);
    if (result === 'error') errors([controller]);
    time([controller], inSeconds(took));
  };
}

export interface QueueState {
  readonly ready: number;
  readonly unfinishedWork: Ms;
  readonly longestWork: Ms;
}

/** workqueue_* of client-go. */
export function workQueueMetrics(make: Instruments, read: () => QueueState) {
  const name = (rest: string): string => `workqueue_${rest}`;
  const label = Object.keys(QUEUE);
  const queue = Object.values(QUEUE);
  const gauge = (rest: string, help: string, read: () => number): void =>
    make.gauge(name(rest), help, label, () => [[QUEUE, read()]]);
  gauge('depth', 'Keys that are ready and wait for a worker.', () => read().ready);
  gauge('unfinished_work_seconds', 'Time spent so far on keys in work, in sum.', () =>
    inSeconds(read().unfinishedWork),
  );
  gauge('longest_running_processor_seconds', 'How long the oldest key has been in work.', () =>
    inSeconds(read().longestWork),
  );
  const adds = make.counter(name('adds_total'), 'Keys that were queued.', label);
  const retries = make.counter(
    name('retries_total'),
    'Keys that are to be looked at again later.',
    label,
  );
  const waits = make.histogram(
    name('queue_duration_seconds'),
    'How long keys waited for a worker.',
    label,
    WAIT_SECONDS,
  );
  const works = make.histogram(
    name('work_duration_seconds'),
    'How long keys were in work.',
    label,
    RECONCILE_SECONDS,
  );
  adds(queue, 0);
  retries(queue, 0);

  return {
    add: (): void => adds(queue),
    get: (waited: Ms): void => waits(queue, inSeconds(waited)),
    done: (worked: Ms): void => works(queue, inSeconds(worked)),
    retry: (): void => retries(queue),
  };
}

const inSeconds = (time: Ms): number => time / seconds(1);
