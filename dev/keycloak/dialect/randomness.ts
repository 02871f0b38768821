import { randomBytes, randomUUID } from 'node:crypto';

/** Where ids, keys and signatures come from. A simulation gives its own, so that a run can be repeated. */
export type Randomness = {
  /** Uniform in [0, 1). */
  number: () => number;
  bytes: (size: number) => Buffer;
  uuid: () => string;
};

export const systemRandomness: Randomness = {
  number: Math.random,
  bytes: randomBytes,
  uuid: randomUUID,
};
