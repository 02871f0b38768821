import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { ConvercusCredential } from '../../src/credential/api.ts';
import {
  type Answer,
  type Asked,
  type ScriptedApiServer,
  startScriptedApiServer,
  status,
} from '../kubernetes/scripted-api-server.ts';
import { aCredential } from '../support/builders.ts';
import { Person } from './person.ts';

const REQUEST = 'convercus.io/renew-requested-at';
const ALL = ['-l', 'team=shop'];

/** Credentials that a person may read and patch, and an operator that does what the test says. */
describe('kubectl convercus renew', () => {
  let server: ScriptedApiServer;
  let person: Person;
  let credentials: Map<string, ConvercusCredential>;
  /** What the operator does after a credential was patched. */
  let afterPatch: (patched: ConvercusCredential) => void;
  let refused: string | undefined;

  beforeEach(async () => {
    refused = undefined;
    afterPatch = () => undefined;
    server = await startScriptedApiServer(answer);
    person = new Person({ kubeconfig: server.kubeconfigPath, namespace: 'shop' });
  });

  afterEach(async () => {
    await server[Symbol.asyncDispose]();
  });

  const have = (...all: readonly ConvercusCredential[]): void => {
    credentials = new Map(all.map((each) => [each.metadata.name, each]));
  };

  function answer({ method, path, body }: Asked): Answer {
    const name = /\/convercuscredentials\/([^/]+)$/.exec(path)?.[1];
    if (name === undefined) return { body: { items: [...credentials.values()] } };
    const found = credentials.get(name);
    if (found === undefined || name === refused) return status(404, 'NotFound');
    if (method === 'PATCH') patch(found, JSON.parse(body));
    return { body: credentials.get(name) };
  }

  function patch(found: ConvercusCredential, { metadata = {}, spec = {} }): void {
    const patched = {
      ...found,
      metadata: { ...found.metadata, ...metadata },
      spec: { ...found.spec, ...spec },
    };
    credentials.set(found.metadata.name, patched);
    afterPatch(patched);
  }

  const annotate = (credential: ConvercusCredential, request: string | undefined): void => {
    const annotations = request === undefined ? {} : { [REQUEST]: request };
    credentials.set(credential.metadata.name, {
      ...credential,
      metadata: { ...credential.metadata, annotations },
    });
  };

  /** The operator has handled the request that is there. */
  function handle(name: string, failed?: string): void {
    const credential = credentials.get(name) ?? aCredential();
    const request = credential.metadata.annotations?.[REQUEST];
    credentials.set(name, {
      ...credential,
      status: { ...statusOf(failed), ...(request && { lastHandledRenewRequest: request }) },
    });
  }

  const statusOf = (failed: string | undefined, observedGeneration = 1) => ({
    conditions: [
      {
        type: 'Renewed',
        status: failed === undefined ? ('True' as const) : ('False' as const),
        reason: failed ?? 'RenewRequested',
        message: 'in words',
        lastTransitionTime: '2026-09-21T12:00:00Z',
        observedGeneration,
      },
    ],
  });

  const NAMES = Array.from({ length: 20 }, (_, at) => `c${String(at).padStart(2, '0')}`);

  it('asks for all renewals before it waits for the first', async () => {
    have(...NAMES.map((name) => aCredential({ metadata: { name } })));
    let patched = 0;
    afterPatch = () => {
      patched += 1;
      if (patched === NAMES.length) for (const name of NAMES) handle(name);
    };
    const { code, out } = await person.cli('renew', ...ALL, '--wait', '4s');
    expect([code, out]).toEqual([0, NAMES.map((name) => `shop/${name}: renewed\n`).join('')]);
  });

  it('tells of each that was renewed, that failed, and that is not there any more', async () => {
    have(...['a', 'b', 'c'].map((name) => aCredential({ metadata: { name } })));
    refused = 'c';
    afterPatch = ({ metadata: { name } }) =>
      handle(name, name === 'b' ? 'RealmNotFound' : undefined);
    const { code, out } = await person.cli('renew', ...ALL, '--wait', '4s');
    expect([code, out]).toEqual([
      1,
      'shop/a: renewed\nshop/b: failed: RealmNotFound: in words\nshop/c: failed: There is no ConvercusCredential "c" in namespace "shop"; see those that are there: kubectl convercus list -n shop\n',
    ]);
  });

  it('takes the answer to a later request for its own', async () => {
    have(aCredential());
    afterPatch = (patched) => {
      annotate(patched, 'later');
      handle('loyalty');
    };
    const { code, out } = await person.cli('renew', 'loyalty', '--wait', '3s');
    expect([code, out]).toEqual([0, 'shop/loyalty: renewed\n']);
  });

  it('does not wait for a request that was taken away', async () => {
    have(aCredential());
    afterPatch = (patched) => annotate(patched, undefined);
    const { code, out } = await person.cli('renew', 'loyalty', '--wait', '20s');
    expect([code, out]).toEqual([
      1,
      'shop/loyalty: failed: the request was removed before it was handled\n',
    ]);
  });

  it.each([
    'InvalidSpec',
    'InputMissing',
    'InputInvalid',
    'TargetNotOurs',
    'TargetMissing',
    'MergeNotAllowed',
  ])('tells of the fault for which no token is requested: %s', async (reason) => {
    have(aCredential({ status: statusOf(reason) }));
    const { code, out } = await person.cli('renew', 'loyalty', '--wait', '2s');
    expect([code, out]).toEqual([1, `shop/loyalty: failed: ${reason}: in words\n`]);
  });

  it('does not wait long for a spec that is invalid', async () => {
    have(aCredential({ status: statusOf('InvalidSpec') }));
    const start = Date.now();
    const now = () => start + 10 * (Date.now() - start);
    const { code, out } = await person.with({ now }).cli('renew', 'loyalty', '--wait', '10m');
    expect([code, out]).toEqual([1, 'shop/loyalty: failed: InvalidSpec: in words\n']);
  });

  it.each([
    ['of a token endpoint', statusOf('ClientSecretRejected')],
    ['of a former spec', statusOf('InvalidSpec', 0)],
  ])('takes no failure for an answer that is %s', async (_, former) => {
    have(aCredential({ status: former }));
    const { code, out } = await person.cli('renew', 'loyalty', '--wait', '2s');
    expect([code, out]).toEqual([4, expect.stringContaining('not handled yet')]);
  });

  it.each([
    [[], 0],
    [['--wait', '2s'], 1],
  ])('tells that it renews nothing which is suspended: %j', async (flags, exitCode) => {
    have(aCredential({ spec: { suspend: true } }));
    const { code, out } = await person.cli('renew', 'loyalty', ...flags);
    expect([code, out]).toEqual([
      exitCode,
      'shop/loyalty: suspended, renewed when it is resumed: kubectl convercus resume loyalty -n shop\n',
    ]);
  });
});
