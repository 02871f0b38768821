import { keepsToken } from '../credential/plan.ts';
import { isSameVersion } from '../credential/secret.ts';
import { type RenderedTarget, renderAgain } from '../credential/target-secret.ts';
import { type Failure, isFailure } from '../lib/failure.ts';
import type { Dependencies } from './dependencies.ts';
import type { PlannedWrite } from './repairs.ts';
import type { Subject } from './state.ts';

/**
 * The target under the labels, annotations and renewal date of the spec, with the data that it holds: an edit of these
 * asks for no token, also after a restart. Undefined when another token is due, or the data are not as published.
 * `superseded`: it is not the version any more that the plan was made for, which said whose it is and who may merge. What
 * was read is in the cache now, so the next reconcile decides.
 */
export async function readBack(
  { cluster, clock, random }: Pick<Dependencies, 'cluster' | 'clock' | 'random'>,
  { credential }: Subject,
  planned: PlannedWrite,
  signal: AbortSignal,
): Promise<RenderedTarget | Failure | 'superseded' | undefined> {
  if (!keepsToken(planned.seen, planned)) return undefined;
  const { namespace, target } = credential;
  const found = await cluster.readSecret(namespace, target.name, signal);
  if (isFailure(found)) return found;
  if (found === 'absent') return undefined;
  if (!isSameVersion(found.meta, planned.seen.target)) return 'superseded';
  const rendered = renderAgain(credential, found, random() * 2 - 1);
  const isDue = rendered !== undefined && rendered.tokenAnnotations.renewAt <= clock.now();
  return isDue ? undefined : rendered;
}
