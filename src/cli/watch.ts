import { type Ms, seconds } from '../lib/time.ts';
import type { Context } from './context.ts';
import { printed, type Result } from './output.ts';

const INTERVAL: Ms = seconds(2);
const CLEAR = '\u001b[H\u001b[2J';

/** Shows a result again and again: on a terminal in place of the one before, else one below the other if it differs. */
export async function watched(context: Context, look: () => Promise<Result>): Promise<Result> {
  const { host, format } = context;
  let before = '';
  while (!host.signal.aborted) {
    const result = await look().catch((error: unknown) => {
      if (host.signal.aborted) return undefined;
      throw error;
    });
    if (result === undefined) break;
    const shown = printed(result, format);
    if (host.isTerminal) host.out(CLEAR + shown);
    else if (shown !== before) host.out(shown);
    before = shown;
    await host.sleep(INTERVAL).catch(() => undefined);
  }
  return { data: undefined, text: '' };
}
