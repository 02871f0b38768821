import type { ClusterConvercusCredential } from '../../credential/cluster-api.ts';
import { conditionOf } from '../../credential/status.ts';
import { namespaceLines } from '../cluster-status.ts';
import { allSee, clusterConsumers } from '../consumers.ts';
import type { Context } from '../context.ts';
import { ifAllowed } from '../exit-code.ts';
import { argumentOf, type Shown } from '../kind.ts';
import { painter } from '../output.ts';
import { type Check, fail, failure, ok, skip } from './check.ts';

/** What a cluster credential has written, by what the operator tells of it, and the pods that read it. */
export async function namespaceChecks(context: Context, credential: Shown): Promise<Check[]> {
  return [targetsCheck(credential), await consumersCheck(context, credential)];
}

function targetsCheck({ cluster }: Shown): Check {
  const [counts = '', ...failures] = namespaceLines(painter(false), cluster?.status);
  if (isWell(cluster?.status?.namespaces)) return ok('Targets', counts);
  const help = failures.join('\n') || undefined;
  const renewed = conditionOf(cluster?.status, 'Renewed');
  return renewed?.status === 'False'
    ? failure('Targets', renewed.reason, counts, help)
    : fail('Targets', counts, help);
}

type Counts = NonNullable<ClusterConvercusCredential['status']>['namespaces'];

const isWell = ({ selected, ready, failing }: NonNullable<Counts> = NONE): boolean =>
  selected > 0 && ready === selected && failing === 0;

const NONE = { selected: 0, ready: 0, failing: 0 };

async function consumersCheck(context: Context, credential: Shown): Promise<Check> {
  const found = await ifAllowed(clusterConsumers(context, credential));
  if (found === undefined) {
    return skip('Consumers', 'you may not list namespaces, or pods of the whole cluster');
  }
  const stale = found.filter(({ neverUpdated }) => neverUpdated.length > 0);
  if (stale.length === 0) {
    return ok('Consumers', found.length === 0 ? 'no pod uses the targets' : allSee(found.length));
  }
  return fail(
    'Consumers',
    `${stale.length} of ${found.length} workloads will never see a new token`,
    `See which: kubectl convercus consumers ${argumentOf(credential)}`,
  );
}
