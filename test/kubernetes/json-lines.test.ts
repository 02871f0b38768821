import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { jsonLines } from '../../src/kubernetes/json-lines.ts';
import { collect } from './scripted-api-server.ts';

const linesOf = (chunks: Buffer[], maxLine?: number): Promise<unknown[]> =>
  collect(jsonLines(toStream(chunks), maxLine));

async function* toStream(chunks: Buffer[]): AsyncGenerator<Buffer> {
  yield* chunks;
}

describe('the lines of a watch', () => {
  it('are the same however the bytes are cut', async () => {
    const values = fc.array(fc.jsonValue({ stringUnit: 'binary' }), { maxLength: 8 });
    const cuts = fc.array(fc.nat(), { maxLength: 20 });
    await fc.assert(
      fc.asyncProperty(values, cuts, fc.boolean(), async (values, cuts, endsWithLine) => {
        const text = values.map((value) => JSON.stringify(value)).join('\n');
        const bytes = Buffer.from(endsWithLine ? `${text}\n` : text);
        const places = [...cuts.map((cut) => cut % (bytes.length + 1)), 0, bytes.length];
        places.sort((a, b) => a - b);
        const chunks = places.slice(1).map((end, i) => bytes.subarray(places[i], end));
        expect(await linesOf(chunks)).toEqual(JSON.parse(JSON.stringify(values)));
      }),
    );
  });

  it('may have empty ones between them', async () => {
    expect(await linesOf([Buffer.from('\n1\n\r\n2\n\n')])).toEqual([1, 2]);
  });

  it('end with an error when one grows too long', async () => {
    const chunks = [Buffer.from('1\n'), Buffer.from('"12345'), Buffer.from('67890"')];
    await expect(linesOf(chunks, 8)).rejects.toThrow('BodyTooLarge');
  });

  it('end with an error that does not quote what is no JSON', async () => {
    const error: unknown = await linesOf([Buffer.from('s3cret\n')]).catch((error) => error);
    expect(error).toBeInstanceOf(Error);
    expect(String(error)).not.toContain('s3c');
  });
});
