import { clusterNameOf } from '../credential/cluster-name.ts';
import type { CredentialEvent, EventSubject } from '../credential/events.ts';
import { FIELD_MANAGER, ownerFrom } from '../credential/target-secret.ts';
import { type EpochMs, microTime } from '../lib/time.ts';
import { EVENTS } from './resources.ts';

/** What events.k8s.io/v1 allows, in bytes. */
const MAX_NOTE = 1_024;

/** Where Kubernetes keeps events about objects that have no namespace. */
const DEFAULT_NAMESPACE = 'default';

/** An event about a credential that is not written yet, and its repetitions since: those of the same type and reason. */
export interface EventSeries {
  readonly namespace: string;
  readonly name: string;
  /** Of the credential. */
  readonly uid: string;
  /** The latest. */
  event: CredentialEvent;
  count: number;
  readonly firstAt: EpochMs;
  lastAt: EpochMs;
}

export function seriesOf(
  { metadata: { namespace, name, uid } }: EventSubject,
  event: CredentialEvent,
  at: EpochMs,
): EventSeries {
  const isOfCluster = clusterNameOf(name) !== undefined;
  const where = isOfCluster ? DEFAULT_NAMESPACE : namespace;
  return { namespace: where, name, uid, event, count: 1, firstAt: at, lastAt: at };
}

/** What a series has in common. */
export const keyOfSeries = ({ uid, event }: EventSeries): string =>
  `${uid} ${event.type} ${event.reason}`;

export function repeat(series: EventSeries, { event, lastAt }: EventSeries): void {
  series.event = event;
  series.count += 1;
  series.lastAt = lastAt;
}

/** An Event of events.k8s.io/v1. */
export function eventFrom(series: EventSeries, instance: string): object {
  const { namespace, name, uid, event, count, firstAt, lastAt } = series;
  const clusterName = clusterNameOf(name);
  const regarding = { ...ownerFrom(name, uid), ...(clusterName === undefined && { namespace }) };
  return {
    apiVersion: EVENTS.apiVersion,
    kind: 'Event',
    metadata: { namespace, generateName: prefixOf(clusterName ?? name) },
    eventTime: microTime(firstAt),
    ...(count > 1 && { series: { count, lastObservedTime: microTime(lastAt) } }),
    type: event.type,
    reason: event.reason,
    note: noteOf(event.message),
    action: 'Reconcile',
    regarding,
    reportingController: `convercus.io/${FIELD_MANAGER}`,
    reportingInstance: instance.slice(0, 128),
  };
}

/** The server adds five characters. What stands before the dash has to end with a letter or digit. */
const prefixOf = (name: string): string => `${name.slice(0, 50).replace(/[^a-z0-9]+$/, '')}-`;

function noteOf(message: string): string {
  const bytes = Buffer.from(message);
  if (bytes.length <= MAX_NOTE) return message;
  const start = bytes.subarray(0, MAX_NOTE - Buffer.byteLength('…'));
  return `${new TextDecoder().decode(start, { stream: true })}…`; // drops half a character at the end
}
