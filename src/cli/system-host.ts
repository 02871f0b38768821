import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { isatty } from 'node:tty';
import { EXIT } from './exit-code.ts';
import type { Finished, Host } from './host.ts';

const MAX_OUTPUT = 64 << 20;

/** This process and its terminal. */
export function systemHost(): Host {
  const stop = new AbortController();
  process.once('SIGINT', () => stop.abort());
  process.once('SIGTERM', () => stop.abort());
  process.stdout.on('error', endWithoutOutput);
  return {
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
    isTerminal: isatty(1),
    canAsk: isatty(0) && isatty(2),
    isInputTerminal: isatty(0),
    env: process.env,
    now: Date.now,
    sleep: async (time) => {
      await sleep(time, undefined, { signal: stop.signal });
    },
    ask: (question, isHidden = false) =>
      ask(question, {
        isHidden,
        signal: stop.signal,
        input: process.stdin,
        output: process.stderr,
      }),
    readInput: () => text(process.stdin),
    run,
    signal: stop.signal,
  };
}

function endWithoutOutput(error: NodeJS.ErrnoException): void {
  // The reader of a pipe has left, such as head
  if (error.code === 'EPIPE') process.exit(EXIT.done);
  process.stderr.write(`The output could not be written (${error.code})\n`);
  process.exit(EXIT.unexpected);
}

interface Asking {
  readonly isHidden: boolean;
  readonly signal: AbortSignal;
  readonly input: NodeJS.ReadableStream;
  /** Standard error, so that standard output can be piped. */
  readonly output: NodeJS.WritableStream;
}

/** The answer is empty when the input ends (Ctrl-D). */
export async function ask(
  question: string,
  { isHidden, signal, input, output }: Asking,
): Promise<string> {
  let isMuted = false;
  const shown = new Writable({
    write(chunk, _, done) {
      if (!isMuted) output.write(chunk);
      done();
    },
  });
  const lines = createInterface({ input, output: shown, terminal: true });
  try {
    lines.once('SIGINT', () => process.kill(process.pid, 'SIGINT'));
    const ended = once(lines, 'close').then(() => '');
    const answer = lines.question(question, { signal });
    isMuted = isHidden;
    return await Promise.race([answer, ended]);
  } catch (error) {
    if (signal.aborted) throw error;
    return '';
  } finally {
    lines.close();
    if (isHidden) output.write('\n');
  }
}

const run = (command: string, args: readonly string[]): Promise<Finished> =>
  new Promise((resolve) => {
    execFile(command, args, { maxBuffer: MAX_OUTPUT }, (error, stdout, stderr) => {
      const code = error === null ? 0 : error.code;
      resolve({ code: typeof code === 'number' ? code : undefined, stdout, stderr });
    });
  });
