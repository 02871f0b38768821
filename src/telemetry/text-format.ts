/** Prometheus text format 0.0.4, for what is written without the metrics library. */

export type Labels = Readonly<Record<string, string>>;

export const inText = (labels: Labels): string =>
  Object.entries(labels)
    .map(([label, value]) => `${label}="${escaped(value)}"`)
    .join();

const ESCAPES: Readonly<Record<string, string>> = { '\\': '\\\\', '"': '\\"', '\n': '\\n' };

const escaped = (value: string): string =>
  value.replace(/[\\"\n]/g, (found) => ESCAPES[found] ?? '');
