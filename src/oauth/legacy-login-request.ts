import { Failure } from '../lib/failure.ts';
import type { HttpRequest } from './exchange.ts';
import { processLoginResponse } from './legacy-login-response.ts';
import type { LoginRequest, Token } from './token.ts';
import type { TokenHosts } from './token-hosts.ts';

export type LoginSource = (request: LoginRequest, signal: AbortSignal) => Promise<Token | Failure>;

/**
 * The login of the Convercus API that was there before OAuth. Answers every fault with a Failure and rejects only with
 * the reason of its signal.
 */
export const createLoginSource =
  (hosts: TokenHosts): LoginSource =>
  (request, signal) => {
    const { environment, grantType, loginUrl: url, org, username, password } = request;
    const secrets = [org, username, password];
    return hosts.ask(
      {
        environment,
        grantType,
        url,
        ask: async ({ insecureHttp }, send) =>
          insecureHttp || new URL(url).protocol !== 'http:' ? send(loginOf(request)) : tooOpen(url),
        read: (response, context) => processLoginResponse(response, { ...context, secrets }),
      },
      signal,
    );
  };

/** Sent at most once: a second wrong password within a moment may lock the account. */
const loginOf = ({ loginUrl, org, username, password }: LoginRequest): HttpRequest => ({
  url: loginUrl,
  method: 'POST',
  headers: { 'content-type': 'application/json', accept: 'application/json, text/plain, */*' },
  body: JSON.stringify({
    org: org.reveal(),
    userName: username.reveal(),
    password: password.reveal(),
  }),
  once: true,
});

const tooOpen = (url: string): Failure =>
  new Failure(
    'InsecureEndpoint',
    `${new URL(url).host} is not asked over plain HTTP. ` +
      'Use an https:// loginUrl, or set insecureHttp for the environment.',
  );
