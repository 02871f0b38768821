import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { ClusterClient } from '../../dev/envtest/cluster/cluster.ts';
import { claimsOf } from './stand-in-api.ts';

/** What the cluster shows over time, with the moment at which we saw it. */

export interface SyncedTarget {
  readonly at: number;
  readonly credential: string;
  readonly token: string;
  readonly renewAt: number;
  readonly expiresAt: number;
}

/** A token request that was answered with a token. */
export interface Issued {
  readonly credential: string;
  readonly at: number;
  /** When the next one for this credential was. */
  readonly next: number;
}

/** Every token that was written to a target Secret of one namespace. */
export class PublishedTokens {
  readonly all: SyncedTarget[] = [];
  readonly #known = new Set<string>();

  constructor(cluster: ClusterClient, namespace: string) {
    const annotation = (name: string): string => `{.metadata.annotations.convercus\\.io/${name}}`;
    const fields = [annotation('renew-at'), '{.data.token}', '{.metadata.name}'];
    const args = ['get', 'secrets', '-n', namespace, '-l', 'convercus.io/credential'];
    follow(cluster, [...args, '-o', `jsonpath=${fields.join(' ')}{"\\n"}`], (line) => {
      const [renewAt = '', data = '', name = ''] = line.split(' ');
      this.#add(name.replace(/-token$/, ''), Date.parse(renewAt), data);
    });
  }

  #add(credential: string, renewAt: number, data: string): void {
    const claims = claimsOf(Buffer.from(data, 'base64').toString());
    if (claims === undefined || this.#known.has(claims.id)) return;
    this.#known.add(claims.id);
    const { id: token, expiresAt } = claims;
    this.all.push({ at: Date.now(), credential, token, renewAt, expiresAt });
  }

  /** No token of the credential was published after this one was issued and before the next one was. */
  lacks({ credential, at, next }: Issued): boolean {
    return !this.all.some((it) => it.credential === credential && it.at >= at && it.at < next);
  }

  /** How long after its date each renewal between two moments came, in milliseconds. */
  lateness(from: number, to: number): number[] {
    const latest = new Map<string, SyncedTarget>();
    const late: number[] = [];
    for (const published of this.all) {
      const previous = latest.get(published.credential);
      latest.set(published.credential, published);
      if (previous === undefined || published.at < from || published.at > to) continue;
      late.push(published.at - previous.renewAt);
    }
    return late;
  }
}

/** Who held the Lease when. */
export class LeaseHolders {
  readonly all: { readonly at: number; readonly holder: string }[] = [];

  constructor(cluster: ClusterClient, namespace: string, name: string) {
    const args = ['get', 'lease', name, '-n', namespace];
    follow(cluster, [...args, '-o', 'jsonpath={.spec.holderIdentity}{"\\n"}'], (holder) => {
      this.all.push({ at: Date.now(), holder });
    });
  }

  get current(): string {
    return this.all.at(-1)?.holder ?? '';
  }

  /** For how many milliseconds between two moments it had no holder, as it said itself. */
  vacant(from: number, to: number): number {
    return this.all.reduce((sum, { at, holder }, index) => {
      const until = this.all[index + 1]?.at ?? to;
      return holder === '' && at >= from && at <= to ? sum + until - at : sum;
    }, 0);
  }

  /** When a holder wrote the Lease for the first time after `since`, and which. */
  firstAfter(since: number, isWanted: (holder: string) => boolean = (it) => it !== '') {
    return this.all.find(({ at, holder }) => at > since && isWanted(holder));
  }
}

/** The lines of a `kubectl … --watch`, which ends with the namespaces that it runs in. */
function follow(cluster: ClusterClient, args: string[], onLine: (line: string) => void): void {
  const { kubectl } = cluster.controlPlane.binaries;
  const all = [`--kubeconfig=${cluster.kubeconfig}`, ...args, '--watch'];
  const { stdout } = spawn(kubectl, all, { stdio: ['ignore', 'pipe', 'ignore'] });
  createInterface({ input: stdout }).on('line', onLine);
}
