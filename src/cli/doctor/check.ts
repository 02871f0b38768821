import { field, type Paint, wrapped } from '../output.ts';

/** One step of the way from the spec to the pods. */
export interface Check {
  readonly name: string;
  readonly result: 'ok' | 'fail' | 'skip';
  /** What was found, in one line. */
  readonly text: string;
  /** The reason of the failure, as the operator reports it. */
  readonly reason?: string;
  /** What to do about it. */
  readonly help?: string;
}

export const ok = (name: string, text: string): Check => ({ name, result: 'ok', text });
export const skip = (name: string, text: string): Check => ({ name, result: 'skip', text });
export const fail = (name: string, text: string, help?: string): Check => ({
  name,
  result: 'fail',
  text,
  ...(help === undefined ? {} : { help }),
});

/** A failure that the operator meets as well. */
export const failure = (name: string, reason: string, text: string, help?: string): Check => ({
  ...fail(name, text, help),
  reason,
});

const COLOURS = { ok: 'green', fail: 'red', skip: 'yellow' } as const;
const WIDTH = 7;

export function checkLines(checks: readonly Check[], paint: Paint): string {
  const lines = checks.map(({ name, result, text, help }) => {
    const mark = `[${result}]`;
    const painted = paint(COLOURS[result], mark) + ' '.repeat(WIDTH - mark.length);
    // A command can be copied only from one line
    const told = [...wrapped(text), ...(help?.split('\n') ?? [])];
    return painted + field(name, told).replaceAll('\n', `\n${' '.repeat(WIDTH)}`);
  });
  const failures = checks.filter(({ result }) => result === 'fail').length;
  const sum =
    failures === 0 ? 'No failure.' : `${failures} ${failures === 1 ? 'failure' : 'failures'}.`;
  return [...lines, sum].join('\n');
}
