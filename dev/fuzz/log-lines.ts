/** What an operator logs only when something happened that it was not made for. */

/** Message, kind and place of each such line once, without its time and its credential. */
export function unexpectedErrors(log: string): Set<string> {
  const lines = log.split('\n').filter((line) => line !== '');
  return new Set(lines.flatMap((line) => unexpectedError(line) ?? []));
}

function unexpectedError(line: string): string | undefined {
  const entry = parsed(line);
  // Node itself prints the stack of an uncaught error, and warnings
  if (entry === undefined) return `not a log line: ${line.slice(0, 200)}`;
  const { level, message, kind, code, at } = entry;
  if (level !== 'error' && !line.includes('InternalError')) return undefined;
  return JSON.stringify({ message, kind, code, at });
}

function parsed(line: string): Record<string, unknown> | undefined {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
