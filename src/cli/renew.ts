import type { ConvercusCredential } from '../credential/api.ts';
import type { ClusterConvercusCredential } from '../credential/cluster-api.ts';
import { RENEW_REQUEST_ANNOTATION } from '../credential/credential.ts';
import { type Condition, conditionOf } from '../credential/status.ts';
import { clusterCredentialFrom } from '../kubernetes/cluster-objects.ts';
import { credentialFrom } from '../kubernetes/objects.ts';
import type { FailureKind } from '../lib/failure.ts';
import { type Ms, seconds } from '../lib/time.ts';
import { confirm } from './confirm.ts';
import type { Context } from './context.ts';
import { type Selection, selected } from './credentials.ts';
import { CliError, EXIT } from './exit-code.ts';
import { addressOf, argumentsOf, identityOf, type Shown, titleOf } from './kind.ts';
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

/** Requests at once. */
const AT_ONCE = 8;
const POLL: Ms = seconds(1);

/** `kubectl convercus renew`: sets the annotation that asks for a renewal now. */
export async function renew(context: Context, options: RenewOptions): Promise<Result> {
  const credentials = await selected(context, options);
  if (context.isEverywhere && options.yes !== true) await confirmAll(context, credentials.length);
  const renewal = new Renewal(context, credentials);
  const asked = await renewal.ask();
  const { wait } = options;
  if (wait === undefined) return resultOf(context, asked);
  return resultOf(context, await renewal.finish(asked, wait), wait);
}

async function confirmAll(context: Context, count: number): Promise<void> {
  const rate = await requestsPerSecond(context);
  const time =
    rate === 0 ? 'as fast as the token host allows' : `about ${duration(seconds(count / rate))}`;
  const limit =
    rate === 0 ? 'without a limit' : `at most ${rate} requests a second to a token host`;
  const what = `This renews ${count} ${count === 1 ? 'credential' : 'credentials'} of the whole cluster. The operator sends ${limit}, so it takes ${time}.`;
  await confirm(context, what, 'Nothing was renewed');
}

interface Waiting {
  readonly request: string;
  readonly waited: Ms;
  /** This is the last look. */
  readonly isOver: boolean;
}

/** The same renew request for one or many credentials. */
class Renewal {
  readonly #context: Context;
  readonly #credentials: readonly Shown[];
  /** The operator compares it with the last one that it has handled; any other text is a new request. */
  readonly #request: string;

  constructor(context: Context, credentials: readonly Shown[]) {
    this.#context = context;
    this.#credentials = credentials;
    this.#request = new Date(context.host.now()).toISOString();
  }

  ask(): Promise<Outcome[]> {
    return inTurns(this.#credentials, (each) =>
      this.#ask(each).catch((error: unknown) => this.#refused(each, error)),
    );
  }

  /** Until the operator has handled all requests. */
  async finish(asked: readonly Outcome[], wait: Ms): Promise<readonly Outcome[]> {
    const { host } = this.#context;
    const start = host.now();
    let outcomes = asked;
    for (;;) {
      const waited = host.now() - start;
      outcomes = await this.#look(outcomes, {
        request: this.#request,
        waited,
        isOver: waited + POLL > wait,
      });
      if (outcomes.every(({ result }) => result !== 'requested')) return outcomes;
      await host.sleep(POLL);
    }
  }

  async #ask(credential: Shown): Promise<Outcome> {
    const annotations = { [RENEW_REQUEST_ANNOTATION]: this.#request };
    await this.#context.cluster.patch(addressOf(credential), { metadata: { annotations } });
    return { credential, result: credential.spec.suspend ? 'suspended' : 'requested' };
  }

  #look(outcomes: readonly Outcome[], waiting: Waiting): Promise<Outcome[]> {
    return inTurns(outcomes, async (each) => {
      if (each.result !== 'requested') return each;
      return seen(this.#context, each, waiting).catch((error: unknown) =>
        this.#refused(each.credential, error),
      );
    });
  }

  /** One of many that has been deleted, or may not be changed, does not keep the others waiting. */
  #refused(credential: Shown, error: unknown): Outcome {
    const isAlone = this.#credentials.length === 1;
    const isAborted = this.#context.host.signal.aborted;
    if (isAlone || isAborted || !(error instanceof CliError)) throw error;
    return { credential, result: 'failed', message: error.message };
  }
}

