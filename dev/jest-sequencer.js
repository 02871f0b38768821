import { statSync } from 'node:fs';

/** Folders in the order in which their tests start; all others come last. */
const FOLDERS = [
  /\/test\/(e2e|docs)\//,
  /\/test\/(dev|packaging|envtest|cli|examples)\//,
  /\/test\/main\.test\.ts$/,
];

/**
 * Runs the files first that wait for servers, while other processes work on the others. By default jest starts with the
 * largest files as long as it has not measured them, and a short file that takes a minute is the last.
 */
export default class ServersFirst {
  sort(tests) {
    return tests
      .map((test) => ({ test, rank: rankOf(test.path), size: statSync(test.path).size }))
      .sort((a, b) => a.rank - b.rank || b.size - a.size)
      .map(({ test }) => test);
  }

  /** The order does not depend on earlier runs. */
  cacheResults() {}
}

function rankOf(path) {
  const rank = FOLDERS.findIndex((folder) => folder.test(path));
  return rank < 0 ? FOLDERS.length : rank;
}
