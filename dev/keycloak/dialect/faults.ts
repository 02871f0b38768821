import type { EndpointResponse } from './response.ts';

/** The requests that a fault applies to; an absent field matches all. */
export type FaultScope = {
  realm?: string;
  /** An `Endpoint`, or the name of an `ExtraEndpoint`. */
  endpoint?: string;
  grantType?: string;
  /** How many requests it applies to. Without, it applies until it is removed. */
  times?: number;
};

export type FaultEffect =
  /** The response of a proxy: the request does not reach the server. */
  | { kind: 'response'; status: number; body?: string; headers?: Record<string, string> }
  | { kind: 'delay'; milliseconds: number }
  /** Sends no response, or resets the connection. With `afterWork` the server has carried out the request before. */
  | { kind: 'hang'; afterWork?: boolean }
  | { kind: 'reset'; afterWork?: boolean }
  /** Sends the whole Content-Length and half the body, then closes the connection. */
  | { kind: 'cut-body' }
  | { kind: 'empty-body' }
  | { kind: 'huge-body'; bytes?: number }
  | { kind: 'not-json' }
  | { kind: 'content-type'; contentType: string }
  /** Replaces or removes fields of a JSON response with status 200 (expires_in, access_token, token_type, …). */
  | { kind: 'fields'; set?: Record<string, unknown>; remove?: readonly string[] }
  /** The expires_in of each response is that of the previous one times `factor`. */
  | { kind: 'shrinking-expires-in'; from: number; factor: number }
  /** 401 whose error_description repeats the secrets that the request carried. */
  | { kind: 'echo-secrets' }
  /** Adds `__proto__` and `constructor` keys to a JSON response. */
  | { kind: 'proto-keys' }
  /** Shifts the Date header and the times in issued access tokens. */
  | { kind: 'clock-skew'; seconds: number };

export type Fault = FaultScope & FaultEffect;

type FaultTarget = { realm: string; endpoint: string; grantType: string };

const HUGE_BODY_BYTES = 100 * 1024 * 1024;
const html = (title: string): string =>
  `<html><head><title>${title}</title></head><body><h1>${title}</h1></body></html>\n`;
const HTML = { 'Content-Type': 'text/html' };

/** Effects for the responses of proxies, load balancers and firewalls. */
export const proxies = {
  badGateway: { kind: 'response', status: 502, headers: HTML, body: html('502 Bad Gateway') },
  forbidden: { kind: 'response', status: 403, headers: HTML, body: html('Request blocked') },
  unavailable: (retryAfter: string): FaultEffect => ({
    kind: 'response',
    status: 503,
    headers: { ...HTML, 'Retry-After': retryAfter },
    body: html('503 Service Unavailable'),
  }),
  tooManyRequests: (retryAfter: string): FaultEffect => ({
    kind: 'response',
    status: 429,
    headers: { 'Content-Type': 'application/json', 'Retry-After': retryAfter },
    body: '{"message":"Too many requests"}',
  }),
  redirect: (location: string): FaultEffect => ({
    kind: 'response',
    status: 302,
    headers: { Location: location },
  }),
} satisfies Record<string, FaultEffect | ((argument: string) => FaultEffect)>;

/** The active faults, oldest first. */
export class Faults {
  readonly #active = new Set<{ fault: Fault; applied: number }>();

  /** @returns a function that removes the fault */
  add(fault: Fault): () => void {
    const entry = { fault, applied: 0 };
    this.#active.add(entry);
    return () => {
      this.#active.delete(entry);
    };
  }

  clear(): void {
    this.#active.clear();
  }

  /** The effects for this request, which counts against their `times`. */
  effectsFor(target: FaultTarget): FaultEffect[] {
    const effects: FaultEffect[] = [];
    for (const entry of this.#active) {
      if (!matches(entry.fault, target)) continue;
      effects.push(effectOf(entry.fault, entry.applied));
      entry.applied += 1;
      if (entry.applied === entry.fault.times) this.#active.delete(entry);
    }
    return effects;
  }
}

const matches = (fault: Fault, target: FaultTarget): boolean =>
  (fault.realm ?? target.realm) === target.realm &&
  (fault.endpoint ?? target.endpoint) === target.endpoint &&
  (fault.grantType ?? target.grantType) === target.grantType;

function effectOf(fault: Fault, applied: number): FaultEffect {
  if (fault.kind !== 'shrinking-expires-in') return fault;
  return { kind: 'fields', set: { expires_in: Math.floor(fault.from * fault.factor ** applied) } };
}

/** The response after the effects that only change a response; other effects are ignored. */
export function applyEffects(
  response: EndpointResponse,
  effects: readonly FaultEffect[],
  secrets: readonly string[],
): EndpointResponse {
  let result = response;
  for (const effect of effects) result = applyEffect(effect, result, secrets);
  return result;
}

function applyEffect(
  effect: FaultEffect,
  response: EndpointResponse,
  secrets: readonly string[],
): EndpointResponse {
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
    case 'response':
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

/** A JSON body of at least that many bytes, in pieces. */
export function* hugeBody(bytes = HUGE_BODY_BYTES): Generator<string> {
  const piece = 'a'.repeat(65_536);
  yield '{"access_token":"';
  for (let sent = 0; sent < bytes; sent += piece.length) yield piece;
  yield '","expires_in":1800,"token_type":"Bearer"}';
}
