import type { ExtraEndpoint, RequestFacts } from '../keycloak/dialect/extra-endpoint.ts';
import { type Randomness, systemRandomness } from '../keycloak/dialect/randomness.ts';
import type { EndpointResponse } from '../keycloak/dialect/response.ts';
import { unverifiableJwt } from '../keycloak/dialect/tokens.ts';

export const LOGIN_PATH = '/auth/login';

/** The form of the response. The vendor documents only that the token is "in the body of the response". */
export type LegacyShape =
  | 'text'
  | 'quoted'
  | 'object'
  | 'bearer'
  | 'opaque'
  | 'without-exp'
  | 'empty'
  | 'html'
  | 'header';

export type LegacyAccount = { org: string; userName: string; password: string };

type LoginRequest = Partial<LegacyAccount>;

const json = (status: number, body: unknown): EndpointResponse => ({
  status,
  headers: { 'Content-Type': 'application/json' },
  body: JSON.stringify(body),
});

const text = (body: string, contentType = 'text/plain;charset=UTF-8'): EndpointResponse => ({
  status: 200,
  headers: { 'Content-Type': contentType },
  body,
});

/** The `POST /auth/login` of the Convercus API. In the log and in faults its realm is the org. */
export class LegacyLogin implements ExtraEndpoint {
  readonly name = 'login';
  readonly path = LOGIN_PATH;
  shape: LegacyShape = 'text';
  /** Seconds; the vendor says 24 hours. */
  lifespan = 86_400;
  readonly accounts: LegacyAccount[] = [];
  readonly #clock: () => number;
  readonly #randomness: Randomness;

  constructor(clock: () => number, randomness: Randomness = systemRandomness) {
    this.#clock = clock;
    this.#randomness = randomness;
  }

  factsOf(body: string): RequestFacts {
    const { org = '', userName = '', password } = parse(body);
    return { realm: org, username: userName, secrets: password === undefined ? [] : [password] };
  }

  respond(body: string, skewSeconds: number): EndpointResponse {
    const { org, userName, password } = parse(body);
    const missing = Object.entries({ org, userName, password }).filter(([, value]) => !value);
    if (missing.length > 0) {
      return json(400, {
        message: 'Bad Request',
        error: missing.map(([name]) => `${name} is required`),
      });
    }
    const known = this.accounts.some(
      (account) =>
        account.org === org && account.userName === userName && account.password === password,
    );
    return known
      ? this.#tokenResponse(String(org), String(userName), skewSeconds)
      : json(401, { message: 'Unauthorized' });
  }

  #tokenResponse(org: string, userName: string, skewSeconds: number): EndpointResponse {
    const iat = Math.floor(this.#clock() / 1000) + skewSeconds;
    const claims = { sub: userName, org, iat, authorities: ['API'] };
    const token = unverifiableJwt({ ...claims, exp: iat + this.lifespan }, this.#randomness);
    switch (this.shape) {
      case 'text':
        return text(token);
      case 'quoted':
        return text(JSON.stringify(token), 'application/json');
      case 'object':
        return json(200, { token });
      case 'bearer':
        return text(`Bearer ${token}`);
      case 'opaque':
        return text(Buffer.from(token.slice(-32)).toString('hex'));
      case 'without-exp':
        return text(unverifiableJwt(claims, this.#randomness));
      case 'empty':
        return text('');
      case 'html':
        return text('<!DOCTYPE html><html><body>Log in</body></html>', 'text/html;charset=utf-8');
      case 'header':
        return { status: 200, headers: { Authorization: `Bearer ${token}` }, body: '' };
    }
  }
}

function parse(body: string): LoginRequest {
  try {
    const parsed: unknown = JSON.parse(body);
    return typeof parsed === 'object' && parsed !== null ? parsed : {};
  } catch {
    return {};
  }
}
