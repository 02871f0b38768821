import { join } from 'node:path';
import { beforeAll, describe, expect, it } from '@jest/globals';
import { marked } from '../../dev/walk/entries-hook.ts';
import {
  filesBeyond,
  firstSync,
  functionsOf,
  tooManyRequests,
  type Walk,
} from '../../dev/walk/walks.ts';

/** What `npm run walk` counts. Fewer is better: lower a bar when a change allows it. */
const BARS = {
  /** Files that a first sync calls. The aim: 40 */
  firstSync: 93,
  /** Those of them with a function that the idle operator has not called. */
  firstSyncAlone: 82,
  /** Files with a function that a 429 calls and a first sync does not. The aim: 20 */
  tooManyRequests: 20,
};

const ENTRY = join(import.meta.dirname, '../../src/main.ts');

describe('the files that the operator runs through', () => {
  let sync: Walk;
  let refused: Walk;

  beforeAll(async () => {
    [sync, refused] = await Promise.all([firstSync(ENTRY), tooManyRequests(ENTRY)]);
  });

  it(`are at most ${BARS.firstSync} in a first sync`, () => {
    const files = sync.steps.map(({ file }) => file);
    expect({ files, isWithin: files.length <= BARS.firstSync }).toEqual({ files, isWithin: true });
  });

  it(`are at most ${BARS.firstSyncAlone} with what the idle operator does not call`, () => {
    const files = filesBeyond(sync, sync.before);
    expect({ files, isWithin: files.length <= BARS.firstSyncAlone }).toEqual({
      files,
      isWithin: true,
    });
  });

  it(`are at most ${BARS.tooManyRequests} more in a 429 until its next try`, () => {
    const files = filesBeyond(refused, functionsOf(sync));
    expect(files).not.toEqual([]);
    expect({ files, isWithin: files.length <= BARS.tooManyRequests }).toEqual({
      files,
      isWithin: true,
    });
  });
});

describe('the calls that are written into sources', () => {
  const call = (name: string): string => `globalThis.__enter("a.ts", "${name}")`;

  it.each([
    ['function f(): void { g(); }', `function f(): void {${call('f')}; g(); }`],
    ['const f = (a: A): B => a.b;', `const f = (a: A): B => (${call('f')}, a.b);`],
    ['const f = () => ({ a });', `const f = () => (${call('f')}, ({ a }));`],
    ['const é = 1, f = async () => {};', `const é = 1, f = async () => {${call('f')};};`],
    ['class C { #p() {} get q() {} }', `class C { #p() {${call('p')};} get q() {${call('q')};} }`],
    [
      'const o = { p() {}, q: () => 1 };',
      `const o = { p() {${call('p')};}, q: () => (${call('q')}, 1) };`,
    ],
    ['list.map((each) => each.a); interface I { a(): void }', undefined],
  ])('%j', (source, expected = source) => {
    expect(marked(source, 'a.ts')).toBe(expected);
  });
});
