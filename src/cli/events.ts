import type { Resource } from '../kubernetes/resources.ts';
import { member, numberAt, textAt } from '../lib/json.ts';
import { type EpochMs, parseTime } from '../lib/time.ts';
import type { Context } from './context.ts';
import { ifAllowed } from './exit-code.ts';
import { plain } from './output.ts';

const EVENTS: Resource = { apiVersion: 'v1', plural: 'events' };

export interface SeenEvent {
  readonly at: EpochMs;
  readonly type: string;
  readonly reason: string;
  readonly message: string;
  readonly count: number;
}

/** Of one object, the newest first; undefined when the person may not read events. */
export async function eventsOf(
  { cluster }: Context,
  { namespace, uid }: { readonly namespace: string; readonly uid: string },
): Promise<SeenEvent[] | undefined> {
  const query = { fieldSelector: `involvedObject.uid=${uid}` };
  const items = await ifAllowed(cluster.list(EVENTS, namespace, query));
  return items?.map(eventFrom).sort((a, b) => b.at - a.at);
}

function eventFrom(event: unknown): SeenEvent {
  const times = [
    textAt(event, 'series', 'lastObservedTime'),
    textAt(event, 'lastTimestamp'),
    textAt(event, 'eventTime'),
    textAt(event, 'metadata', 'creationTimestamp'),
  ];
  return {
    at: times.map(parseTime).find((at) => at !== undefined) ?? 0,
    type: plain(textAt(event, 'type') ?? '', 20),
    reason: plain(textAt(event, 'reason') ?? '', 60),
    message: plain(textAt(event, 'message') ?? ''),
    count: numberAt(member(event, 'series'), 'count') ?? numberAt(event, 'count') ?? 1,
  };
}
