import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { renderTarget } from '../../src/credential/target-secret.ts';
import { isFailure } from '../../src/lib/failure.ts';
import { Sensitive } from '../../src/lib/sensitive.ts';
import { type EpochMs, hours, minutes } from '../../src/lib/time.ts';
import type { Token } from '../../src/oauth/token.ts';
import { aParsedCredential, aToken, CANARY, START } from '../support/builders.ts';
import { SOURCE, TARGET, World } from '../support/world.ts';

/** Who may write the target once could else keep a token of their own there: annotations need no key. */
describe('a forged token in the target', () => {
  const FAR: EpochMs = Date.parse('2099-01-01T00:00:00Z');
  const FORGED = `${CANARY}-forged`;
  let world: World;

  beforeEach(async () => {
    world = World.with();
    await world.reconcile();
    world.clock.step(minutes(1));
  });

  afterEach(() => {
    expect(world.shown).not.toContain(CANARY);
  });

  /** As the operator itself would write it, digest and all. */
  function forge(dates: Partial<Pick<Token, 'issuedAt' | 'expiresAt'>>): void {
    const { uid, resourceVersion } = world.cluster.stored(SOURCE)!;
    const provenance = { sourceVersion: `${uid}/${resourceVersion}`, renewRequest: undefined };
    const token = aToken({ ...dates, accessToken: new Sensitive(FORGED) });
    const rendered = renderTarget(aParsedCredential(), token, provenance, 'absent');
    if (isFailure(rendered)) throw new Error(rendered.message);
    const { annotations } = rendered.secret;
    world.cluster.putSecret(TARGET, { annotations, data: { token: FORGED } });
  }

  const token = () => world.cluster.stored(TARGET)?.data['token'];

  it.each<[string, Partial<Pick<Token, 'issuedAt' | 'expiresAt'>>]>([
    ['that expires in 2099', { expiresAt: FAR }],
    ['that was issued in 2099', { issuedAt: FAR, expiresAt: FAR + minutes(5) }],
    ['that is valid for two days', { expiresAt: START + hours(48) }],
    ['that expires before its issue', { expiresAt: START - 1 }],
  ])('%s is replaced at once', async (_, dates) => {
    forge(dates);
    world.restart();
    const action = await world.reconcile();

    expect(token()).toBe(`${CANARY}-token-2`);
    expect(world.summary('Ready')).toBe('True TokenValid');
    expect(action).toEqual({ requeueAt: START + minutes(1) + minutes(4) });
  });

  it('is not shown as valid while it can not be replaced', async () => {
    forge({ expiresAt: FAR });
    world.restart();
    world.cluster.removeSecret(SOURCE);
    await world.reconcile();
    expect(world.summary('Ready')).toBe('False InputMissing');

    world.cluster.edit('shop/loyalty', (spec) => ({ ...spec, environment: 'moon' }));
    await world.reconcile();
    expect(world.summary('Ready')).toBe('False InvalidSpec');
  });

  it('with dates within a day of its issue is replaced when it expires, at the latest', async () => {
    forge({ expiresAt: START + hours(24) });
    world.restart();
    const action = await world.reconcile();
    expect(action).toEqual({ requeueAt: START + hours(24) * 0.8 });
    await world.runFor(hours(24), action);

    expect(token()).not.toBe(FORGED);
    expect(world.summary('Ready')).toBe('True TokenValid');
  });
});
