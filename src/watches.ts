import type { ClusterCache } from './adapters/kubernetes/cluster-view.ts';
import { credentialListWatch, secretListWatch } from './adapters/kubernetes/list-watch.ts';
import type { Transport } from './adapters/kubernetes/transport.ts';
import type { Config } from './config.ts';
import type { Failure } from './domain/failure.ts';
import type { Clock, ListWatch, Log, Random, WatchSink } from './ports.ts';
import { runInformer } from './runtime/informer.ts';

/** What the operator waits for before it is ready, by name: `true`, or what stands in the way. */
export type Readiness = Map<string, true | string>;

interface Around {
  readonly config: Pick<Config, 'watch'>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly readiness: Readiness;
}

interface Watches {
  readonly synced: Promise<void>;
  readonly ended: Promise<unknown>;
}

/** Credentials first: only Secrets that some credential names are kept. One pair of watches per namespace, or one for all. */
export function watch(
  transport: Transport,
  cache: ClusterCache,
  around: Around,
  signal: AbortSignal,
): Watches {
  const { namespaces, selector } = around.config.watch;
  const scopes = namespaces.length === 0 ? [undefined] : namespaces;
  const started = scopes.map((namespace) => {
    const where = namespace === undefined ? {} : { namespace };
    const labels = selector === '' ? {} : { labelSelector: selector };
    const name = (what: string) => (namespace === undefined ? what : `${what} in ${namespace}`);
    const credentials = inform(around, name('credentials'), signal, {
      source: credentialListWatch(transport, { ...where, ...labels }, (line) =>
        cache.isKnownCredential(line),
      ),
      sink: cache.credentialSink(namespace),
    });
    const secrets = credentials.synced.then(() =>
      inform(around, name('secrets'), signal, {
        source: secretListWatch(transport, where, (line) => cache.isKnownSecret(line)),
        sink: cache.secretSink(namespace),
      }),
    );
    return { synced: secrets.then((it) => it.synced), ended: credentials.ended };
  });
  return {
    synced: Promise.all(started.map(({ synced }) => synced)).then(() => undefined),
    ended: Promise.all(started.map(({ ended }) => ended)),
  };
}

/** One informer, whose first list is a condition of readiness. */
function inform<T>(
  { readiness, log, clock, random }: Around,
  name: string,
  signal: AbortSignal,
  { source, sink }: { readonly source: ListWatch<T>; readonly sink: WatchSink<T> },
): Watches {
  const { promise: synced, resolve } = Promise.withResolvers<void>();
  readiness.set(name, 'the first list is not complete yet');
  const onSynced = () => {
    readiness.set(name, true);
    resolve();
  };
  const onProblem = (problem: Failure | undefined) => {
    if (problem === undefined) return log.info('The watch works', { watch: name });
    if (readiness.get(name) !== true) readiness.set(name, problem.message);
    log.warn(problem.message, { watch: name, reason: problem.kind });
  };
  return {
    synced,
    ended: runInformer({ source, sink, clock, random, onSynced, onProblem }, signal),
  };
}
