import { RENEW_REQUEST_ANNOTATION } from '../../src/credential/credential.ts';
import { type Ms, minutes, parseTime, seconds } from '../../src/lib/time.ts';
import type { Dice } from './dice.ts';
import { NAMESPACES } from './names.ts';
import type { StoredObject } from './objects.ts';
import { CLIENTS } from './provider.ts';
import { START } from './replica.ts';
import { specOf, statusOf } from './rules/rule.ts';
import type { RenewRequest, World } from './world.ts';

/**
 * A password that is in the credentials Secrets before the provider has it, so that it is rejected at first and right
 * later, while the Secrets stay as they are. Then people request a renewal, as the condition tells them to.
 */

const KINDS = ['convercuscredentials', 'clusterconvercuscredentials'] as const;

export function setPasswordEarly(world: World, dice: Dice): void {
  const client = dice.pick(CLIENTS);
  const source = client.replace('client', 'source');
  world.renewRequests.delete(source);
  const password = world.provider.nextPassword();
  for (const namespace of NAMESPACES) {
    if (world.server.get('secrets', `${namespace}/${source}`) !== undefined)
      world.putSource(namespace, source, { password });
  }
  const gap = dice.pick<Ms>([seconds(5), seconds(40), minutes(3), minutes(25)]);
  if (dice.chance(0.5)) world.later(dice.below(gap), () => request(world, source));
  const pause = dice.pick<Ms>([0, seconds(3), seconds(30)]);
  world.later(gap, () => world.provider.changePassword(client, password));
  world.later(gap + pause, () => {
    world.renewRequests.set(source, none());
    request(world, source);
  });
}

/** By then Keycloak has ended each lock: `maxFailureWaitSeconds` is 15 minutes by default. */
const AFTER_LOCK: Ms = minutes(16);

/**
 * For those that were created or edited, or whose Secret was, since: the password may be known as a rejected one. Also
 * for those that have been told of a rejection since the last request, by a response that had been on its way, or
 * because the tries of this very password had locked the account.
 */
export function requestForLatecomers(world: World): void {
  // After its clock was set back Keycloak takes two rejections for quick ones, and locks the user at once
  const mayLock = world.setting.failureFactor < 30 || world.provider.hasJumped;
  const waits = mayLock ? [seconds(20), AFTER_LOCK] : [seconds(20)];
  for (const wait of waits) {
    world.later(wait, () => {
      for (const source of world.renewRequests.keys()) request(world, source);
    });
  }
}

const none = () => ({ made: new Map<string, RenewRequest>(), at: -Infinity });

function request(world: World, source: string): void {
  const requests = world.renewRequests.get(source) ?? none();
  const versions = NAMESPACES.map(
    (namespace) => world.server.get('secrets', `${namespace}/${source}`)?.metadata.resourceVersion,
  );
  for (const kind of KINDS) {
    for (const object of world.server.all(kind)) {
      const { uid, generation } = object.metadata;
      const id = [uid, generation, ...versions].join('/');
      const made = requests.made.get(id);
      // A restore of etcd takes it back
      const isThere = made?.value === object.metadata.annotations?.[RENEW_REQUEST_ANNOTATION];
      const isMade = made !== undefined && isThere && !isRejectedSince(object, made, requests.at);
      if (specOf(object).credentialsSecretRef.name !== source || isMade) continue;
      const value = `at ${world.now}`;
      requests.made.set(id, { value, rejectedAt: statusOf(object)?.rejectedLogin?.at });
      requestRenewal(world, kind, object);
    }
  }
  requests.at = world.now;
}

/** The date in the status is of the clock of a replica, which may have been set back. */
function isRejectedSince(
  credential: StoredObject,
  { rejectedAt }: RenewRequest,
  moment: Ms,
): boolean {
  const { rejectedLogin } = statusOf(credential) ?? {};
  if (rejectedLogin === undefined) return false;
  if (rejectedLogin.at !== rejectedAt) return true;
  const at = parseTime(rejectedLogin.at);
  return at !== undefined && at >= START + moment - seconds(1);
}

/** `kubectl annotate`. */
export function requestRenewal(
  world: World,
  kind: (typeof KINDS)[number],
  object: StoredObject,
): void {
  const annotations = {
    ...object.metadata.annotations,
    [RENEW_REQUEST_ANNOTATION]: `at ${world.now}`,
  };
  world.server.put(kind, { ...object, metadata: { ...object.metadata, annotations } }, 'kubectl');
}
