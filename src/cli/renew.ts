import { RENEW_REQUEST_ANNOTATION } from '../credential/credential.ts';
import { conditionOf } from '../credential/status.ts';
import { type Ms, seconds } from '../lib/time.ts';
import { confirm } from './confirm.ts';
import type { Context } from './context.ts';
import { oneCredential, type Selection, selected } from './credentials.ts';
import { CliError, EXIT } from './exit-code.ts';
import { addressOf, argumentOf, argumentsOf, identityOf, type Shown, titleOf } from './kind.ts';
import { requestsPerSecond } from './operator-config.ts';
import { duration, plain, type Result } from './output.ts';

export interface RenewOptions extends Selection {
  /** How long to wait for the result; absent: only ask. */
  readonly wait?: Ms;
  /** Without a question. */
  readonly yes?: boolean;
}

type Renewed = 'requested' | 'renewed' | 'suspended' | 'failed' | 'time is over';

interface Outcome {
  readonly credential: Shown;
  readonly result: Renewed;
  readonly message?: string;
}

/** Patches at once. */
const AT_ONCE = 8;
const POLL: Ms = seconds(1);

/** `kubectl convercus renew`: sets the annotation that asks for a renewal now. */
export async function renew(context: Context, options: RenewOptions): Promise<Result> {
  const credentials = await selected(context, options);
  if (context.isEverywhere && options.yes !== true) await confirmAll(context, credentials.length);
  // The operator compares it with the last one that it has handled; any other text is a new request
  const request = new Date(context.host.now()).toISOString();
  const outcomes: Outcome[] = [];
  const left = [...credentials];
  const isOne = credentials.length === 1;
  const work = async (): Promise<void> => {
    for (let each = left.shift(); each !== undefined; each = left.shift()) {
      const renewing = renewOne(context, each, { request, wait: options.wait });
      outcomes.push(await (isOne ? renewing : renewing.catch(refusalOf(each))));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return resultOf(
    context,
    outcomes.sort((a, b) => (titleOf(a.credential) < titleOf(b.credential) ? -1 : 1)),
  );
}

/** One of many that has been deleted, or may not be changed, does not keep the others waiting. */
const refusalOf =
  (credential: Shown) =>
  (error: unknown): Outcome => {
    if (!(error instanceof CliError)) throw error;
    return { credential, result: 'failed', message: error.message };
  };

async function confirmAll(context: Context, count: number): Promise<void> {
  const rate = await requestsPerSecond(context);
  const time =
    rate === 0 ? 'as fast as the token host allows' : `about ${duration(seconds(count / rate))}`;
  const limit =
    rate === 0 ? 'without a limit' : `at most ${rate} requests a second to a token host`;
  const what = `This renews ${count} ${count === 1 ? 'credential' : 'credentials'} of the whole cluster. The operator sends ${limit}, so it takes ${time}.`;
  await confirm(context, what, 'Nothing was renewed');
}

async function renewOne(
  context: Context,
  credential: Shown,
  { request, wait }: { readonly request: string; readonly wait: Ms | undefined },
): Promise<Outcome> {
  const annotations = { [RENEW_REQUEST_ANNOTATION]: request };
  await context.cluster.patch(addressOf(credential), { metadata: { annotations } });
  if (credential.spec.suspend) return { credential, result: 'suspended' };
  if (wait === undefined) return { credential, result: 'requested' };
  return awaited(context, credential, { request, wait });
}

/** Until the operator says that it has handled the request. */
async function awaited(
  context: Context,
  credential: Shown,
  { request, wait }: { readonly request: string; readonly wait: Ms },
): Promise<Outcome> {
  const { host } = context;
  const { namespace } = credential.metadata;
  const deadline = host.now() + wait;
  for (;;) {
    const { status } = await oneCredential({ ...context, namespace }, argumentOf(credential));
    if (status?.lastHandledRenewRequest === request) {
      const renewed = conditionOf(status, 'Renewed');
      if (renewed?.status === 'True') return { credential, result: 'renewed' };
      const message = `${renewed?.reason}: ${renewed?.message}`;
      return { credential, result: 'failed', message };
    }
    if (host.now() + POLL > deadline) return { credential, result: 'time is over' };
    await host.sleep(POLL);
  }
}

function resultOf({ paint }: Context, outcomes: readonly Outcome[]): Result {
  const lines = outcomes.map(({ credential, result, message }) => {
    const of = argumentsOf(credential);
    const words = {
      requested: `renewal requested; see it: kubectl convercus status ${of}`,
      renewed: paint('green', 'renewed'),
      suspended: `${paint('yellow', 'suspended')}, renewed when it is resumed: kubectl convercus resume ${of}`,
      failed: `${paint('red', 'failed')}: ${plain(message ?? '')}`,
      'time is over': `${paint('red', 'not handled yet')}; find out why: kubectl convercus doctor ${of}`,
    }[result];
    return `${titleOf(credential)}: ${words}`;
  });
  const data = outcomes.map(({ credential, ...rest }) => ({ ...identityOf(credential), ...rest }));
  return { data, text: lines.join('\n'), exitCode: exitCodeOf(outcomes) };
}

function exitCodeOf(outcomes: readonly Outcome[]): 0 | 1 | 4 {
  if (outcomes.some(({ result }) => result === 'failed')) return EXIT.problem;
  return outcomes.some(({ result }) => result === 'time is over') ? EXIT.timeout : EXIT.done;
}
