import type { ConvercusCredential } from '../../credential/api.ts';
import { targetNameOf } from '../../credential/credential.ts';
import type { SecretMeta } from '../../credential/secret.ts';
import { isMergeAllowed, isOurs } from '../../credential/target-secret.ts';
import type { FailureKind } from '../../lib/failure.ts';
import type { EpochMs } from '../../lib/time.ts';
import { allSee, consumersAmong } from '../consumers.ts';
import type { Context } from '../context.ts';
import { ifAllowed } from '../exit-code.ts';
import { fixFor } from '../fixes.ts';
import { PODS } from '../operator-pods.ts';
import { duration } from '../output.ts';
import { secretFacts } from '../secret-facts.ts';
import { type Check, fail, failure, ok, skip } from './check.ts';

/** The Secret that pods read, and the pods. */
export async function targetChecks(
  context: Context,
  credential: ConvercusCredential,
): Promise<Check[]> {
  const name = targetNameOf(credential);
  const facts = await secretFacts(context, name);
  const target = targetCheck(
    context,
    credential,
    facts === 'absent' || facts === 'forbidden' ? facts : facts.meta,
  );
  return [target, await consumersCheck(context, credential, name)];
}

function targetCheck(
  { namespace, host }: Context,
  credential: ConvercusCredential,
  meta: SecretMeta | 'absent' | 'forbidden',
): Check {
  const name = targetNameOf(credential);
  if (meta === 'forbidden')
    return skip('Target', `you may not get Secrets in namespace ${namespace}`);
  if (meta === 'absent') return fail('Target', `Secret ${name} does not exist`);
  const { metadata, spec } = credential;
  const user = { uid: metadata.uid, name: metadata.name, target: spec.target };
  const refused = (reason: FailureKind, text: string): Check =>
    failure('Target', reason, text, fixFor(reason, { credential, source: 'there' }));
  if (spec.target.creationPolicy === 'Merge' && !isMergeAllowed(user, meta)) {
    return refused(
      'MergeNotAllowed',
      `Secret ${name} does not allow to merge; its owner can allow it`,
    );
  }
  if (!isOurs(user, meta)) {
    const change =
      credential.status?.issuedAt === undefined ? 'change spec.target.name, or delete' : 'delete';
    return refused(
      'TargetNotOurs',
      `Secret ${name} was not made for this credential; ${change} the Secret if nothing uses it`,
    );
  }
  return tokenCheck(name, meta, host.now());
}

function tokenCheck(name: string, { tokenAnnotations }: SecretMeta, now: EpochMs): Check {
  if (tokenAnnotations === undefined) return fail('Target', `Secret ${name} holds no token yet`);
  const { expiresAt } = tokenAnnotations;
  if (expiresAt <= now)
    return fail('Target', `the token in Secret ${name} expired ${duration(now - expiresAt)} ago`);
  return ok(
    'Target',
    `Secret ${name} holds a token that is valid for ${duration(expiresAt - now)}`,
  );
}

async function consumersCheck(
  { cluster, namespace }: Context,
  { metadata }: ConvercusCredential,
  secret: string,
): Promise<Check> {
  const pods = await ifAllowed(cluster.list(PODS, namespace));
  if (pods === undefined)
    return skip('Consumers', `you may not list pods in namespace ${namespace}`);
  const found = consumersAmong(pods, secret);
  const stale = found.filter(({ neverUpdated }) => neverUpdated.length > 0);
  if (stale.length === 0)
    return ok('Consumers', found.length === 0 ? 'no pod uses the target' : allSee(found.length));
  return fail(
    'Consumers',
    `${stale.map(({ workload, neverUpdated }) => `${workload} (${neverUpdated.join(', ')})`).join(', ')} will never see a new token`,
    `See how each uses it: kubectl convercus consumers ${metadata.name} -n ${namespace}`,
  );
}
