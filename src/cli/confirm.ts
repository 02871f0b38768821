import type { Context } from './context.ts';
import { CliError, EXIT, usageError } from './exit-code.ts';

/**
 * Asks before a change of the whole cluster.
 * @param what the change, as sentences
 * @param refused what is said after any answer but yes
 * @throws when the answer is no, or when there is no terminal
 */
export async function confirm({ host }: Context, what: string, refused: string): Promise<void> {
  if (!host.canAsk) throw usageError(`${what} There is no terminal to ask on; add --yes`);
  const answer = await host.ask(`${what} Go on? [y/N] `);
  if (!/^y(es)?$/i.test(answer.trim())) throw new CliError(EXIT.problem, refused);
}
