import type { Resource } from '../../kubernetes/resources.ts';
import { listAt, member, objectOf, textAt } from '../../lib/json.ts';
import type { Context } from '../context.ts';
import { CliError, EXIT, ifAllowed } from '../exit-code.ts';
import type { OldWriter } from './cron-job.ts';

const externalSecrets = (version: string): Resource => ({
  apiVersion: `external-secrets.io/${version}`,
  plural: 'externalsecrets',
});
const WEBHOOKS: Resource = {
  apiVersion: 'generators.external-secrets.io/v1alpha1',
  plural: 'webhooks',
};

/** An ExternalSecret whose token comes from a generator of kind Webhook. */
export async function fromExternalSecret(context: Context, name: string): Promise<OldWriter> {
  const { cluster, namespace } = context;
  const object =
    (await ifAllowed(cluster.get(externalSecrets('v1'), namespace, name))) ??
    (await cluster.get(externalSecrets('v1beta1'), namespace, name));
  const generator = listAt(object, 'spec', 'dataFrom')
    .map((each) => member(each, 'sourceRef', 'generatorRef'))
    .find((ref) => textAt(ref, 'kind') === 'Webhook');
  const webhookName = textAt(generator, 'name');
  if (webhookName === undefined) {
    throw new CliError(
      EXIT.problem,
      `ExternalSecret "${name}" has no generator of kind Webhook, so no token is requested there; create the credential with: kubectl convercus create`,
    );
  }
  const webhook = await cluster.get(WEBHOOKS, namespace, webhookName);
  const source = sourceOf(webhook);
  return {
    text: ['url', 'body'].map((key) => textAt(webhook, 'spec', key) ?? '').join('\n'),
    ...(source === undefined ? {} : { source }),
    secret: textAt(object, 'spec', 'target', 'name') ?? name,
    data: dataOf(object),
  };
}

function sourceOf(webhook: unknown): OldWriter['source'] {
  const [found] = listAt(webhook, 'spec', 'secrets')
    .map((each) => member(each, 'secretRef'))
    .map((ref) => ({ name: textAt(ref, 'name') ?? '', key: textAt(ref, 'key') ?? '' }))
    .filter(({ name }) => name !== '');
  return found;
}

/** Keys of the template, else the one that the response gives. */
function dataOf(object: unknown): Record<string, string> {
  const keys = Object.keys(objectOf(member(object, 'spec', 'target', 'template', 'data')));
  const named = keys.length === 0 ? ['access_token'] : keys;
  return Object.fromEntries(named.map((key) => [key, '{{access_token}}']));
}
