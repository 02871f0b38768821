import type { EpochMs, Ms } from '../lib/time.ts';

/** The terminal and the process around a command. Tests put another in its place. */
export interface Host {
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  /** Standard output is a terminal: colours, warnings, a screen that is drawn again. */
  readonly isTerminal: boolean;
  /** Standard input and standard error are terminals: questions can be asked. */
  readonly canAsk: boolean;
  /** What is read from standard input shows while it is typed. */
  readonly isInputTerminal: boolean;
  readonly env: Readonly<Record<string, string | undefined>>;
  now(): EpochMs;
  sleep(time: Ms): Promise<void>;
  /** One line of standard input; what is typed does not show when `hidden`. */
  ask(question: string, hidden?: boolean): Promise<string>;
  /** All of standard input. */
  readInput(): Promise<string>;
  /** Runs a program to its end, with nothing on its standard input. */
  run(command: string, args: readonly string[]): Promise<Finished>;
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal;
}

export interface Finished {
  /** Undefined when the program was not found or was killed. */
  readonly code: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
}
