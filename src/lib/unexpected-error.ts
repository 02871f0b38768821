const FRAME =
  /^ +at (?:(?:async |new )*(?<name>[\w$.#<>]+)(?: \[as [\w$]+\])? \()?(?<place>(?:file:|node:|\/)[^()]+:\d+:\d+)\)?$/;

/**
 * The class of an error and where it was thrown, as `name (file:line:column)` of at most five callers outside of Node.
 * Its message and the rest of its fields may hold anything, so nothing of them is shown.
 */
export function kindAndPlaceOf(error: unknown): { readonly kind: string; readonly at: string } {
  try {
    if (!(error instanceof Error)) return { kind: typeof error, at: '' };
    const { name } = error.constructor;
    return { kind: /^\w+$/.test(name) ? name : 'Error', at: stackFramesOf(error) };
  } catch {
    return { kind: 'Error', at: '' }; // a getter threw
  }
}

function stackFramesOf({ stack = '', message }: Error): string {
  const frames = stack
    .slice(stack.indexOf(message) + message.length)
    .split('\n')
    .map((line) => FRAME.exec(line)?.groups ?? {})
    .flatMap(({ name, place }) => (place === undefined ? [] : [{ name, place }]));
  const outside = frames.filter(({ place }) => !place.startsWith('node:'));
  return (outside.length > 0 ? outside : frames)
    .slice(0, 5)
    .map(({ name, place }) => (name === undefined ? place : `${name} (${place})`))
    .join(' < ');
}
