/** The command line is wrong, or a program that is needed is missing; the message says what to do. */
export class UsageError extends Error {}

/** @throws when something is missing */
export function requireAll(missing: readonly string[]): void {
  if (missing.length > 0) throw new UsageError(missing.join('\n'));
}
