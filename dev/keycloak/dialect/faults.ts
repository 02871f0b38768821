import type { Answer } from './answer.ts';

export type Endpoint = 'token' | 'logout' | 'revoke' | 'login' | 'discovery' | 'none';

/** Which requests a fault meets; what is absent matches all. For the legacy login, `realm` is the org. */
export type FaultScope = {
  realm?: string;
  endpoint?: Endpoint;
  grantType?: string;
  /** How many requests it meets before it is gone; without, it stays until cleared. */
  times?: number;
};

export type FaultEffect =
  /** Answered by something in front of the server: the request never arrives. */
  | { kind: 'answer'; status: number; body?: string; headers?: Record<string, string> }
  | { kind: 'delay'; milliseconds: number }
  /** Never answers, or resets the connection; `afterWork`: once the server has done what was asked. */
  | { kind: 'hang'; afterWork?: boolean }
  | { kind: 'reset'; afterWork?: boolean }
  /** Announces the whole body, sends half of it and closes. */
  | { kind: 'cut-body' }
  | { kind: 'empty-body' }
  | { kind: 'huge-body'; bytes?: number }
  | { kind: 'not-json' }
  | { kind: 'content-type'; contentType: string }
  /** Replaces or removes fields of a good JSON answer (expires_in, access_token, token_type, …). */
  | { kind: 'fields'; set?: Record<string, unknown>; remove?: readonly string[] }
  /** Every answer's expires_in is that of the one before times `factor`. */
  | { kind: 'shrinking-expires-in'; from: number; factor: number }
  /** 401 whose error_description repeats the secrets that the request carried. */
  | { kind: 'echo-secrets' }
  /** Adds `__proto__` and `constructor` keys to a JSON answer. */
  | { kind: 'proto-keys' }
  /** Shifts the Date header and the times in issued access tokens. */
  | { kind: 'clock-skew'; seconds: number };

export type Fault = FaultScope & FaultEffect;

type Meeting = { realm: string; endpoint: Endpoint; grantType: string };

const HUGE_BODY_BYTES = 100 * 1024 * 1024;
const html = (title: string): string =>
  `<html><head><title>${title}</title></head><body><h1>${title}</h1></body></html>\n`;
const HTML = { 'Content-Type': 'text/html' };

/** Ready effects for what proxies, load balancers and firewalls say. */
export const proxies = {
  badGateway: { kind: 'answer', status: 502, headers: HTML, body: html('502 Bad Gateway') },
  forbidden: { kind: 'answer', status: 403, headers: HTML, body: html('Request blocked') },
  unavailable: (retryAfter: string): FaultEffect => ({
    kind: 'answer',
    status: 503,
    headers: { ...HTML, 'Retry-After': retryAfter },
    body: html('503 Service Unavailable'),
  }),
  tooManyRequests: (retryAfter: string): FaultEffect => ({
    kind: 'answer',
    status: 429,
    headers: { 'Content-Type': 'application/json', 'Retry-After': retryAfter },
    body: '{"message":"Too many requests"}',
  }),
  redirect: (location: string): FaultEffect => ({
    kind: 'answer',
    status: 302,
    headers: { Location: location },
  }),
} satisfies Record<string, FaultEffect | ((argument: string) => FaultEffect)>;

/** The faults that are switched on, oldest first. */
export class Faults {
  readonly #active = new Set<{ fault: Fault; met: number }>();

  /** Switches a fault on; returns how to switch it off. */
  add(fault: Fault): () => void {
    const entry = { fault, met: 0 };
    this.#active.add(entry);
    return () => {
      this.#active.delete(entry);
    };
  }

  clear(): void {
    this.#active.clear();
  }

  /** The effects that this request meets; counts it against their `times`. */
  meet(meeting: Meeting): FaultEffect[] {
    const effects: FaultEffect[] = [];
    for (const entry of this.#active) {
      if (!matches(entry.fault, meeting)) continue;
      effects.push(effectOf(entry.fault, entry.met));
      entry.met += 1;
      if (entry.met === entry.fault.times) this.#active.delete(entry);
    }
    return effects;
  }
}

const matches = (fault: Fault, meeting: Meeting): boolean =>
  (fault.realm ?? meeting.realm) === meeting.realm &&
  (fault.endpoint ?? meeting.endpoint) === meeting.endpoint &&
  (fault.grantType ?? meeting.grantType) === meeting.grantType;

function effectOf(fault: Fault, met: number): FaultEffect {
  if (fault.kind !== 'shrinking-expires-in') return fault;
  return { kind: 'fields', set: { expires_in: Math.floor(fault.from * fault.factor ** met) } };
}

/** The answer as the effects leave it, for those that work on the answer alone. */
export function distorted(
  response: Answer,
  effects: readonly FaultEffect[],
  secrets: readonly string[],
): Answer {
  let result = response;
  for (const effect of effects) result = distortedBy(effect, result, secrets);
  return result;
}

function distortedBy(effect: FaultEffect, response: Answer, secrets: readonly string[]): Answer {
  switch (effect.kind) {
    case 'empty-body':
      return { ...response, body: '' };
    case 'not-json':
      return { ...response, body: 'access_token=abc&expires_in=1800' };
    case 'content-type':
      return { ...response, headers: { ...response.headers, 'Content-Type': effect.contentType } };
    case 'fields':
      return response.status === 200
        ? { ...response, body: withFields(response.body, effect) }
        : response;
    case 'echo-secrets': {
      const body = {
        error: 'unauthorized_client',
        error_description: `Invalid client secret: ${secrets.join(' ')}`,
      };
      return { ...response, status: 401, body: JSON.stringify(body) };
    }
    case 'proto-keys': {
      const keys = '"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}}';
      return { ...response, body: response.body.replace(/^\{/, `{${keys},`) };
    }
    case 'answer':
    case 'delay':
    case 'hang':
    case 'reset':
    case 'cut-body':
    case 'huge-body':
    case 'shrinking-expires-in':
    case 'clock-skew':
      return response;
  }
}

function withFields(
  body: string,
  { set = {}, remove = [] }: Extract<FaultEffect, { kind: 'fields' }>,
): string {
  const fields: unknown = JSON.parse(body);
  const changed = Object.entries({ ...(typeof fields === 'object' ? fields : {}), ...set });
  return JSON.stringify(Object.fromEntries(changed.filter(([name]) => !remove.includes(name))));
}

/** The start, and the rest in pieces, of a JSON body that never gets to its end within reason. */
export function* hugeBody(bytes = HUGE_BODY_BYTES): Generator<string> {
  const piece = 'a'.repeat(65_536);
  yield '{"access_token":"';
  for (let sent = 0; sent < bytes; sent += piece.length) yield piece;
  yield '","expires_in":1800,"token_type":"Bearer"}';
}
