import { PassThrough } from 'node:stream';
import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import type { Log } from '../../src/lib/log.ts';
import { createLog, type LogOptions } from '../../src/telemetry/logger.ts';
import { anyCharacter } from '../support/arbitraries.ts';

function written(options: Omit<LogOptions, 'stream'>, write: (log: Log) => void): string {
  const stream = new PassThrough({ encoding: 'utf8', highWaterMark: 1_000_000 });
  write(createLog({ ...options, stream }));
  return stream.read() ?? '';
}

const TIME = /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/;
const DANGEROUS = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u;

describe('the log', () => {
  it('writes a JSON object a line: time, level, message, then the fields', () => {
    const text = written({ level: 'info', format: 'json' }, (log) => {
      log.info('Renewed', { namespace: 'shop', count: 2, forced: false, reason: undefined });
    });
    const entry = JSON.parse(text);
    expect(Object.keys(entry)).toEqual([
      'timestamp',
      'level',
      'message',
      'namespace',
      'count',
      'forced',
    ]);
    expect(entry).toEqual({
      timestamp: expect.stringMatching(TIME),
      level: 'info',
      message: 'Renewed',
      namespace: 'shop',
      count: 2,
      forced: false,
    });
  });

  it('writes text for people', () => {
    const text = written({ level: 'info', format: 'text' }, (log) => {
      log.warn('Slow', { host: 'id.test', cause: 'timed "out"', reason: undefined });
    });
    expect(text.replace(TIME, 'TIME')).toBe(
      'TIME WARN  Slow host=id.test cause="timed \\"out\\""\n',
    );
  });

  it('leaves out what is below its level', () => {
    const text = written({ level: 'warn', format: 'json' }, (log) => {
      log.debug('a');
      log.info('b');
      log.warn('c');
      log.error('d');
    });
    const lines = text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line).message);
    expect(lines).toEqual(['c', 'd']);
  });

  it('lets no field pass for the time, the level or the message', () => {
    const text = written({ level: 'info', format: 'json' }, (log) => {
      log.info('real', {
        message: 'forged',
        level: 'error',
        timestamp: 'never',
        splat: 'x',
        stack: 'y',
      });
    });
    expect(JSON.parse(text)).toEqual({
      timestamp: expect.stringMatching(TIME),
      level: 'info',
      message: 'real',
      splat: 'x',
      stack: 'y',
    });
  });

  it.each(['json', 'text'] as const)(
    'writes one harmless line as %s, whatever it says',
    (format) => {
      const odd = fc.constantFrom(
        '\n',
        '\r',
        '\u001b[2J',
        '\u009b',
        '\u2028',
        '\u202e',
        '\u{e0041}',
        '\ud800',
        'a"b',
      );
      const anything = fc.array(fc.oneof(odd, fc.string({ unit: anyCharacter })), { maxLength: 4 });
      fc.assert(
        fc.property(anything, anything, (message, value) => {
          const text = written({ level: 'info', format }, (log) => {
            log.info(message.join(''), { value: value.join('') });
          });
          expect(text.endsWith('\n')).toBe(true);
          expect(text.slice(0, -1)).not.toMatch(DANGEROUS);
          if (format === 'text') return;
          const entry = JSON.parse(text);
          expect(entry.message).toBe(message.join(''));
          expect(entry.value).toBe(value.join(''));
        }),
      );
    },
  );
});
