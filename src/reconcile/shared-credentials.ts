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

/** The instances of a ClusterConvercusCredential present the same: their credentials Secret is read once for all. */
export class SharedCredentials {
  /** By name of the instances. Their states hold what was read. */
  readonly #known = new Map<string, WeakRef<ReadCredentials>>();
  readonly #inFlight = new Map<string, Reading>();

  read({ credential, keys, source }: Wanted, read: () => Reading): Reading {
    const { name } = credential;
    const known = this.#known.get(name)?.deref();
    if (known?.keys === keys && isSameVersion(known.meta, source)) return Promise.resolve(known);
    const id = readingId({ credential, keys, source });
    const reading = this.#inFlight.get(id) ?? this.#start(id, name, read);
    this.#inFlight.set(id, reading);
    return reading;
  }

  async #start(id: string, name: string, read: () => Reading): Reading {
    try {
      const found = await read();
      if ('values' in found) this.#known.set(name, new WeakRef(found));
      return found;
    } finally {
      this.#inFlight.delete(id);
    }
  }
}

/** One that began when the Secret was known as another version, or with another spec, may find what is out of date. */
const readingId = ({ credential: { name, source: named }, keys, source }: Wanted): string =>
  [name, named.name, keys, typeof source === 'object' ? versionOf(source) : source].join(' ');
