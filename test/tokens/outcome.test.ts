import { describe, expect, it } from '@jest/globals';
import { processTokenResponse } from '../../src/oauth/token-endpoint.ts';
import { type Outcome, outcomeOf } from '../../src/tokens/outcome.ts';
import { START } from '../support/builders.ts';

const outcomeOfResponse = (status: number, error: string): Outcome =>
  outcomeOf(
    processTokenResponse(
      { status, contentType: 'application/json', text: JSON.stringify({ error }) },
      {
        grantType: 'client_credentials',
        realm: 'abc',
        clientId: 'machine-2-machine',
        scope: '',
        host: 'auth.example',
        secrets: [],
        requestedAt: START,
        receivedAt: START,
        jitter: 0,
      },
    ),
  );

describe('how a request has ended for the host', () => {
  it.each<[Outcome, number, string]>([
    ['refused', 429, ''],
    ['refused', 503, ''],
    ['refused', 503, 'service_unavailable'],
    ['refused', 503, 'server_error'],
    ['refused', 503, 'temporarily_unavailable'],
    ['refused', 400, 'temporarily_unavailable'],
    ['responded', 401, 'invalid_client'],
  ])('is "%s" after %i %s', (outcome, status, error) => {
    expect(outcomeOfResponse(status, error)).toBe(outcome);
  });
});
