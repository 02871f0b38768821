import type { Failure } from './failure.ts';
import type { Ms } from './time.ts';

/** One kind of resource, listed in pages and watched. Its objects hold only what the operator keeps of them. */
export interface ListWatch<T> {
  /** One page; `continue` names the next. Rejects with a WatchError. */
  list(continueToken: string | undefined, signal: AbortSignal): Promise<Page<T>>;
  /** The current version of the collection, by a list of one object. Rejects with a WatchError. */
  latest(signal: AbortSignal): Promise<string>;
  /** Ends cleanly when the server ends it (time-out). Rejects with a WatchError. */
  watch(resourceVersion: string, timeout: Ms, signal: AbortSignal): AsyncIterable<WatchEvent<T>>;
}

export interface Page<T> {
  readonly items: readonly T[];
  readonly resourceVersion: string;
  readonly continue?: string;
}

export type WatchEvent<T> =
  | { readonly type: 'apply' | 'delete'; readonly item: T; readonly resourceVersion: string }
  | { readonly type: 'bookmark'; readonly resourceVersion: string };

/** Called with what an informer sees (kube-rs `watcher::Event`). Each list is `init`, `apply` of all, `initDone`. */
export interface EventHandler<T> {
  /**
   * @param version resource version of the list
   * @param isRestored etcd was restored from a backup: versions start over, and objects shown before do not count
   */
  init(version: string, isRestored: boolean): void;
  apply(item: T): void;
  delete(item: T): void;
  initDone(): void;
}

/** Why a list or watch ended: `gone` (HTTP 410, the version is too old: list again) or any other failure (back off). */
export class WatchError extends Error {
  readonly reason: 'gone' | Failure;

  constructor(reason: 'gone' | Failure) {
    super(reason === 'gone' ? 'the resource version is too old' : reason.message);
    this.reason = reason;
  }
}
