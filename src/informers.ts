import type { Caches } from './caches.ts';
import type { Config } from './config.ts';
import { runInformer } from './controller/informer.ts';
import { clusterNameOf } from './credential/cluster-name.ts';
import type { ClusterCache } from './kubernetes/cache.ts';
import type { ClusterCredentials } from './kubernetes/cluster-credentials.ts';
import {
  clusterCredentialListWatch,
  credentialListWatch,
  namespaceListWatch,
  secretListWatch,
} from './kubernetes/list-watch.ts';
import type { RestClient } from './kubernetes/rest-client.ts';
import type { Clock, Random } from './lib/clock.ts';
import type { Failure } from './lib/failure.ts';
import { type Key, splitKey } from './lib/key.ts';
import type { EventHandler, ListWatch } from './lib/list-watch.ts';
import type { Log } from './lib/log.ts';
import { type Ms, seconds } from './lib/time.ts';
import { withTimeout } from './lib/with-timeout.ts';
import type { Readiness } from './readiness.ts';

interface InformersOptions {
  readonly config: Pick<Config, 'watch'>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly readiness: Readiness;
  readonly metrics: WatchMetrics;
  /** Credentials and Secrets of the namespace (undefined: the cluster) have been listed for the first time. */
  readonly onListed: (namespace: string | undefined) => void;
}

interface WatchMetrics {
  /** @param namespace empty: the whole cluster */
  watch(resource: string, namespace: string, isUp: boolean): void;
}

/** For the first lists. A namespace that takes longer joins later. */
const MAX_WAIT: Ms = seconds(30);

interface Informers {
  /** Resolves once each namespace has been listed or could not be listed at the first try, or after MAX_WAIT. */
  readonly tried: Promise<void>;
  /** Whether the credential's namespace has been listed. Until then a Secret that the cache lacks may exist. */
  readonly isListed: (key: Key) => boolean;
  readonly ended: Promise<unknown>;
}

/**
 * One pair of watches per namespace, or one for the cluster. Credentials are listed first, because only Secrets that a
 * credential names are kept. A namespace that may not be read does not stop the others.
 */
export function startInformers(
  restClient: RestClient,
  { cache, clusterCredentials }: Caches,
  options: InformersOptions,
  signal: AbortSignal,
): Informers {
  const { namespaces } = options.config.watch;
  const cluster =
    clusterCredentials &&
    startClusterInformers(restClient, clusterCredentials, { ...options, signal });
  const scopes = namespaces.length === 0 ? [undefined] : namespaces;
  const listed = new Set<string | undefined>();
  const parts = { ...options, signal };
  const started = scopes.map((namespace) =>
    startScope(restClient, cache, { ...parts, namespace, secretsAfter: cluster?.tried, listed }),
  );
  return {
    tried: allOf(
      started.map(({ tried }) => tried),
      options.clock,
      signal,
    ),
    isListed: (key) => {
      const { namespace, name } = splitKey(key);
      const isOfCluster = clusterNameOf(name) !== undefined;
      if (isOfCluster && clusterCredentials?.isListed !== true) return false;
      return listed.has(undefined) || listed.has(namespace);
    },
    ended: Promise.all([...started.map(({ ended }) => ended), cluster?.ended]),
  };
}

interface ScopeOptions extends InformersOptions {
  readonly signal: AbortSignal;
  readonly namespace: string | undefined;
  /** Secrets are listed after it, because then what names them is known. */
  readonly secretsAfter: Promise<unknown> | undefined;
  /** Gets the namespace once it has been listed. */
  readonly listed: Set<string | undefined>;
}

function startScope(restClient: RestClient, cache: ClusterCache, options: ScopeOptions) {
  const { namespace, secretsAfter, listed } = options;
  const { selector } = options.config.watch;
  const where = namespace === undefined ? {} : { namespace };
  const labels = selector === '' ? {} : { labelSelector: selector };
  const credentials = startInformer(options, {
    watched: { resource: 'convercuscredentials', namespace },
    listWatch: credentialListWatch(restClient, { ...where, ...labels }),
    handler: cache.credentialHandler(namespace),
  });
  const secrets = startInformer(options, {
    watched: { resource: 'secrets', namespace },
    listWatch: secretListWatch(restClient, where),
    handler: cache.secretHandler(namespace),
    after: Promise.all([credentials.synced, secretsAfter]),
  });
  const allListed = async (): Promise<void> => {
    await secrets.synced;
    listed.add(namespace);
    options.onListed(namespace);
  };
  const tried = Promise.race([allListed(), credentials.failed, secrets.failed]);
  return { tried, ended: credentials.ended }; // the informer of the Secrets may never begin, and then never ends
}

