import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { ClusterClient } from '../../dev/envtest/cluster/cluster.ts';
import { claimsOf } from './stand-in-api.ts';

/** Values from watches, with the time at which they arrived. */

export interface SyncedTarget {
  readonly at: number;
  readonly credential: string;
  readonly token: string;
  readonly renewAt: number;
  readonly expiresAt: number;
}

/** A token request with status 200. */
export interface Issued {
  readonly credential: string;
  readonly at: number;
  /** The time of the next one for the same credential. */
  readonly next: number;
}

/** All tokens that were written to the target Secrets of one namespace. */
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

  /** True if no token of the credential was published between this one and the next one. */
  lacks({ credential, at, next }: Issued): boolean {
    return !this.all.some((it) => it.credential === credential && it.at >= at && it.at < next);
  }

  /** The delay of each renewal between two times, in milliseconds. */
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

/** The holders of the Lease over time. */
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

  /** Milliseconds without a holder between two times, by the dates in the Lease. */
  vacant(from: number, to: number): number {
    return this.all.reduce((sum, { at, holder }, index) => {
      const until = this.all[index + 1]?.at ?? to;
      return holder === '' && at >= from && at <= to ? sum + until - at : sum;
    }, 0);
  }

  /** The first write of the Lease after `since`: time and holder. */
  firstAfter(since: number, isWanted: (holder: string) => boolean = (it) => it !== '') {
    return this.all.find(({ at, holder }) => at > since && isWanted(holder));
  }
}

/** The lines of `kubectl … --watch`, which ends with the Isolation. */
function follow(cluster: ClusterClient, args: string[], onLine: (line: string) => void): void {
  const { kubectl } = cluster.controlPlane.binaries;
  const all = [`--kubeconfig=${cluster.kubeconfig}`, ...args, '--watch'];
  const { stdout } = spawn(kubectl, all, { stdio: ['ignore', 'pipe', 'ignore'] });
  createInterface({ input: stdout }).on('line', onLine);
}
