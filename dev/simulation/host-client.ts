import type { Ms } from '../../src/lib/time.ts';
import type { Exchange, HttpClient, HttpRequest } from '../../src/oauth/http-client.ts';
import { type Conditions, latency } from './conditions.ts';
import type { Dice } from './dice.ts';
import type { Handled, Provider } from './provider.ts';
import type { Replica } from './replica.ts';
import type { Scheduler } from './scheduler.ts';
import type { Trace } from './trace.ts';

export interface HostNetwork {
  readonly scheduler: Scheduler;
  readonly dice: Dice;
  readonly conditions: Conditions;
  readonly provider: Provider;
  readonly trace: Trace;
  /** `timeoutSeconds` of the configuration. */
  readonly timeout: Ms;
  /** Called with each request when it is sent; the returned function with what the provider did and the outcome. */
  readonly onRequest: (replica: Replica, request: HttpRequest) => ExchangeObserver;
}

export interface ExchangeObserver {
  readonly handled: (handled: Handled) => void;
  /** `unknown`: there was no response, or none that can be read. */
  readonly ended: (seen: 'response' | 'unknown') => void;
}

/** The HttpClient of a replica. It sends requests through the simulated network, without retries. */
export const hostClient = (replica: Replica, network: HostNetwork): HttpClient => ({
  send: (_, request, signal) => exchange(replica, network, request, signal),
  close: () => Promise.resolve(),
});

function exchange(
  replica: Replica,
  network: HostNetwork,
  request: HttpRequest,
  signal: AbortSignal,
): Promise<Exchange> {
  const { scheduler, dice, conditions, provider, trace } = network;
  return new Promise((resolve, reject) => {
    if (replica.isDead) return; // it crashed while its code ran
    signal.throwIfAborted();
    request.beforeSend?.();
    const requestedAt = replica.clock.now();
    const observer = network.onRequest(replica, request);
    let isOver = false;
    const end = (result: string, settle: () => void): void => {
      if (isOver) return;
      isOver = true;
      cancelTimeout();
      signal.removeEventListener('abort', abort);
      observer.ended(/^\d/.test(result) ? 'response' : 'unknown');
      trace.add(replica.name, () => `${wordsFor(request)} → ${result}`);
      settle();
    };
    const fail = (code: string) => end(code, () => reject(networkError(code)));
    const abort = () => end('aborted', () => reject(signal.reason));
    const cancelTimeout = replica.clock.after(network.timeout, () => fail('ETIMEDOUT'));
    signal.addEventListener('abort', abort, { once: true });
    const slow = (): Ms => latency(dice, conditions) + dice.between(0, conditions.host.slow);
    if (dice.chance(conditions.host.lostBefore)) {
      replica.after(slow(), () => fail('ECONNREFUSED'));
      return;
    }
    scheduler.after(slow(), () => {
      const handled = provider.handle(request);
      observer.handled(handled);
      const { response, effects } = handled;
      const delay = effects.find((effect) => effect.kind === 'delay')?.milliseconds ?? 0;
      if (effects.some((effect) => effect.kind === 'hang')) return;
      const isCut =
        effects.some((effect) => effect.kind === 'reset') || dice.chance(conditions.host.lostAfter);
      replica.after(slow() + delay, () => {
        if (isCut && dice.chance(0.5)) return fail('ECONNRESET');
        const receivedAt = replica.clock.now();
        const arrived = isCut ? { ...response, text: '', bodyProblem: 'was cut off' } : response;
        const result = isCut ? `cut after ${response.status}` : String(response.status);
        end(result, () => resolve({ response: arrived, requestedAt, receivedAt }));
      });
    });
  });
}

const networkError = (code: string): Error => Object.assign(new Error('no answer'), { code });

/** Without the secrets in the body. */
function wordsFor({ url, body }: HttpRequest): string {
  const { host, pathname } = new URL(url);
  const form = new URLSearchParams(body.startsWith('{') ? '' : body);
  const grant = form.get('grant_type') ?? '';
  return `POST ${host}${pathname.replace('/protocol/openid-connect', '')} ${grant} ${form.get('client_id') ?? ''}`.trim();
}
