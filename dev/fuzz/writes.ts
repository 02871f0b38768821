import { readFile } from 'node:fs/promises';

/** How often the operator writes, from the audit log of the API server. */

export interface Write {
  readonly at: number;
  /** Namespace, resource and name. Every Event has a name of its own, so those of a namespace count as one. */
  readonly object: string;
}

export interface Busiest {
  readonly name: string;
  readonly count: number;
}

const WRITES = new Set(['create', 'update', 'patch', 'delete']);

/** Stands for the Events of a namespace. */
export const isEvents = (object: string): boolean => object.endsWith(' events');

export async function writesIn(auditLog: string): Promise<Write[]> {
  const lines = (await readFile(auditLog, 'utf8')).split('\n');
  return lines.filter((line) => line !== '').flatMap(writeIn);
}

function writeIn(line: string): Write[] {
  const { verb, objectRef = {}, requestReceivedTimestamp } = JSON.parse(line);
  const { resource = '', subresource = '', namespace = '', name = '' } = objectRef;
  if (!WRITES.has(verb) || resource === 'leases') return [];
  const object =
    resource === 'events'
      ? `${namespace} events`
      : [namespace, resource, subresource, name].join(' ');
  return [{ at: Date.parse(requestReceivedTimestamp), object }];
}

/** The name with the most items in any span of that length, and how many. */
export function busiest(
  items: readonly { readonly at: number; readonly name: string }[],
  span: number,
): Busiest {
  const byName = Map.groupBy(items, ({ name }) => name);
  const all = [...byName].map(([name, its]) => ({
    name,
    count: mostWithin(
      its.map(({ at }) => at),
      span,
    ),
  }));
  return all.reduce((most, each) => (each.count > most.count ? each : most), {
    name: 'none',
    count: 0,
  });
}

/** The most moments within any span of that length. */
export function mostWithin(moments: readonly number[], span: number): number {
  const sorted = moments.toSorted((a, b) => a - b);
  let start = 0;
  let most = 0;
  for (const [end, at] of sorted.entries()) {
    while (at - (sorted[start] ?? at) >= span) start += 1;
    most = Math.max(most, end - start + 1);
  }
  return most;
}
