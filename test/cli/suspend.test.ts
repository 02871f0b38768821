import { describe, expect, it } from '@jest/globals';
import {
  type Answer,
  type Asked,
  startScriptedApiServer,
  status,
} from '../kubernetes/scripted-api-server.ts';
import { aCredential } from '../support/builders.ts';
import { Person } from './person.ts';

const MISSING =
  'There is no ConvercusCredential "b" in namespace "shop"; see those that are there: kubectl convercus list -n shop\n';

/** Three credentials, one of which is deleted while the others are changed. */
function answer({ method, path }: Asked): Answer {
  if (method === 'PATCH' || path.endsWith('/b')) {
    return path.endsWith('/b') ? status(404, 'NotFound') : {};
  }
  return { body: { items: ['a', 'b', 'c'].map((name) => aCredential({ metadata: { name } })) } };
}

describe('kubectl convercus suspend', () => {
  it('tells what was suspended, and what was not', async () => {
    await using server = await startScriptedApiServer(answer);
    const person = new Person({ kubeconfig: server.kubeconfigPath, namespace: 'shop' });
    const { code, out } = await person.cli('suspend', '-l', 'team=shop');
    expect([code, out]).toEqual([
      1,
      `shop/a: suspended\nshop/b: failed: ${MISSING}shop/c: suspended\n`,
    ]);
    const data = JSON.parse((await person.cli('suspend', '-l', 'team=shop', '-o', 'json')).out);
    expect(data).toEqual([
      { namespace: 'shop', name: 'a', suspend: true, changed: true },
      {
        namespace: 'shop',
        name: 'b',
        suspend: false,
        changed: false,
        message: MISSING.trimEnd(),
      },
      { namespace: 'shop', name: 'c', suspend: true, changed: true },
    ]);
    const one = await person.cli('suspend', 'b');
    expect([one.code, one.out, one.err]).toEqual([3, '', MISSING]);
  });
});
