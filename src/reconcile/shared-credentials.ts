import type { Credential } from '../credential/credential.ts';
import { isSameVersion, type KnownSecret, versionOf } from '../credential/secret.ts';
import type { Failure } from '../lib/failure.ts';
import type { ReadCredentials } from './state.ts';

type Reading = Promise<ReadCredentials | Failure>;

/** What is to be read from a credentials Secret. */
interface Wanted {
  readonly credential: Credential;
  readonly keys: string;
  /** The Secret as it was seen. */
  readonly source: KnownSecret;
}

/** Of one ClusterConvercusCredential. */
interface Shared {
  latest: ReadCredentials | undefined;
  readonly inFlight: Map<string, Reading>;
}

/** The instances of a ClusterConvercusCredential present the same: their credentials Secret is read once for all. */
export class SharedCredentials {
  readonly #byName = new Map<string, Shared>();

  read({ credential, keys, source }: Wanted, read: () => Reading): Reading {
    const { name } = credential;
    const shared = this.#byName.get(name) ?? { latest: undefined, inFlight: new Map() };
    this.#byName.set(name, shared);
    const { latest, inFlight } = shared;
    if (latest?.keys === keys && isSameVersion(latest.meta, source)) return Promise.resolve(latest);
    const id = readingId({ credential, keys, source });
    const reading = inFlight.get(id) ?? startReading(shared, id, read);
    inFlight.set(id, reading);
    return reading;
  }

  /** @param name of a ClusterConvercusCredential that is gone */
  forget(name: string): void {
    this.#byName.delete(name);
  }
}

async function startReading(shared: Shared, id: string, read: () => Reading): Reading {
  try {
    const found = await read();
    if ('values' in found) shared.latest = found;
    return found;
  } finally {
    shared.inFlight.delete(id);
  }
}

/** One that began when the Secret was known as another version, or with another spec, may find what is out of date. */
const readingId = ({ credential: { source: named }, keys, source }: Wanted): string =>
  [named.name, keys, typeof source === 'object' ? versionOf(source) : source].join(' ');
