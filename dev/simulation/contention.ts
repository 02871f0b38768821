import { seconds } from '../../src/lib/time.ts';
import type { Dice } from './dice.ts';
import { requestRenewal } from './early-password.ts';
import { FAULTS } from './faults.ts';
import { specOf } from './rules/rule.ts';
import type { World } from './world.ts';

/**
 * Another program that uses the same users and ends their sessions, again and again: from the third end within an hour
 * on, a login waits. Between them people request renewals, suspend, and put the Secret of a session back.
 */
export function contend(world: World, dice: Dice): void {
  const pause = dice.pick([seconds(2), seconds(20), seconds(80)]);
  for (let count = dice.between(3, 6); count > 0; count -= 1)
    world.later(count * pause + dice.below(1_000), () => endSessions(world, dice));
}

function endSessions(world: World, dice: Dice): void {
  world.trace.add('step', () => 'another program ends all sessions');
  world.touched();
  FAULTS.sessions.loseSessions(world, dice);
  const users = world.credentials().filter((each) => specOf(each).grantType === 'password');
  if (users.length === 0 || dice.chance(0.2)) return;
  const { metadata } = dice.pick(users);
  const key = `${metadata.namespace}/${metadata.name}`;
  world.later(dice.below(1_000), () => {
    const found = world.server.get('convercuscredentials', key);
    if (found !== undefined) requestRenewal(world, 'convercuscredentials', found);
    // While the refresh is on its way, or its end is written
    if (dice.chance(0.3)) world.later(dice.below(60), () => suspend(world, key));
    if (dice.chance(0.4)) world.later(dice.below(60), () => putBack(world, `${key}-session`));
  });
}

function suspend(world: World, key: string): void {
  const found = world.server.get('convercuscredentials', key);
  if (found === undefined) return;
  const spec = { ...specOf(found), suspend: true };
  world.server.put('convercuscredentials', { ...found, spec }, 'kubectl');
}

/** `kubectl replace --force`: the same content, another uid. */
function putBack(world: World, key: string): void {
  const found = world.server.get('secrets', key);
  if (found === undefined) return;
  world.server.remove('secrets', key, 'people');
  const { uid: _, resourceVersion: __, ...metadata } = found.metadata;
  world.server.put('secrets', { ...found, metadata }, 'kubectl');
}
