import { describe, expect, it } from '@jest/globals';
import type { Context } from '../../src/cli/context.ts';
import { checksInPod } from '../../src/cli/doctor/in-pod.ts';
import type { Finished } from '../../src/cli/host.ts';

const POD = {
  metadata: { name: 'replica-1' },
  status: { conditions: [{ type: 'Ready', status: 'True' }] },
};

/** A person whose kubectl ends like this. */
function contextWith(finished: Finished, ran: string[] = []): Context {
  const run = async (command: string, args: readonly string[]): Promise<Finished> => {
    ran.push([command, ...args].join(' '));
    return finished;
  };
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the rest of a context is not used here
  return {
    namespace: 'shop',
    operatorNamespace: 'operators',
    host: { run },
    cluster: { list: async () => [POD] },
  } as unknown as Context;
}

const found = async (finished: Finished, ran?: string[]) =>
  (await checksInPod(contextWith(finished, ran), 'loyalty', { flags: [] }))[0];

describe('checks inside of the operator', () => {
  it('run in its container, whatever else the pod has', async () => {
    const checks = [{ name: 'Spec', result: 'ok', text: 'fine' }];
    const ran: string[] = [];
    expect(await found({ code: 0, stdout: JSON.stringify({ checks }), stderr: '' }, ran)).toEqual(
      checks[0],
    );
    expect(ran).toEqual([
      expect.stringMatching(/^kubectl exec -n operators -c operator replica-1 -- \/nodejs/),
    ]);
  });

  it.each([
    'Error: pods "replica-1" is forbidden\n',
    'Defaulted container\nError: pods "replica-1" is forbidden\ncommand terminated with exit code 3\n',
  ])('tell what kubectl said: %j', async (stderr) => {
    expect(await found({ code: 1, stdout: '', stderr })).toEqual({
      name: 'Operator',
      result: 'fail',
      text: 'kubectl exec in pod replica-1 failed: Error: pods "replica-1" is forbidden',
      help: 'It needs the right to create pods/exec: kubectl auth can-i create pods --subresource=exec -n operators',
    });
  });

  it('tell that only the exit code is known', async () => {
    const stderr = 'command terminated with exit code 137\n';
    expect((await found({ code: 137, stdout: '', stderr }))?.text).toBe(
      'kubectl exec in pod replica-1 failed: command terminated with exit code 137',
    );
  });

  it('tell that there was no kubectl to the end', async () => {
    expect(await found({ code: undefined, stdout: '', stderr: '' })).toEqual({
      name: 'Operator',
      result: 'fail',
      text: 'kubectl could not be run: it was not found, or was ended',
    });
  });
});
