import { parseTime } from '../lib/time.ts';
import { confirm } from './confirm.ts';
import type { Context } from './context.ts';
import { type Selection, selected } from './credentials.ts';
import { addressOf, identityOf, titleOf } from './kind.ts';
import { clockTime, type Result } from './output.ts';

/** `kubectl convercus suspend` and `resume`: set `spec.suspend`. */
export async function setSuspend(
  context: Context,
  selection: Selection & { readonly yes?: boolean | undefined },
  suspend: boolean,
): Promise<Result> {
  const { cluster, host } = context;
  const credentials = await selected(context, selection);
  if (suspend && selection.yes !== true) await confirmAll(context, credentials.length);
  const data: object[] = [];
  const lines: string[] = [];
  for (const { metadata, spec, status } of credentials) {
    const isChanged = spec.suspend !== suspend;
    if (isChanged) await cluster.patch(addressOf({ metadata }), { spec: { suspend } });
    data.push({ ...identityOf({ metadata }), suspend, changed: isChanged });
    const expiresAt = parseTime(status?.expiresAt);
    const end =
      expiresAt === undefined ? '' : `; its token expires ${clockTime(expiresAt, host.now())}`;
    const done = suspend ? `suspended${end}` : 'resumed';
    const word = isChanged ? done : `was ${suspend ? 'suspended' : 'not suspended'} before`;
    lines.push(`${titleOf({ metadata })}: ${word}`);
  }
  return { data, text: lines.join('\n') };
}

/** Nothing is asked for one namespace. */
async function confirmAll(context: Context, count: number): Promise<void> {
  if (!context.isEverywhere) return;
  const what = `This suspends ${count} ${count === 1 ? 'credential' : 'credentials'} of the whole cluster. Tokens then expire without a renewal.`;
  await confirm(context, what, 'Nothing was suspended');
}
