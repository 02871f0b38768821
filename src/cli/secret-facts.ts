import type { SecretMeta } from '../credential/secret.ts';
import { secretMetaFrom } from '../kubernetes/objects.ts';
import { METADATA, SECRETS } from '../kubernetes/resources.ts';
import { listAt, member, textAt } from '../lib/json.ts';
import { type EpochMs, parseTime } from '../lib/time.ts';
import type { Context } from './context.ts';
import { CliError } from './exit-code.ts';
import { plain } from './output.ts';

/** What the metadata of a Secret tell. */
export interface SecretFacts {
  readonly meta: SecretMeta;
  readonly changedAt: EpochMs | undefined;
  /** The field manager of that change. */
  readonly changedBy: string | undefined;
}

/** Asks for metadata only, so no value comes over the network. */
export async function secretFacts(
  { cluster, namespace }: Context,
  name: string,
): Promise<SecretFacts | 'absent' | 'forbidden'> {
  const wanted = { verb: 'get', resource: SECRETS, namespace, name } as const;
  try {
    const object = await cluster.send(wanted, { method: 'GET', accept: METADATA });
    const meta = secretMetaFrom(member(object, 'metadata'));
    return meta === undefined ? 'absent' : { meta, ...lastChangeOf(object) };
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    if (error.status === 403) return 'forbidden';
    if (error.status === 404) return 'absent';
    throw error;
  }
}

function lastChangeOf(object: unknown): Pick<SecretFacts, 'changedAt' | 'changedBy'> {
  const [latest] = listAt(object, 'metadata', 'managedFields')
    .map((each) => ({
      changedAt: parseTime(textAt(each, 'time')),
      changedBy: plain(textAt(each, 'manager') ?? '', 60),
    }))
    .sort((a, b) => (b.changedAt ?? 0) - (a.changedAt ?? 0));
  return latest ?? { changedAt: undefined, changedBy: undefined };
}
