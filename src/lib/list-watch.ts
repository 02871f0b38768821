import type { Failure } from './failure.ts';
import type { Ms } from './time.ts';

/** One kind of resource, listed in pages and watched. Everything is projected to what we keep before it gets here. */
export interface ListWatch<T> {
  /** One page; `continue` names the next. Rejects with a WatchError. */
  list(continueToken: string | undefined, signal: AbortSignal): Promise<Page<T>>;
  /** The version that the server has arrived at, at the price of listing one object. Rejects with a WatchError. */
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

/** Told what an informer sees (kube-rs `watcher::Event`). Between `init` and `initDone` every object is applied once. */
export interface EventHandler<T> {
  /**
   * @param version what the list shows was so then
   * @param isRestored etcd was restored from a backup: versions begin again, and nothing that was shown before counts
   */
  init(version: string, isRestored: boolean): void;
  apply(item: T): void;
  delete(item: T): void;
  initDone(): void;
}

/** Why a list or watch ended: the server forgot our place (`gone`, HTTP 410: list again) or anything else (back off). */
export class WatchError extends Error {
  readonly reason: 'gone' | Failure;

  constructor(reason: 'gone' | Failure) {
    super(reason === 'gone' ? 'the resource version is too old' : reason.message);
    this.reason = reason;
  }
}
