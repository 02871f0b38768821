/** What the controller gives to a reconcile. */
export interface ReconcileContext {
  /** Fires when the reconcile must not write any more: the Lease is lost or the process ends. */
  readonly signal: AbortSignal;
  /** Waits without holding a worker, so that a slow host delays nobody else. */
  readonly parked: <T>(wait: () => Promise<T>) => Promise<T>;
}
