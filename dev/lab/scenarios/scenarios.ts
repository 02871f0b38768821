import type { Lab } from '../lab.ts';
import { peer } from '../peer/peer.ts';
import type { Row } from '../report.ts';
import { growth } from './growth.ts';
import { memory } from './memory.ts';
import { bigTenant, hangingHost } from './neighbours.ts';
import { distinct, first, sharing } from './promises.ts';
import { quiet, type Size } from './quiet.ts';
import { speed } from './speed.ts';
import { sustained } from './sustained.ts';
import { writes } from './writes.ts';
import { wrongSecret } from './wrong-secret.ts';

export interface Scenario {
  readonly work: (lab: Lab, size: Size) => Promise<Row[]>;
  /** @param asked what `--size` says */
  readonly size: (asked: number) => Size;
  /** Whether all that it counts can be counted at a small size. */
  readonly inCheck: boolean;
  /** It runs only when `--only` names it. */
  readonly isOptional?: boolean;
}

const WATCHED = { idleSeconds: 60, wrongSeconds: 300, sustainedSeconds: 600 };
const ofSize = (count: number): Size => ({ count, namespaces: 20, ...WATCHED });

export const CHECK: Size = {
  count: 40,
  namespaces: 4,
  idleSeconds: 5,
  wrongSeconds: 10,
  sustainedSeconds: 10,
};

/** In the order in which they run. */
export const SCENARIOS: Readonly<Record<string, Scenario>> = {
  first: { work: first, size: () => ofSize(100), inCheck: true },
  sharing: { work: sharing, size: () => ofSize(500), inCheck: true },
  distinct: { work: distinct, size: () => ofSize(500), inCheck: true },
  quiet: { work: quiet, size: () => ofSize(500), inCheck: true },
  'wrong-secret': { work: wrongSecret, size: () => ofSize(1), inCheck: true },
  writes: { work: writes, size: ofSize, inCheck: false },
  speed: { work: speed, size: ofSize, inCheck: false },
  growth: { work: growth, size: ofSize, inCheck: false },
  memory: { work: memory, size: ofSize, inCheck: false },
  'sharing-all': { work: sharing, size: ofSize, inCheck: false },
  'quiet-all': { work: quiet, size: ofSize, inCheck: false },
  'hanging-host': { work: hangingHost, size: () => ofSize(1_000), inCheck: false },
  'big-tenant': { work: bigTenant, size: () => ofSize(1_000), inCheck: false },
  sustained: { work: sustained, size: ofSize, inCheck: false },
  peer: { work: peer, size: ofSize, inCheck: false, isOptional: true },
};
