import type { Ms } from '../../src/lib/time.ts';
import type { Dice } from './dice.ts';

/** The current state of a network. Probabilities are per request. */
export interface Conditions {
  /** Of one direction; a slow message is overtaken by later ones. */
  latency: 'short' | 'mixed' | 'long';
  api: ApiConditions;
  watch: { cut: number; stall: Ms };
  host: { lostBefore: number; lostAfter: number; slow: number };
}

export interface ApiConditions {
  /** Connections are refused. */
  down: boolean;
  lostBefore: number;
  /** The server carried out the request and its response was lost. */
  lostAfter: number;
  /** 429, 500 or 503. */
  refused: number;
  /** No response. */
  hangs: number;
}

export const goodConditions = (): Conditions => ({
  latency: 'short',
  api: { down: false, lostBefore: 0, lostAfter: 0, refused: 0, hangs: 0 },
  watch: { cut: 0, stall: 0 },
  host: { lostBefore: 0, lostAfter: 0, slow: 0 },
});

/** The latency of a message. */
export function latency(dice: Dice, { latency: profile }: Conditions): Ms {
  if (profile === 'short') return dice.between(0, 5);
  const kind = dice.weighted({ quick: 60, usual: 30, late: profile === 'long' ? 12 : 4 });
  if (kind === 'quick') return dice.between(0, 3);
  return kind === 'usual' ? dice.between(5, 120) : dice.between(500, 8_000);
}