/** Without them credentials of namespaces are served all the same. */
function startClusterInformers(
  restClient: RestClient,
  clusterCredentials: ClusterCredentials,
  options: InformersOptions & { readonly signal: AbortSignal },
): Pick<StartedInformer, 'ended'> & { readonly tried: Promise<unknown> } {
  const { selector: labelSelector } = options.config.watch;
  const credentials = startInformer(options, {
    watched: { resource: 'clusterconvercuscredentials', namespace: undefined },
    listWatch: clusterCredentialListWatch(restClient, { labelSelector }),
    handler: clusterCredentials.credentialHandler(),
  });
  const namespaces = startInformer(options, {
    watched: { resource: 'namespaces', namespace: undefined },
    listWatch: namespaceListWatch(restClient),
    handler: clusterCredentials.namespaceHandler(),
  });
  const started = [credentials, namespaces];
  const allListed = async (): Promise<void> => {
    await Promise.all(started.map(({ synced }) => synced));
    options.onListed(undefined);
  };
  void allListed();
  return {
    tried: Promise.all(started.map(({ synced, failed }) => Promise.race([synced, failed]))),
    ended: Promise.all(started.map(({ ended }) => ended)),
  };
}

/** At the latest after MAX_WAIT. */
async function allOf(tried: readonly Promise<void>[], clock: Clock, signal: AbortSignal) {
  await withTimeout(() => Promise.all(tried), { ms: MAX_WAIT, clock, signal });
}

interface Watched {
  readonly resource:
    | 'convercuscredentials'
    | 'secrets'
    | 'clusterconvercuscredentials'
    | 'namespaces';
  /** Undefined: the whole cluster. */
  readonly namespace: string | undefined;
}

const NAMES: Readonly<Record<Watched['resource'], string>> = {
  convercuscredentials: 'credentials',
  secrets: 'secrets',
  clusterconvercuscredentials: 'cluster credentials',
  namespaces: 'namespaces',
};

/** What is needed for every credential. */
const NEEDED: ReadonlySet<string> = new Set(['convercuscredentials', 'secrets']);

/** The name of its check of /readyz. */
const nameOf = ({ resource, namespace }: Watched): string => {
  const what = NAMES[resource];
  return namespace === undefined ? what : `${what} in ${namespace}`;
};

interface InformerParts<T> {
  readonly watched: Watched;
  readonly listWatch: ListWatch<T>;
  readonly handler: EventHandler<T>;
  /** Lists only then. Its check of /readyz fails from the start. */
  readonly after?: Promise<unknown>;
}

interface StartedInformer {
  readonly synced: Promise<void>;
  /** Resolves at the first error. */
  readonly failed: Promise<void>;
  readonly ended: Promise<unknown>;
}

function startInformer<T>(
  options: InformersOptions & { readonly signal: AbortSignal },
  { watched, listWatch, handler, after }: InformerParts<T>,
): StartedInformer {
  const { readiness, log, clock, random, signal, metrics } = options;
  const name = nameOf(watched);
  const check = readiness.watch(name, watched.namespace, NEEDED.has(watched.resource));
  const reportUp = (isUp: boolean): void =>
    metrics.watch(watched.resource, watched.namespace ?? '', isUp);
  reportUp(false);
  const synced = Promise.withResolvers<void>();
  const failed = Promise.withResolvers<void>();
  check.fails('the first list is not complete yet');
  const onSynced = () => {
    reportUp(true);
    check.works();
    synced.resolve();
  };
  const onError = (problem: Failure | undefined) => {
    reportUp(problem === undefined);
    if (problem === undefined) {
      check.works();
      return log.info('The watch works', { watch: name });
    }
    failed.resolve();
    check.fails(problem.message);
    log.warn(problem.message, { watch: name, reason: problem.kind });
  };
  const run = () => runInformer({ listWatch, handler, clock, random, onSynced, onError }, signal);
  return {
    synced: synced.promise,
    failed: failed.promise,
    ended: after === undefined ? run() : after.then(run),
  };
}
