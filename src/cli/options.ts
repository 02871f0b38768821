import type { Context } from './context.ts';
import type { Format, Result } from './output.ts';

/** Options that every command has. */
export interface CommonOptions {
  readonly kubeconfig?: string;
  readonly context?: string;
  readonly namespace?: string;
  readonly allNamespaces?: boolean;
  readonly operatorNamespace?: string;
  readonly output?: Format;
  /** False with --no-color. */
  readonly color?: boolean;
}

/** Runs `use` with what the options and the kubeconfig say, and prints its result. */
export type WithContext = (
  options: CommonOptions,
  use: (context: Context) => Promise<Result>,
) => Promise<void>;
