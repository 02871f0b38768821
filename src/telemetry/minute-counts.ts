import type { Clock } from '../lib/clock.ts';
import type { LogFields } from '../lib/log.ts';
import { minutes } from '../lib/time.ts';

/** Counts what has no line of its own in the log, and tells the sums once a minute. */
export class MinuteCounts {
  readonly #clock: Clock;
  readonly #tell: (fields: LogFields) => void;
  readonly #counts = new Map<string, { readonly fields: LogFields; count: number }>();
  #cancel = (): void => undefined;

  /** @param tell gets the fields that were counted, and `count` */
  constructor(clock: Clock, tell: (fields: LogFields) => void) {
    this.#clock = clock;
    this.#tell = tell;
  }

  /** @param fields what is counted together; few different ones a minute */
  add(fields: LogFields): void {
    const id = JSON.stringify(fields);
    if (this.#counts.size === 0) this.#cancel = this.#clock.after(minutes(1), () => this.flush());
    const known = this.#counts.get(id);
    if (known === undefined) this.#counts.set(id, { fields, count: 1 });
    else known.count += 1;
  }

  flush(): void {
    this.#cancel();
    for (const { fields, count } of this.#counts.values()) this.#tell({ ...fields, count });
    this.#counts.clear();
  }
}
