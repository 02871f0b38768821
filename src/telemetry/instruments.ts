import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

type Labels = Readonly<Record<string, string>>;
type Sample = readonly [labels: Labels, value: number];

/** A registry and short ways to fill it. The label names of counters and histograms are in the order of their values. */
export class Instruments {
  readonly #registry = new Registry();

  /** What there is to know of the process itself. */
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
    const childOf = remembered((labels) => counter.labels(...labels));
    return (labels: readonly string[], by = 1): void => childOf(labels).inc(by);
  }

  histogram(name: string, help: string, labelNames: readonly string[], buckets: number[]) {
    const registers = [this.#registry];
    const histogram = new Histogram({ name, help, labelNames, buckets, registers });
    const childOf = remembered((labels) => histogram.labels(...labels));
    return (labels: readonly string[], seconds: number): void => childOf(labels).observe(seconds);
  }

  /** @param read all samples there are, asked for when somebody asks for the metrics */
  gauge(name: string, help: string, labelNames: readonly string[], read: () => Sample[]): void {
    // A metric sets its samples on itself
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

/** The library checks and copies the labels each time that it is asked for a child. Labels have few values. */
function remembered<T>(make: (labels: readonly string[]) => T): (labels: readonly string[]) => T {
  const children = new Map<string, T>();
  return (labels) => {
    const key = labels.join('\n');
    const known = children.get(key);
    const child = known ?? make(labels);
    if (known === undefined) children.set(key, child);
    return child;
  };
}
