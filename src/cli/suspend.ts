import { parseTime } from '../lib/time.ts';
import type { Context } from './context.ts';
import { type Selection, selected } from './credentials.ts';
import { addressOf, identityOf, titleOf } from './kind.ts';
import { clockTime, type Result } from './output.ts';

/** `kubectl convercus suspend` and `resume`: set `spec.suspend`. */
export async function setSuspend(
  context: Context,
  selection: Selection,
  suspend: boolean,
): Promise<Result> {
  const { cluster, host } = context;
  const credentials = await selected(context, selection);
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
