import { describe, expect, it } from '@jest/globals';
import { type Asked, startScriptedApiServer, status } from '../kubernetes/scripted-api-server.ts';
import { Person } from './person.ts';

const ARGS = ['create', 'loyalty', '--program', 'T1', '--apply', '-n', 'shop'];

describe('kubectl convercus create --apply', () => {
  it('reads no secret that would show while it is typed', async () => {
    const asked: Asked[] = [];
    await using server = await startScriptedApiServer((request) => {
      asked.push(request);
      return request.method === 'GET' ? status(404, 'NotFound') : {};
    });
    const { kubeconfigPath: kubeconfig } = server;
    const person = new Person({ kubeconfig, types: [], errors: 'file', input: 'CaNaRy-secret' });
    const { code, err } = await person.cli(...ARGS);
    expect([code, err]).toEqual([
      2,
      'The client secret would show while it is typed, because standard error is no terminal; leave standard error alone, or pipe the client secret into the command\n',
    ]);
    expect(asked.filter(({ path }) => path.endsWith('/secrets'))).toEqual([]);
  });
});
