import type { FailureRecord, Realm, RealmSettings, User } from './realm.ts';

/** True while logins of this user fail whatever the password. */
export function isLocked(realm: Realm, user: User): boolean {
  const record = realm.failures.get(user.id);
  return (
    realm.settings.bruteForceProtected && record !== undefined && record.lockedUntil > realm.seconds
  );
}

/** Counts a wrong password and locks the user at the limit, as Keycloak's DefaultBruteForceProtector does. */
export function recordFailure(realm: Realm, user: User): void {
  const { settings } = realm;
  if (!settings.bruteForceProtected) return;
  const now = realm.clock();
  const before = realm.failures.get(user.id) ?? {
    count: 0,
    lastFailure: Number.NEGATIVE_INFINITY,
    lockedUntil: 0,
  };
  const sinceLast = now - before.lastFailure;
  const count = sinceLast > settings.maxDeltaTimeSeconds * 1000 ? 1 : before.count + 1;
  const record: FailureRecord = { count, lastFailure: now, lockedUntil: 0 };
  const wait = waitSeconds(settings, count, sinceLast);
  if (wait > 0) record.lockedUntil = realm.seconds + wait;
  if (wait === Number.POSITIVE_INFINITY) user.enabled = false;
  realm.failures.set(user.id, record);
}

export function forgetFailures(realm: Realm, user: User): void {
  realm.failures.delete(user.id);
}

function waitSeconds(settings: RealmSettings, count: number, sinceLast: number): number {
  if (settings.permanentLockout && count >= settings.failureFactor) return Number.POSITIVE_INFINITY;
  const steps =
    settings.bruteForceStrategy === 'LINEAR'
      ? Math.max(0, 1 + count - settings.failureFactor)
      : Math.floor(count / settings.failureFactor);
  const quick =
    sinceLast < settings.quickLoginCheckMilliSeconds ? settings.minimumQuickLoginWaitSeconds : 0;
  return Math.min(settings.waitIncrementSeconds * steps || quick, settings.maxFailureWaitSeconds);
}
