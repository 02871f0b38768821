import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { jsonLines } from '../../src/kubernetes/json-lines.ts';
import { anyCharacter } from '../support/arbitraries.ts';
import { collect } from '../support/streams.ts';

const linesOf = (chunks: Buffer[], maxLine?: number): Promise<unknown[]> =>
  collect(jsonLines(toStream(chunks), maxLine));

async function* toStream(chunks: Buffer[]): AsyncGenerator<Buffer> {
  yield* chunks;
}

function cut(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const places = [...cuts.map((cut) => cut % (bytes.length + 1)), 0, bytes.length];
  places.sort((a, b) => a - b);
  return places.slice(1).map((end, i) => bytes.subarray(places[i], end));
}

describe('the lines of a watch', () => {
  it('are the same however the bytes are cut', async () => {
    const values = fc.array(fc.jsonValue({ stringUnit: anyCharacter }), { maxLength: 8 });
    const cuts = fc.array(fc.nat(), { maxLength: 20 });
    await fc.assert(
      fc.asyncProperty(values, cuts, fc.boolean(), async (values, cuts, endsWithLine) => {
        const text = values.map((value) => JSON.stringify(value)).join('\n');
        const bytes = Buffer.from(endsWithLine ? `${text}\n` : text);
        expect(await linesOf(cut(bytes, cuts))).toEqual(JSON.parse(JSON.stringify(values)));
      }),
    );
  });

  it('may have empty ones between them', async () => {
    expect(await linesOf([Buffer.from('\n1\n\r\n2\n\n')])).toEqual([1, 2]);
  });

  it('end with an error when one is too long, and only then, however the bytes are cut', async () => {
    const lengths = fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1, maxLength: 8 });
    const cuts = fc.array(fc.nat(), { maxLength: 20 });
    await fc.assert(
      fc.asyncProperty(lengths, cuts, async (lengths, cuts) => {
        const bytes = Buffer.from(lengths.map((length) => '1'.repeat(length)).join('\n'));
        const lines = linesOf(cut(bytes, cuts), 8);
        if (Math.max(...lengths) > 8) await expect(lines).rejects.toThrow('BodyTooLarge');
        else expect(await lines).toHaveLength(lengths.length);
      }),
    );
  });

  it('end with an error that does not quote what is no JSON', async () => {
    const error: unknown = await linesOf([Buffer.from('s3cret\n')]).catch((error) => error);
    expect(error).toBeInstanceOf(Error);
    expect(String(error)).not.toContain('s3c');
  });
});
