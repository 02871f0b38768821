import * as fc from 'fast-check';

/**
 * Any Unicode character but half a surrogate pair, as a unit of `fc.string`. It takes the place of the unit 'binary',
 * which reads all of Unicode once in every test file: 2 s of processor time.
 */
export const anyCharacter: fc.Arbitrary<string> = fc
  .integer({ min: 0, max: 0x10_ff_ff })
  .filter((codePoint) => codePoint < 0xd8_00 || codePoint > 0xdf_ff)
  .map(
    (codePoint) => String.fromCodePoint(codePoint),
    (character) => codePointOf(character),
  );

/** Lets fast-check shorten a text that it did not make of single characters. */
function codePointOf(character: unknown): number {
  const codePoint = String(character).codePointAt(0) ?? 0;
  if (String.fromCodePoint(codePoint) !== character) throw new Error('not a single character');
  return codePoint;
}
