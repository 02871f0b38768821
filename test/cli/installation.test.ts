import { describe, expect, it } from '@jest/globals';
import type { Context } from '../../src/cli/context.ts';
import { operatorChecks } from '../../src/cli/doctor/installation.ts';
import { operatorConfigFrom } from '../../src/cli/operator-config.ts';
import { START } from '../support/builders.ts';

const POD = { metadata: { name: 'replica-1' }, status: { conditions: [] } };
const LEASE = {
  metadata: { name: 'convercus-operator' },
  spec: {
    holderIdentity: 'replica-1',
    renewTime: new Date(START).toISOString(),
    leaseDurationSeconds: 15,
  },
};

/** A person who may list all in the namespaces of the operator and of its Leases. */
const contextWith = (leasesIn: string): Context =>
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the rest of a context is not used here
  ({
    operatorNamespace: 'operators',
    host: { now: () => START + 2_000 },
    cluster: {
      list: async ({ plural }: { plural: string }, namespace: string) => {
        if (plural === 'pods') return [POD];
        return namespace === leasesIn ? [LEASE] : [];
      },
    },
  }) as unknown as Context;

async function leader(yaml: string, leasesIn = 'operators') {
  const checks = await operatorChecks(contextWith(leasesIn), operatorConfigFrom(yaml));
  return checks.find(({ name }) => name === 'Leader');
}

describe('the leader of the operator', () => {
  it.each([
    ['', 'operators'],
    ['leaderElection: { namespace: "" }', 'operators'],
    ['leaderElection: { namespace: leases }', 'leases'],
  ])('is found by its Lease, with %j', async (yaml, leasesIn) => {
    expect(await leader(yaml, leasesIn)).toEqual({
      name: 'Leader',
      result: 'ok',
      text: 'replica-1 (lease 2s old)',
    });
  });

  it('is not there, and the logs are those of the operator', async () => {
    expect(await leader('leaderElection: { namespace: leases }')).toEqual({
      name: 'Leader',
      result: 'fail',
      text: 'no lease of the operator in namespace leases',
      help: 'Look at the operator: kubectl convercus logs --operator-namespace operators; kubectl get pods -n operators',
    });
  });

  it('is not needed without an election', async () => {
    expect(await leader('leaderElection: { enabled: false }')).toEqual({
      name: 'Leader',
      result: 'skip',
      text: "not needed: leaderElection.enabled of the operator's configuration is false",
    });
  });
});