/** All of them, eight at once. The results are in the order of the items. */
async function inTurns<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  const left = [...items.entries()];
  const worker = async (): Promise<void> => {
    for (let next = left.shift(); next !== undefined; next = left.shift()) {
      results[next[0]] = await work(next[1]);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return results;
}

/** Faults that the operator finds before it requests a token: it reports them, and the request stays open. */
const BEFORE_REQUESTS: ReadonlySet<string> = new Set<FailureKind>([
  'InvalidSpec',
  'InputMissing',
  'InputInvalid',
  'TargetNotOurs',
  'TargetMissing',
  'MergeNotAllowed',
]);

/** In this time the operator has seen a change, and judged a spec. */
const JUDGED: Ms = seconds(5);

/** What the status says by now. */
async function seen(context: Context, outcome: Outcome, waiting: Waiting): Promise<Outcome> {
  const { credential } = outcome;
  const { resource, namespace, name } = addressOf(credential);
  const object = await context.cluster.get(resource, namespace, name);
  const found =
    credential.cluster === undefined ? credentialFrom(object) : clusterCredentialFrom(object);
  const known = found && outcomeFrom(credential, found, waiting);
  return known ?? (waiting.isOver ? { credential, result: 'time is over' } : outcome);
}

type Found = ConvercusCredential | ClusterConvercusCredential;

/** Undefined while the request is open. */
function outcomeFrom(credential: Shown, found: Found, waiting: Waiting): Outcome | undefined {
  const { annotations, generation } = found.metadata;
  const request = annotations?.[RENEW_REQUEST_ANNOTATION];
  const renewed = conditionOf(found.status, 'Renewed');
  if (isHandled(found, [waiting.request, request])) return handledOutcome(credential, renewed);
  if (request === undefined) {
    const message = 'the request was removed before it was handled';
    return { credential, result: 'failed', message };
  }
  const isCurrent = renewed?.observedGeneration === generation;
  return isCurrent && isFault(renewed, waiting) ? failedBy(credential, renewed) : undefined;
}

/** Also by a later request, whose token is as new. */
const isHandled = ({ status }: Found, requests: readonly (string | undefined)[]): boolean =>
  status?.lastHandledRenewRequest !== undefined &&
  requests.includes(status.lastHandledRenewRequest);

const handledOutcome = (credential: Shown, renewed: Condition | undefined): Outcome =>
  renewed?.status === 'True' ? { credential, result: 'renewed' } : failedBy(credential, renewed);

const failedBy = (credential: Shown, renewed: Condition | undefined): Outcome => ({
  credential,
  result: 'failed',
  message: `${renewed?.reason}: ${renewed?.message}`,
});

/** A spec stays invalid until it changes. The other faults may be over, while the token is still awaited. */
function isFault(renewed: Condition | undefined, { waited, isOver }: Waiting): boolean {
  if (renewed?.status !== 'False' || !BEFORE_REQUESTS.has(renewed.reason)) return false;
  return isOver || (renewed.reason === 'InvalidSpec' && waited >= JUDGED);
}

function resultOf({ paint }: Context, unsorted: readonly Outcome[], wait?: Ms): Result {
  const outcomes = unsorted.toSorted((a, b) =>
    titleOf(a.credential) < titleOf(b.credential) ? -1 : 1,
  );
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
  return { data, text: lines.join('\n'), exitCode: exitCodeOf(outcomes, wait) };
}

/** With `--wait` what is suspended is no success: nothing was renewed. */
function exitCodeOf(outcomes: readonly Outcome[], wait: Ms | undefined): 0 | 1 | 4 {
  const is = (wanted: Renewed): boolean => outcomes.some(({ result }) => result === wanted);
  if (is('failed') || (wait !== undefined && is('suspended'))) return EXIT.problem;
  return is('time is over') ? EXIT.timeout : EXIT.done;
}
