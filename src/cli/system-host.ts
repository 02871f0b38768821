import { execFile } from 'node:child_process';
import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { isatty } from 'node:tty';
import type { Finished, Host } from './host.ts';

const MAX_OUTPUT = 64 << 20;

/** This process and its terminal. */
export function systemHost(): Host {
  const stop = new AbortController();
  process.once('SIGINT', () => stop.abort());
  process.once('SIGTERM', () => stop.abort());
  // The reader of a pipe has left, such as head
  process.stdout.on('error', () => process.exit(0));
  return {
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
    isTerminal: isatty(1),
    canAsk: isatty(0) && isatty(2),
    env: process.env,
    now: Date.now,
    sleep: async (time) => {
      await sleep(time, undefined, { signal: stop.signal });
    },
    ask: (question, hidden = false) => ask(question, hidden, stop.signal),
    readInput: () => text(process.stdin),
    run,
    signal: stop.signal,
  };
}

/** Questions go to standard error, so that standard output can be piped. */
async function ask(question: string, isHidden: boolean, signal: AbortSignal): Promise<string> {
  let isMuted = false;
  const output = new Writable({
    write(chunk, _, done) {
      if (!isMuted) process.stderr.write(chunk);
      done();
    },
  });
  const lines = createInterface({ input: process.stdin, output, terminal: true });
  try {
    lines.once('SIGINT', () => process.kill(process.pid, 'SIGINT'));
    const answer = lines.question(question, { signal });
    isMuted = isHidden;
    return await answer;
  } finally {
    lines.close();
    if (isHidden) process.stderr.write('\n');
  }
}

const run = (command: string, args: readonly string[]): Promise<Finished> =>
  new Promise((resolve) => {
    execFile(command, args, { maxBuffer: MAX_OUTPUT }, (error, stdout, stderr) => {
      const code = error === null ? 0 : error.code;
      resolve({ code: typeof code === 'number' ? code : undefined, stdout, stderr });
    });
  });
