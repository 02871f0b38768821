import { randomBytes, randomUUID } from 'node:crypto';

/** The source of ids, keys and signatures. A simulation passes a seeded one, so that a run can be repeated. */
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
