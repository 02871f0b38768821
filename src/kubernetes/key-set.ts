import type { Key } from '../lib/key.ts';

/** Some keys. Nearly always it is one, so one takes no Set. */
export type KeySet = Key | Set<Key> | undefined;

export function withKey(keys: KeySet, key: Key): KeySet {
  if (keys === undefined || keys === key) return key;
  return typeof keys === 'string' ? new Set([keys, key]) : keys.add(key);
}

export function withoutKey(keys: KeySet, key: Key): KeySet {
  if (keys === undefined || keys === key) return undefined;
  if (typeof keys === 'string') return keys;
  keys.delete(key);
  return keys.size === 0 ? undefined : keys;
}

export function keysOf(keys: KeySet): readonly Key[] {
  if (keys === undefined) return [];
  return typeof keys === 'string' ? [keys] : [...keys];
}
