import { AsyncLocalStorage } from 'node:async_hooks';
import { createHash } from 'node:crypto';
import type { ConvercusCredential } from '../credential/api.ts';
import type { ClusterConvercusCredential } from '../credential/cluster-api.ts';
import type { RenewReason } from '../credential/plan.ts';
import type { Clock } from '../lib/clock.ts';
import type { FailureKind } from '../lib/failure.ts';
import { textAt } from '../lib/json.ts';
import type { Log, LogFields } from '../lib/log.ts';
import { type Action, type Ms, rfc3339, seconds } from '../lib/time.ts';
import type { TokenRequest } from '../oauth/grants.ts';
import { claimsOf, type Token } from '../oauth/token.ts';
import { MinuteCounts } from './minute-counts.ts';

export interface ReconcileLogOptions {
  readonly log: Log;
  /** Gets a line for each token that is issued; absent: none does. */
  readonly audit?: Log | undefined;
  readonly clock: Clock;
  /** Makes the values of the field `reconcileID`. */
  readonly newID: () => string;
}

interface Reconcile {
  readonly id: string;
  readonly credential: LogFields;
}

/** Renewals with a line of their own. */
const LINES_PER_SECOND = 10;

/** The reconcile that runs, also in what it has begun: its token request, its events. */
const current = new AsyncLocalStorage<Reconcile>();

/** What the log tells of reconciles, and how it stays readable with many of them. */
export class ReconcileLog {
  /** Each line that a reconcile writes has its `reconcileID`. */
  readonly log: Log;
  readonly #options: ReconcileLogOptions;
  readonly #renewals: MinuteCounts;
  readonly #denials: MinuteCounts;
  /** Verbs and resources that have been named. */
  readonly #denied = new Set<string>();
  #second: { readonly began: Ms; lines: number } = { began: -Infinity, lines: 0 };

  constructor(options: ReconcileLogOptions) {
    this.#options = options;
    const { log, clock } = options;
    this.log = withReconcileID(log);
    this.#renewals = new MinuteCounts(clock, (sum) => log.info('More renewals', sum));
    this.#denials = new MinuteCounts(clock, (sum) => log.warn('More requests were refused', sum));
  }

  /** @param resource undefined: it is gone */
  async run(
    key: string,
    resource: ConvercusCredential | ClusterConvercusCredential | undefined,
    reconcile: () => Promise<Action>,
  ): Promise<Action> {
    const { newID, clock } = this.#options;
    const began = clock.monotonic();
    return current.run({ id: newID(), credential: fieldsOf(resource) }, async () => {
      const action = await reconcile();
      const requeueAt = action === 'await-change' ? {} : { requeueAt: rfc3339(action.requeueAt) };
      const took = (clock.monotonic() - began) / seconds(1);
      this.log.debug('Reconciled', { key, ...requeueAt, seconds: took });
      return action;
    });
  }

  renewal(reason: RenewReason, outcome: 'success' | FailureKind): void {
    const { credential = {} } = current.getStore() ?? {};
    const message = outcome === 'success' ? 'Token renewed' : 'Renewal failed';
    if (this.#isLineFree()) this.log.info(message, { ...credential, reason, outcome });
    else this.#renewals.add({ program: credential['program'], outcome });
  }

  /** A request to the API server for which the operator has no permission. */
  permissionDenied(verb: string, resource: string, message: string): void {
    const fields = { verb, resource, code: '403' };
    const id = `${verb} ${resource}`;
    if (this.#denied.has(id)) return this.#denials.add(fields);
    this.#denied.add(id);
    this.log.warn(message, fields);
  }

  tokenIssued(request: TokenRequest, { accessToken, expiresAt }: Token): void {
    const { audit } = this.#options;
    if (audit === undefined) return;
    const { id, credential = {} } = current.getStore() ?? {};
    const jti = textAt(claimsOf(accessToken.reveal()), 'jti');
    audit.info('Token issued', {
      program: credential['program'],
      environment: request.environment,
      grantType: request.grantType,
      ...shownClientId(request),
      expiresAt: rfc3339(expiresAt),
      jtiSHA256: jti && createHash('sha256').update(jti).digest('hex'),
      reconcileID: id,
    });
  }

  /** Tells what is counted, and leaves no timer. */
  close(): void {
    this.#renewals.flush();
    this.#denials.flush();
  }

  #isLineFree(): boolean {
    const now = this.#options.clock.monotonic();
    if (now - this.#second.began >= seconds(1)) this.#second = { began: now, lines: 0 };
    this.#second.lines += 1;
    return this.#second.lines <= LINES_PER_SECOND;
  }
}

function fieldsOf(
  resource: ConvercusCredential | ClusterConvercusCredential | undefined,
): LogFields {
  if (resource === undefined) return {};
  const { name } = resource.metadata;
  const { program, environment } = resource.spec;
  const place = 'namespace' in resource.metadata ? { namespace: resource.metadata.namespace } : {};
  return { ...place, name, program, environment };
}

function withReconcileID(log: Log): Log {
  const at =
    (level: keyof Log): Log['info'] =>
    (message, fields) => {
      const id = current.getStore()?.id;
      log[level](message, id === undefined ? fields : { ...fields, reconcileID: id });
    };
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

/** Not one that comes from a Secret. */
const shownClientId = (request: TokenRequest): { clientId?: string } =>
  request.grantType !== 'legacy_login' && typeof request.clientId === 'string'
    ? { clientId: request.clientId }
    : {};
