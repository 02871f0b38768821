import { spawnSync } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { describe, expect, it } from '@jest/globals';
import { ask } from '../../src/cli/system-host.ts';
import { never } from '../support/streams.ts';

const MAIN = join(import.meta.dirname, '../../src/cli/main.ts');
const CTRL_D = '\u0004';

/** Nothing can be written there. */
const FULL = '/dev/full';

describe('a question', () => {
  const asked = (isHidden: boolean, signal = never) => {
    const [input, output] = [new PassThrough(), new PassThrough()];
    let shown = '';
    output.on('data', (chunk) => {
      shown += String(chunk);
    });
    const answer = ask('Client secret: ', { isHidden, signal, input, output });
    return { input, answer, shown: () => shown };
  };

  it('is answered by a line, which does not show when it is hidden', async () => {
    for (const isHidden of [true, false]) {
      const { input, answer, shown } = asked(isHidden);
      input.write('CaNaRy\r');
      expect(await answer).toBe('CaNaRy');
      expect(shown()).toContain('Client secret: ');
      expect(shown().includes('CaNaRy')).toBe(!isHidden);
    }
  });

  it.each([true, false])('has an empty answer after Ctrl-D (hidden: %s)', async (isHidden) => {
    const { input, answer } = asked(isHidden);
    input.write(CTRL_D);
    expect(await answer).toBe('');
  });

  it('has an empty answer at the end of a file', async () => {
    const { input, answer } = asked(false);
    input.end();
    expect(await answer).toBe('');
  });

  it('has none after Ctrl-C', async () => {
    const stop = new AbortController();
    const { answer } = asked(false, stop.signal);
    stop.abort();
    await expect(answer).rejects.toMatchObject({ name: 'AbortError' });
  });
});

describe('what is printed', () => {
  const printTo = (file: string) => {
    const output = openSync(file, 'w');
    try {
      return spawnSync(process.execPath, [MAIN, '--help'], {
        stdio: ['ignore', output, 'pipe'],
        encoding: 'utf8',
      });
    } finally {
      closeSync(output);
    }
  };

  it('fails when it can not be written', () => {
    const { status, stderr } = printTo(FULL);
    expect([status, stderr]).toEqual([5, 'The output could not be written (ENOSPC)\n']);
  });

  it('is no failure when its reader has left', () => {
    const command = `"$0" "$1" --help | true; echo "$\{PIPESTATUS[0]}"`;
    const { stdout } = spawnSync('bash', ['-c', command, process.execPath, MAIN], {
      encoding: 'utf8',
    });
    expect(stdout).toBe('0\n');
  });
});
