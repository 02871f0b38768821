/** Exit codes. They are API: docs/cli.md lists them. */
export const EXIT = {
  done: 0,
  /** A credential is not well, or a check has failed. */
  problem: 1,
  usage: 2,
  /** The cluster can't be asked, refuses, or lacks what was named. */
  cluster: 3,
  /** `--wait` is over. */
  timeout: 4,
  unexpected: 5,
  /** By Ctrl-C, as shells number it. */
  interrupted: 130,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** Ends a command. `message` is one sentence for the person, with what to do; it holds nothing of a Secret. */
export class CliError extends Error {
  readonly exitCode: ExitCode;
  /** HTTP status of the API server, when that is the reason; 0 when there was no response. */
  readonly status: number | undefined;

  constructor(exitCode: ExitCode, message: string, status?: number) {
    super(message);
    this.exitCode = exitCode;
    this.status = status;
  }
}

export const usageError = (message: string): CliError => new CliError(EXIT.usage, message);

/** The value, or undefined when the person may not read it or it does not exist. */
export async function ifAllowed<T>(value: Promise<T>): Promise<T | undefined> {
  try {
    return await value;
  } catch (error) {
    if (error instanceof CliError && (error.status === 403 || error.status === 404)) {
      return undefined;
    }
    throw error;
  }
}
