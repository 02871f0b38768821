import type { RenewReason } from '../credential/plan.ts';
import type { FailureKind } from '../lib/failure.ts';

export interface Telemetry {
  renewal(reason: RenewReason, outcome: 'success' | FailureKind): void;
}
