import { expect } from '@jest/globals';
import { leaks, openPlaces } from '../../dev/testbed/leaks.ts';
import type { Testbed } from '../../dev/testbed/testbed.ts';

/** No secret that was put in, no token read, and none of these is in logs, metrics, statuses, events, Leases, metadata. */
export async function expectNoLeaks(testbed: Testbed, more: readonly string[] = []): Promise<void> {
  const places = await openPlaces(testbed.controlPlane, testbed.operator);
  for (const [place, text] of places) expect([place, text.length > 1_000]).toEqual([place, true]);
  expect(leaks(places, [...testbed.secrets, ...testbed.tokens, ...more])).toEqual([]);
}
