import type { Answer } from './answer.ts';
import { type Randomness, systemRandomness } from './randomness.ts';
import { loginToken } from './tokens.ts';

/** How the login hands the token over. The vendor documents "in the body of the response" and no more. */
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

export type LegacyRequest = Partial<LegacyAccount>;

const json = (status: number, body: unknown): Answer => ({
  status,
  headers: { 'Content-Type': 'application/json' },
  body: JSON.stringify(body),
});

const text = (body: string, contentType = 'text/plain;charset=UTF-8'): Answer => ({
  status: 200,
  headers: { 'Content-Type': contentType },
  body,
});

/** The old `POST /auth/login` of the Convercus API. */
export class LegacyLogin {
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

  response({ org, userName, password }: LegacyRequest, skewSeconds: number): Answer {
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
      ? this.#tokenAnswer(String(org), String(userName), skewSeconds)
      : json(401, { message: 'Unauthorized' });
  }

  #tokenAnswer(org: string, userName: string, skewSeconds: number): Answer {
    const iat = Math.floor(this.#clock() / 1000) + skewSeconds;
    const claims = { sub: userName, org, iat, authorities: ['API'] };
    const token = loginToken({ ...claims, exp: iat + this.lifespan }, this.#randomness);
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
        return text(loginToken(claims, this.#randomness));
      case 'empty':
        return text('');
      case 'html':
        return text('<!DOCTYPE html><html><body>Log in</body></html>', 'text/html;charset=utf-8');
      case 'header':
        return { status: 200, headers: { Authorization: `Bearer ${token}` }, body: '' };
    }
  }
}
