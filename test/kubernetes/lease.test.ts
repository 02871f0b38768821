import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import type { LeaseRecord } from '../../src/controller/lease.ts';
import { leaseStore } from '../../src/kubernetes/lease.ts';
import type { ApiRequest, RestClient } from '../../src/kubernetes/rest-client.ts';
import { isFailure } from '../../src/lib/failure.ts';
import { hours } from '../../src/lib/time.ts';
import { never } from '../support/streams.ts';
import { type Answer, type Asked, startScriptedApiServer, status } from './scripted-api-server.ts';

const NAME = { namespace: 'operators', name: 'convercus-operator' };

const LEASES = '/apis/coordination.k8s.io/v1/namespaces/operators/leases';

const record: LeaseRecord = {
  holder: 'pod-1',
  duration: 15_000,
  acquiredAt: Date.parse('2026-11-24T00:00:00.123Z'),
  renewedAt: Date.parse('2026-11-24T00:00:10Z'),
  transitions: 3,
};

const spec = {
  holderIdentity: 'pod-1',
  leaseDurationSeconds: 15,
  acquireTime: '2026-11-24T00:00:00.123000Z',
  renewTime: '2026-11-24T00:00:10.000000Z',
  leaseTransitions: 3,
};

const stored: Answer = { body: { metadata: { resourceVersion: '5' }, spec } };

/** An API server with that Lease. */
const oneLease = (spec: object, sent: ApiRequest[]): RestClient => ({
  async request(request) {
    sent.push(request);
    return {
      status: 200,
      body: JSON.parse(JSON.stringify({ metadata: { resourceVersion: '5' }, spec })),
    };
  },
  stream: () => {
    throw new Error('a Lease is not watched');
  },
  close: () => Promise.resolve(),
});

describe('the Lease', () => {
  it('is read', async () => {
    await using server = await startScriptedApiServer(() => stored);
    const lease = leaseStore(server.restClient, NAME);
    expect(await lease.read(never)).toEqual({ ...record, resourceVersion: '5' });
  });

  it('that says nothing has no holder', async () => {
    const metadata = { resourceVersion: '5' };
    await using server = await startScriptedApiServer(() => ({ body: { metadata } }));
    expect(await leaseStore(server.restClient, NAME).read(never)).toMatchObject({
      holder: '',
      duration: 0,
      renewedAt: 0,
      resourceVersion: '5',
    });
  });

  it('is understood by its numbers alone, and a foreign edit can not stop a later write', async () => {
    const values = fc.record(
      {
        holderIdentity: fc.jsonValue(),
        leaseDurationSeconds: fc.oneof(fc.jsonValue(), fc.double(), fc.constant(2 ** 31 - 1)),
        acquireTime: fc.oneof(fc.jsonValue(), fc.constant('+275760-09-13T00:00:00Z')),
        renewTime: fc.oneof(fc.jsonValue(), fc.constant('0001-01-01T00:00:00Z')),
        leaseTransitions: fc.oneof(fc.jsonValue(), fc.double(), fc.constant(2 ** 31 - 1)),
      },
      { requiredKeys: [] },
    );
    await fc.assert(
      fc.asyncProperty(values, async (edited) => {
        const sent: ApiRequest[] = [];
        const lease = leaseStore(oneLease(edited, sent), NAME);
        const seen = await lease.read(never);
        if (seen === 'absent' || isFailure(seen)) throw new Error('not read');
        expect(seen.duration).toBeLessThanOrEqual(hours(1));
        expect(seen.duration).toBeGreaterThanOrEqual(0);
        const next = { ...seen, holder: 'pod-1', transitions: seen.transitions + 1 };
        await lease.write(next, never);
        expect(sent.at(-1)?.body).toMatchObject({
          spec: {
            holderIdentity: 'pod-1',
            acquireTime: expect.stringMatching(/^\d{4}-.{14}\.\d{6}Z$/),
            renewTime: expect.stringMatching(/^\d{4}-.{14}\.\d{6}Z$/),
          },
        });
        const { leaseDurationSeconds, leaseTransitions } = Object(sent.at(-1)?.body).spec;
        for (const number of [leaseDurationSeconds, leaseTransitions]) {
          expect(number === Math.floor(number) && number >= 0 && number < 2 ** 31).toBe(true);
        }
      }),
    );
  });

  it.each([
    ['created', record, { method: 'POST', path: LEASES }, {}],
    [
      'renewed as the version that was read',
      { ...record, resourceVersion: '4' },
      { method: 'PUT', path: `${LEASES}/convercus-operator` },
      { resourceVersion: '4' },
    ],
  ])('is %s', async (_, given, request, version) => {
    const asked: Asked[] = [];
    await using server = await startScriptedApiServer((request) => {
      asked.push(request);
      return stored;
    });
    const written = await leaseStore(server.restClient, NAME).write(given, never);
    expect(written).toEqual({ ...record, resourceVersion: '5' });
    expect(asked[0]).toMatchObject(request);
    const metadata = { ...NAME, ...version };
    const kind = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease' };
    expect(JSON.parse(asked[0]?.body ?? '')).toEqual({ ...kind, metadata, spec });
  });

  const known = { ...record, resourceVersion: '4' };
  it.each<[string, Answer, LeaseRecord, unknown]>([
    ['another replica was faster', status(409, 'Conflict'), known, 'conflict'],
    ['another replica created it before', status(409, 'AlreadyExists'), record, 'conflict'],
    ['it has been deleted', status(404, 'NotFound'), known, 'conflict'],
    ['there is no namespace', status(404, 'NotFound'), record, { kind: 'ClusterUnavailable' }],
    ['the answer is no Lease', {}, known, { code: 'UnexpectedBody' }],
    ['the server fails', status(500, 'InternalError'), known, { code: '500' }],
  ])('is not written when %s', async (_, answer, given, expected) => {
    await using server = await startScriptedApiServer(() => answer);
    const result = await leaseStore(server.restClient, NAME).write(given, never);
    if (typeof expected === 'string') expect(result).toBe(expected);
    else expect(result).toMatchObject(Object(expected));
  });

  it('may be absent, or not to be had', async () => {
    let answer = status(404, 'NotFound');
    await using server = await startScriptedApiServer(() => answer);
    const lease = leaseStore(server.restClient, NAME);
    expect(await lease.read(never)).toBe('absent');
    answer = status(403, 'Forbidden');
    expect(await lease.read(never)).toMatchObject({
      message: expect.stringContaining('is not allowed to get leases.coordination.k8s.io'),
    });
  });
});
