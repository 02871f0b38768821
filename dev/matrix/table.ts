import type { Counts } from '../jest.ts';

/** One version of a server, and what the tests against it came to. */
export interface Row {
  readonly server: string;
  /** Of what was not in the cache. */
  readonly buildMinutes: number;
  readonly testMinutes: number;
  readonly suites: Readonly<Record<string, Counts>>;
}

/** In Markdown, for docs/versions.md: a table for each kind of server, which has suites of its own. */
export function printTable(rows: readonly Row[]): void {
  const kinds = Map.groupBy(rows, ({ suites }) => Object.keys(suites).join());
  for (const group of kinds.values()) console.log(`\n${tableOf(group)}`);
}

export function tableOf(rows: readonly Row[]): string {
  const columns = Object.keys(rows[0]?.suites ?? {});
  const lines = rows.map(({ server, suites, testMinutes, buildMinutes }) => [
    server,
    ...columns.map((column) => resultOf(suites[column])),
    testMinutes.toFixed(1),
    buildMinutes.toFixed(1),
  ]);
  const head = ['', ...columns, 'minutes', 'of the build'];
  return [head, head.map(() => '---'), ...lines]
    .map((cells) => `| ${cells.join(' | ')} |`)
    .join('\n');
}

const resultOf = (counts: Counts | undefined): string => {
  if (counts === undefined) return 'not run';
  const { passed, failed } = counts;
  return failed === 0 ? `${passed} passed` : `${passed} passed, **${failed} failed**`;
};
