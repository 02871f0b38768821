/** Lower than every version that an API server gives. */
export const NO_VERSION = '0';

/**
 * Versions of one resource are numbers that grow with every change of any of its objects, so those of two objects
 * can be compared as well (KEP-5504). A version that is no number is never older.
 */
export function isOlderVersion(version: string, than: string): boolean {
  if (!/^\d+$/.test(version) || !/^\d+$/.test(than)) return false;
  return version.length === than.length ? version < than : version.length < than.length;
}
