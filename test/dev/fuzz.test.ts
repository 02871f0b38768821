import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { anyAction } from '../../dev/fuzz/actions.ts';
import { Canaries } from '../../dev/fuzz/canary.ts';
import { anySpec } from '../../dev/fuzz/credentials.ts';
import { FuzzProvider } from '../../dev/fuzz/provider.ts';
import { anyResponse, rightResponse } from '../../dev/fuzz/responses.ts';
import { Samples } from '../../dev/fuzz/samples.ts';
import { busiest, mostWithin } from '../../dev/fuzz/writes.ts';

const canaries = new Canaries(7);
const actionsOf = (seed: number): string[] => {
  const samples = new Samples(seed);
  return Array.from({ length: 20 }, () =>
    JSON.stringify(samples.next(anyAction).request(canaries)),
  );
};

describe('the samples of the fuzz', () => {
  it('are the same for the same seed, and others for another', () => {
    // Times lie around now
    const withoutTimes = (seed: number): string[] =>
      actionsOf(seed).map((text) => text.replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, ''));
    expect(withoutTimes(1)).toEqual(withoutTimes(1));
    expect(withoutTimes(1)).not.toEqual(withoutTimes(2));
    expect(new Set(withoutTimes(1)).size).toBeGreaterThan(15);
  });

  it('hold specs of every grant, and some that are no specs', () => {
    const specs = fc.sample(anySpec, { seed: 1, numRuns: 300 });
    const grants = new Set(specs.map((spec) => ('grantType' in spec ? spec.grantType : undefined)));
    expect([...grants]).toEqual(
      expect.arrayContaining(['client_credentials', 'password', 'legacy_login']),
    );
    expect(specs.some((spec) => !('credentialsSecretRef' in spec))).toBe(true);
  });

  it('hold responses of every kind, all of which are bytes', () => {
    const drafts = fc.sample(anyResponse, { seed: 1, numRuns: 500 });
    const presented = { secret: 'a"b%', canary: canaries.of(1), isLogin: false };
    for (const draft of drafts) expect(draft.render(presented)).toBeInstanceOf(Buffer);
    expect(new Set(drafts.map(({ kind }) => kind)).size).toBe(10);
  });
});

describe('a canary', () => {
  it('is found as it is and in base64 at any place, and tells its namespace', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.string(), (before, after) => {
        const text = `${before}${canaries.of(3)}${after}`;
        expect(canaries.isLeakedIn(text)).toBe(true);
        expect(canaries.isLeakedIn(Buffer.from(text).toString('base64'))).toBe(true);
        expect(canaries.isLeakedIn(`${before}${after}`)).toBe(false);
        expect(canaries.namespacesIn(text)).toEqual([3]);
      }),
    );
  });
});

describe('the provider of the fuzz', () => {
  it('sends right tokens to the bystander, and counts requests by what they present', async () => {
    await using provider = await FuzzProvider.start(new Samples(1), canaries);
    const response = await fetch(`${provider.url}/realms/bystander/token`, {
      method: 'POST',
      body: new URLSearchParams({ client_secret: canaries.of(2) }),
    });
    const body = await response.json();
    expect(body).toMatchObject({ token_type: 'Bearer', access_token: expect.any(String) });
    expect(canaries.namespacesIn(JSON.stringify(body))).toEqual([2, 2]);
    expect(provider.requests.map(({ identity }) => identity)).toEqual([
      `/realms/bystander/token ${canaries.of(2)}`,
    ]);
  });

  it('sends a login the token alone', () => {
    const [draft] = fc.sample(rightResponse, 1);
    const sent = draft?.render({ secret: '', canary: 'c', isLogin: true }).toString() ?? '';
    expect(sent.split('\r\n\r\n')[1]).toMatch(/^[\w-]+\.[\w-]+\.csignature$/);
  });
});

describe('the busiest object', () => {
  it('is the one with the most writes in a span, wherever it begins', () => {
    expect(mostWithin([0, 9, 10, 11, 19, 30], 10)).toBe(3);
    const items = [0, 1, 2].map((at) => ({ at, name: 'a' }));
    expect(busiest([...items, { at: 0, name: 'b' }], 10)).toEqual({ name: 'a', count: 3 });
    expect(busiest([], 10)).toEqual({ name: 'none', count: 0 });
  });
});
