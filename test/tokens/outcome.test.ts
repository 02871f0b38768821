import { describe, expect, it } from '@jest/globals';
import { Failure } from '../../src/lib/failure.ts';
import { unknownEnvironment } from '../../src/oauth/environment.ts';
import { networkFailure } from '../../src/oauth/network-errors.ts';
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
    ['responded', 400, 'invalid_grant'],
    ['responded', 404, 'Realm does not exist'],
    ['abnormal', 500, 'unknown_error'],
    ['abnormal', 502, ''],
    ['abnormal', 504, ''],
    ['abnormal', 403, ''],
    ['abnormal', 404, ''],
    ['abnormal', 302, ''],
    ['abnormal', 200, ''],
  ])('is "%s" after %i %s', (outcome, status, error) => {
    expect(outcomeOfResponse(status, error)).toBe(outcome);
  });

  it.each<[Outcome, Failure]>([
    ['unreachable', networkFailure('ECONNREFUSED', 'auth.example')],
    ['unsent', networkFailure('CERT_HAS_EXPIRED', 'auth.example')],
    ['unsent', networkFailure('', 'auth.example')],
    ['unsent', unknownEnvironment('moon')],
    ['unsent', new Failure('InsecureEndpoint', 'not asked over plain HTTP')],
  ])('is "%s" without a response: %j', (outcome, failure) => {
    expect(outcomeOf(failure)).toBe(outcome);
  });
});
