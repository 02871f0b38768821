/** Where an error was thrown: the first five frames of its stack, without its message, which may hold anything. */
export function stackFramesOf(error: unknown): string {
  const { stack = '', message = '' } = error instanceof Error ? error : {};
  const frames = stack
    .slice(stack.indexOf(message) + message.length)
    .split('\n')
    .filter((line) => /^\s+at /.test(line));
  return frames
    .slice(0, 5)
    .map((line) => line.trim())
    .join(' < ');
}
