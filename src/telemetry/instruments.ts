import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

type Labels = Readonly<Record<string, string>>;
export type Sample = readonly [labels: Labels, value: number];

/** A prom-client registry. Counters and histograms take label values in the order of the label names. */
export class Instruments {
  readonly #registry = new Registry();

  /** The library's metrics of the process: CPU, memory, event loop. */
  addProcess(): void {
    collectDefaultMetrics({ register: this.#registry });
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  text(): Promise<string> {
    return this.#registry.metrics();
  }

  counter(name: string, help: string, labelNames: readonly string[]) {
    const counter = new Counter({ name, help, labelNames, registers: [this.#registry] });
    const childOf = memoized((labels) => counter.labels(...labels));
    return (labels: readonly string[], by = 1): void => childOf(labels).inc(by);
  }

  histogram(name: string, help: string, labelNames: readonly string[], buckets: number[]) {
    const registers = [this.#registry];
    const histogram = new Histogram({ name, help, labelNames, buckets, registers });
    const childOf = memoized((labels) => histogram.labels(...labels));
    return (labels: readonly string[], seconds: number): void => childOf(labels).observe(seconds);
  }

  /** @param read returns all samples; called at each scrape */
  gauge(name: string, help: string, labelNames: readonly string[], read: () => Sample[]): void {
    // prom-client passes the gauge as `this`
    const collect = (gauge: Gauge): void => {
      gauge.reset();
      for (const [labels, value] of read()) gauge.set(labels, value);
    };
    void new Gauge({
      name,
      help,
      labelNames,
      registers: [this.#registry],
      collect() {
        collect(this);
      },
    });
  }
}

/** Keeps the child of each combination of labels, which are few: prom-client checks and copies labels on each call. */
function memoized<T>(make: (labels: readonly string[]) => T): (labels: readonly string[]) => T {
  const children = new Map<string, T>();
  return (labels) => {
    const key = labels.join('\n');
    const known = children.get(key);
    const child = known ?? make(labels);
    if (known === undefined) children.set(key, child);
    return child;
  };
}
