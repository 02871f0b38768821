import { writeFileSync } from 'node:fs';

/** Prints measured values as a table and writes them as JSON. */
export class Report {
  readonly #figures: { what: string; value: string }[] = [];

  add(what: string, value: string | number): void {
    this.#figures.push({ what, value: String(value) });
    process.stderr.write(`${what}: ${value}\n`);
  }

  seconds(what: string, milliseconds: number): void {
    this.add(what, `${(milliseconds / 1_000).toFixed(1)} s`);
  }

  mebibytes(what: string, bytes: number): void {
    this.add(what, `${(bytes / 2 ** 20).toFixed(1)} MiB`);
  }

  print(file: string | undefined): void {
    const width = Math.max(...this.#figures.map(({ what }) => what.length));
    const rows = this.#figures.map(({ what, value }) => `${what.padEnd(width)}  ${value}`);
    process.stdout.write(`\n${rows.join('\n')}\n\n`);
    const entries = this.#figures.map(({ what, value }) => [what, value]);
    if (file !== undefined) {
      writeFileSync(file, `${JSON.stringify(Object.fromEntries(entries), undefined, 2)}\n`);
    }
  }
}

/** The quantile: this share of the values is at most as large. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
