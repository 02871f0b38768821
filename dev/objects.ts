import { setTimeout as sleep } from 'node:timers/promises';

/** Looks until the look pleases; when the time is up it answers the last look, for the caller to complain about. */
export async function eventually<T>(
  look: () => Promise<T>,
  pleases: (seen: T) => boolean,
  seconds = 60,
): Promise<T> {
  const deadline = Date.now() + seconds * 1_000;
  for (;;) {
    const seen = await look();
    if (pleases(seen) || Date.now() > deadline) return seen;
    await sleep(100);
  }
}

/** The expiry that a token carries itself, in milliseconds since 1970; NaN when it is no token. */
export function expiryOf(token: string): number {
  const [, payload = ''] = token.split('.');
  try {
    return Number(JSON.parse(Buffer.from(payload, 'base64url').toString()).exp) * 1_000;
  } catch {
    return Number.NaN;
  }
}

/** Input for `kubectl apply -f -`. */
export const manifest = (objects: readonly object[]): string =>
  objects.map((object) => JSON.stringify(object)).join('\n---\n');
