import { minutes, type Series } from './alert-timeline.ts';

/**
 * Series as the operator shows them, for the tests of the alerts. Times are seconds since the start.
 *
 * A credential is renewed after 85 % of the token's lifetime: the latest moment of the default (80 % ± 5), which
 * leaves the least time for a warning.
 */
export interface Credential {
  readonly name?: string;
  /** Empty: a cluster credential. */
  readonly namespace?: string;
  readonly environment?: string;
  /** Seconds. */
  readonly lifetime: number;
  /** When its first token was issued; before the start: it has one from the start. */
  readonly issuedAt?: number;
  /** Renewals fail in this time. */
  readonly failing?: readonly [from: number, until: number];
  /** When a renewal is tried before it is due, as after a change of the client secret. */
  readonly triedAt?: number;
  readonly reason?: string;
  readonly isTerminal?: boolean;
  readonly suspendedFrom?: number;
  readonly deletedAt?: number;
  readonly hasNoToken?: boolean;
}

export interface Release {
  readonly cluster?: string;
  readonly job?: string;
  readonly credentials?: readonly Credential[];
  /** Two replicas are scraped as instance a and b. */
  readonly isRunning?: (instance: string, at: number) => boolean;
  readonly leader?: (at: number) => string | undefined;
}

const RENEWAL_SHARE = 0.85;

export function release({
  cluster,
  job = 'convercus-operator',
  credentials = [],
  isRunning = () => true,
  leader = () => 'a',
}: Release): Series[] {
  return ['a', 'b'].flatMap((instance) => {
    const target = {
      ...(cluster === undefined ? {} : { cluster }),
      namespace: 'convercus',
      job,
      instance,
    };
    const runs = (at: number): boolean => isRunning(instance, at);
    const leads = (at: number): boolean => runs(at) && leader(at) === instance;
    return [
      series('convercus_operator_build_info', { ...target, version: '1' }, runs, () => 1),
      series('leader_election_master_status', { ...target, name: 'lease' }, runs, (at) =>
        Number(leads(at)),
      ),
      ...credentials.flatMap((credential) => credentialSeries(credential, target, leads)),
    ];
  });
}

/** One series of a target, shown while the target is. */
export function series(
  name: string,
  labels: Readonly<Record<string, string>>,
  isShown: (at: number) => boolean,
  value: (at: number) => number | undefined,
): Series {
  return { name, labels, value: (at) => (isShown(at) ? value(at) : undefined) };
}

function credentialSeries(
  credential: Credential,
  target: Readonly<Record<string, string>>,
  leads: (at: number) => boolean,
): Series[] {
  const {
    name = 'loyalty',
    namespace = 'shop',
    environment = 'production',
    reason = 'NetworkError',
  } = credential;
  const labels = { ...target, namespace, name, program: 'ABC', environment };
  const isShown = (at: number): boolean => leads(at) && at < (credential.deletedAt ?? Infinity);
  const token = (at: number): Token | undefined => currentToken(credential, at);
  const isFailing = (at: number): boolean => {
    const { failing: [from, until] = [Infinity, Infinity], hasNoToken = false } = credential;
    const due = token(at)?.due ?? (hasNoToken ? 0 : Infinity);
    return at >= from && at < until && at >= Math.min(due, credential.triedAt ?? Infinity);
  };
  const gauge = (rest: string, value: (at: number) => number | undefined, more = {}): Series =>
    series(`convercus_credential_${rest}`, { ...labels, ...more }, isShown, value);
  return [
    gauge('token_expiry_timestamp_seconds', (at) => token(at)?.expiry),
    gauge('renewal_due_timestamp_seconds', (at) => token(at)?.due),
    gauge('ready', (at) => Number(at < (token(at)?.expiry ?? -Infinity))),
    gauge('stalled', (at) => Number(isFailing(at) && credential.isTerminal === true)),
    gauge('suspended', (at) => (at >= (credential.suspendedFrom ?? Infinity) ? 1 : undefined)),
    gauge('failure_info', (at) => (isFailing(at) ? 1 : undefined), { reason }),
  ];
}

interface Token {
  readonly expiry: number;
  readonly due: number;
}

/** The newest token at that time: renewals are made when they are due, but for those that fail or are suspended. */
function currentToken(credential: Credential, at: number): Token | undefined {
  const { issuedAt = 0, lifetime, hasNoToken = false, suspendedFrom = Infinity } = credential;
  if (hasNoToken || at < issuedAt) return undefined;
  const [from, until] = credential.failing ?? [Infinity, Infinity];
  let issued = issuedAt;
  for (;;) {
    const due = issued + lifetime * RENEWAL_SHARE;
    const renewed = due >= from && due < until ? until : due;
    if (renewed > at || renewed >= suspendedFrom) {
      return { expiry: issued + lifetime, due };
    }
    issued = renewed;
  }
}

/** Counters of token requests of credentials whose renewals fall due one after the other. */
export function tokenRequests(
  host: string,
  credentials: readonly Credential[],
  outcome: string,
  until: number,
): Series[] {
  const requests = credentials.flatMap((credential) => requestTimes(credential, until));
  const target = { namespace: 'convercus', job: 'convercus-operator', instance: 'a', host };
  const counter = (result: string, times: readonly number[]): Series =>
    series(
      'convercus_token_requests_total',
      { ...target, outcome: result },
      () => true,
      (at) => times.filter((time) => time <= at).length,
    );
  return [
    counter(
      'success',
      requests.filter(({ fails }) => !fails).map(({ at }) => at),
    ),
    counter(
      outcome,
      requests.filter(({ fails }) => fails).map(({ at }) => at),
    ),
  ];
}

interface Request {
  readonly at: number;
  readonly fails: boolean;
}

/** A failed request is repeated after half of the time that is left, at least after 15 s, until the token expires; then every 5 minutes. */
function requestTimes({ issuedAt = 0, lifetime, failing }: Credential, until: number): Request[] {
  const [from, to] = failing ?? [Infinity, Infinity];
  const found: Request[] = [];
  let expiry = issuedAt + lifetime;
  for (let at = issuedAt + lifetime * RENEWAL_SHARE; at <= until; ) {
    const fails = at >= from && at < to;
    found.push({ at, fails });
    const retry = at < expiry ? Math.max(15, (expiry - at) / 2) : minutes(5);
    if (!fails) expiry = at + lifetime;
    at += fails ? retry : lifetime * RENEWAL_SHARE;
  }
  return found;
}

/** Requests to the API server that are refused with 403 from a time on, one each 10 s. */
export function refusals(from: number): Series {
  const labels = { ...OPERATOR, code: '403', method: 'PUT', host: 'kubernetes' };
  return series(
    'rest_client_requests_total',
    labels,
    (at) => at >= from,
    (at) => Math.floor((at - from) / 10) + 1,
  );
}

const OPERATOR = { namespace: 'convercus', job: 'convercus-operator', instance: 'a' };
