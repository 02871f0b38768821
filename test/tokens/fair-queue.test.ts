import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import type { Queued } from '../../src/tokens/deadline-queue.ts';
import { FairQueue } from '../../src/tokens/fair-queue.ts';
import { aTicket } from '../support/builders.ts';
import { runs } from '../support/runs.ts';

interface Item extends Queued {
  readonly name: string;
}

let order = 0;
const anItem = (
  name: string,
  options: { namespaces?: string[]; deadline?: number; login?: boolean } = {},
): Item => {
  const { namespaces = ['shop'], ...ticket } = options;
  order += 1;
  return { name, ticket: aTicket({ namespaces: new Set(namespaces), ...ticket }), order };
};

function queueOf(...items: Item[]): FairQueue<Item> {
  const queue = new FairQueue<Item>();
  for (const item of items) queue.set(item);
  return queue;
}

function takeAll(queue: FairQueue<Item>): string[] {
  const names: string[] = [];
  for (let item = queue.first(); item !== undefined; item = queue.first()) {
    queue.take(item);
    names.push(item.name);
  }
  return names;
}

describe('a fair queue', () => {
  it('lets namespaces take turns, and within one the smallest deadline go first', () => {
    const queue = queueOf(
      anItem('a late', { namespaces: ['a'], deadline: 3 }),
      anItem('a soon', { namespaces: ['a'], deadline: 1 }),
      anItem('a login', { namespaces: ['a'], deadline: 2, login: true }),
      anItem('b1', { namespaces: ['b'], deadline: 9 }),
      anItem('b2', { namespaces: ['b'], deadline: 9 }),
    );
    expect(takeAll(queue)).toEqual(['a soon', 'b1', 'a login', 'b2', 'a late']);
    expect(queue.size).toBe(0);
  });

  it('uses one turn for an item of two namespaces, the first that comes', () => {
    const queue = queueOf(
      anItem('b1', { namespaces: ['b'], deadline: 1 }),
      anItem('a1', { namespaces: ['a'], deadline: 1 }),
      anItem('both', { namespaces: ['a', 'b'] }),
    );
    expect(takeAll(queue)).toEqual(['both', 'a1', 'b1']);
  });

  it('keeps the turn of a namespace whose items may not go yet', () => {
    const queue = queueOf(
      anItem('login', { namespaces: ['a'], login: true }),
      anItem('b1', { namespaces: ['b'] }),
      anItem('b2', { namespaces: ['b'] }),
    );
    const first = queue.first(({ ticket }) => !ticket.login);
    if (first !== undefined) queue.take(first);
    expect(takeAll(queue)).toEqual(['login', 'b2']);
  });

  it('keeps the turn of an item that has got another deadline', () => {
    const item = anItem('a1', { namespaces: ['a'] });
    const queue = queueOf(item, anItem('b1', { namespaces: ['b'] }));
    item.ticket.deadline = 99;
    queue.set(item);
    expect(takeAll(queue)).toEqual(['a1', 'b1']);
  });

  it('gives the turn of an item back that could not go, and none to its other namespaces', () => {
    const both = anItem('a and c', { namespaces: ['a', 'c'] });
    const others = ['a', 'b', 'c'].map((name) => anItem(name, { namespaces: [name], deadline: 9 }));
    const queue = queueOf(...others, both);
    queue.take(both);
    queue.restore(both);
    expect(takeAll(queue)).toEqual(['a and c', 'b', 'c', 'a']);
  });

  it('makes no namespace wait for two turns of another, and loses nothing', () => {
    const namespaces = fc.uniqueArray(fc.constantFrom('a', 'b', 'c', 'd'), { minLength: 1 });
    const step = fc.oneof(
      { weight: 3, arbitrary: fc.record({ namespaces, deadline: fc.nat(5), login: fc.boolean() }) },
      { weight: 2, arbitrary: fc.constant('take' as const) },
      { weight: 1, arbitrary: fc.record({ deleted: fc.nat(9) }) },
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const turns = new Turns();
        for (const each of steps) {
          if (each === 'take') turns.take();
          else if ('deleted' in each) turns.delete(each.deleted);
          else turns.add(anItem('', each));
          turns.check();
        }
      }),
      { numRuns: runs(2_000) },
    );
  });
});

/** Watches whose turns each namespace sees while it waits. */
class Turns {
  readonly #queue = new FairQueue<Item>();
  readonly #waiting = new Set<Item>();
  /** Since the namespace has come or was served. */
  readonly #seen = new Map<string, string[]>();

  add(item: Item): void {
    this.#waiting.add(item);
    this.#queue.set(item);
  }

  delete(index: number): void {
    const item = [...this.#waiting][index];
    if (item === undefined) return;
    expect(this.#queue.delete(item)).toBe(true);
    this.#waiting.delete(item);
  }

  take(): void {
    const item = this.#queue.first();
    expect(item === undefined).toBe(this.#waiting.size === 0);
    if (item === undefined) return;
    this.#queue.take(item);
    this.#waiting.delete(item);
    const { namespaces } = item.ticket;
    for (const [namespace, turns] of this.#seen) {
      if (namespaces.has(namespace)) this.#seen.set(namespace, []);
      else turns.push([...namespaces].join());
    }
  }

  check(): void {
    expect(this.#queue.size).toBe(this.#waiting.size);
    const waiting = new Set([...this.#waiting].flatMap(({ ticket }) => [...ticket.namespaces]));
    for (const namespace of this.#seen.keys()) {
      if (!waiting.has(namespace)) this.#seen.delete(namespace);
    }
    for (const namespace of waiting) {
      const turns = this.#seen.get(namespace) ?? [];
      this.#seen.set(namespace, turns);
      // Whose turn an item of several namespaces has used up is not seen
      const ofOne = turns.filter((names) => !names.includes(','));
      expect(new Set(ofOne).size).toBe(ofOne.length);
    }
  }
}
