import { parseTime } from '../lib/time.ts';
import { confirm } from './confirm.ts';
import type { Context } from './context.ts';
import { type Selection, selected } from './credentials.ts';
import { CliError, EXIT } from './exit-code.ts';
import { addressOf, identityOf, type Shown, titleOf } from './kind.ts';
import { clockTime, plain, type Result } from './output.ts';

interface Outcome {
  readonly credential: Shown;
  readonly isChanged: boolean;
  /** Why it could not be changed. */
  readonly refusal?: string;
}

/** `kubectl convercus suspend` and `resume`: set `spec.suspend`. */
export async function setSuspend(
  context: Context,
  selection: Selection & { readonly yes?: boolean | undefined },
  suspend: boolean,
): Promise<Result> {
  const credentials = await selected(context, selection);
  if (suspend && selection.yes !== true) await confirmAll(context, credentials.length);
  const outcomes: Outcome[] = [];
  for (const credential of credentials) {
    const changing = changed(context, credential, suspend);
    const isOne = credentials.length === 1;
    outcomes.push(await (isOne ? changing : changing.catch(refusalOf(context, credential))));
  }
  return {
    data: outcomes.map((each) => dataOf(each, suspend)),
    text: outcomes.map((each) => lineOf(context, each, suspend)).join('\n'),
    exitCode: outcomes.some(({ refusal }) => refusal !== undefined) ? EXIT.problem : EXIT.done,
  };
}

async function changed(
  { cluster }: Context,
  credential: Shown,
  suspend: boolean,
): Promise<Outcome> {
  const isChanged = credential.spec.suspend !== suspend;
  if (isChanged) await cluster.patch(addressOf(credential), { spec: { suspend } });
  return { credential, isChanged };
}

/** One of many that can't be changed does not keep the others as they are. */
const refusalOf =
  ({ host }: Context, credential: Shown) =>
  (error: unknown): Outcome => {
    if (!(error instanceof CliError) || host.signal.aborted) throw error;
    return { credential, isChanged: false, refusal: error.message };
  };

const dataOf = ({ credential, isChanged, refusal }: Outcome, suspend: boolean): object => ({
  ...identityOf(credential),
  suspend: refusal === undefined ? suspend : !suspend,
  changed: isChanged,
  ...(refusal === undefined ? {} : { message: refusal }),
});

function lineOf(
  { host, paint }: Context,
  { credential, isChanged, refusal }: Outcome,
  suspend: boolean,
): string {
  const title = titleOf(credential);
  if (refusal !== undefined) return `${title}: ${paint('red', 'failed')}: ${plain(refusal)}`;
  if (!isChanged) return `${title}: was ${suspend ? 'suspended' : 'not suspended'} before`;
  if (!suspend) return `${title}: resumed`;
  const expiresAt = parseTime(credential.status?.expiresAt);
  const end =
    expiresAt === undefined ? '' : `; its token expires ${clockTime(expiresAt, host.now())}`;
  return `${title}: suspended${end}`;
}

/** Nothing is asked for one namespace. */
async function confirmAll(context: Context, count: number): Promise<void> {
  if (!context.isEverywhere) return;
  const what = `This suspends ${count} ${count === 1 ? 'credential' : 'credentials'} of the whole cluster. Tokens then expire without a renewal.`;
  await confirm(context, what, 'Nothing was suspended');
}
