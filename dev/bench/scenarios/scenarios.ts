import type { Lab } from '../lab.ts';
import type { Row } from '../report.ts';
import { distinct, first, quiet, type Size, sharing } from './promises.ts';
import { wrongSecret } from './wrong-secret.ts';

export interface Scenario {
  readonly work: (lab: Lab, size: Size) => Promise<Row[]>;
  /** @param asked what `--size` says */
  readonly size: (asked: number) => Size;
  readonly inCheck: boolean;
}

export const SIZES = {
  check: { count: 40, namespaces: 4, idleSeconds: 5, wrongSeconds: 10 },
  promises: { count: 500, namespaces: 20, idleSeconds: 60, wrongSeconds: 300 },
  one: { count: 100, namespaces: 1, idleSeconds: 60, wrongSeconds: 300 },
} as const satisfies Record<string, Size>;

/** In the order in which they run. */
export const SCENARIOS: Readonly<Record<string, Scenario>> = {
  first: { work: first, size: () => SIZES.one, inCheck: true },
  sharing: { work: sharing, size: () => SIZES.promises, inCheck: true },
  distinct: { work: distinct, size: () => SIZES.promises, inCheck: true },
  quiet: { work: quiet, size: () => SIZES.promises, inCheck: true },
  'wrong-secret': { work: wrongSecret, size: () => SIZES.promises, inCheck: true },
};
