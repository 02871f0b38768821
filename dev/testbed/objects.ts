import { setTimeout as sleep } from 'node:timers/promises';

/** Repeats `look` until `pleases` accepts the value, or the time is over. @returns the last value */
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

/** The claim `exp` of a token, in milliseconds since 1970; NaN when it is no JWT. */
export function expiryOf(token: string): number {
  const [, payload = ''] = token.split('.');
  try {
    return Number(JSON.parse(Buffer.from(payload, 'base64url').toString()).exp) * 1_000;
  } catch {
    return Number.NaN;
  }
}

/** Input for `kubectl apply -f -`. One list, for kubectl 1.32 reads no documents of JSON. */
export const manifest = (items: readonly object[]): string =>
  JSON.stringify({ apiVersion: 'v1', kind: 'List', items });
