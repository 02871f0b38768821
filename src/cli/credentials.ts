import { clusterCredentialFrom } from '../kubernetes/cluster-objects.ts';
import { selectorProblem } from '../kubernetes/label-selector.ts';
import { credentialFrom, keyOf } from '../kubernetes/objects.ts';
import { CLUSTER_CREDENTIALS, CREDENTIALS } from '../kubernetes/resources.ts';
import { type Context, scopeOf } from './context.ts';
import { CliError, EXIT, usageError } from './exit-code.ts';
import { referenceFrom, type Shown, shownCluster } from './kind.ts';
import { credentialsNamespaceOf, type OperatorConfig } from './operator-config.ts';

/** Which credentials a command is about. */
export interface Selection {
  readonly names: readonly string[];
  readonly selector?: string | undefined;
}

export async function credentialsIn(context: Context, selector?: string): Promise<Shown[]> {
  const query = queryFor(selector);
  const items = await context.cluster.list(CREDENTIALS, scopeOf(context), query);
  return items
    .map(credentialFrom)
    .filter((credential) => credential !== undefined)
    .sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
}

export async function clusterCredentialsIn(context: Context, selector?: string): Promise<Shown[]> {
  const { cluster } = context;
  const items = await cluster.list(CLUSTER_CREDENTIALS, undefined, queryFor(selector));
  const namespace = await credentialsNamespaceOf(context);
  return items
    .map(clusterCredentialFrom)
    .filter((credential) => credential !== undefined)
    .map((credential) => shownCluster(credential, namespace));
}

const queryFor = (selector: string | undefined): Readonly<Record<string, string>> =>
  selector === undefined ? {} : { labelSelector: checked(selector) };

/**
 * @param text a name, or type and name as kubectl has it
 * @param config of the operator, where it is known already
 */
export async function oneCredential(
  context: Context,
  text: string,
  config?: OperatorConfig,
): Promise<Shown> {
  const { isOfCluster, name } = referenceFrom(text);
  const found = isOfCluster
    ? await ofCluster(context, name, config)
    : await ofNamespace(context, name);
  if (found !== undefined) return found;
  throw new CliError(EXIT.cluster, `"${text}" can't be read: it is no stored credential`);
}

async function ofNamespace(
  { cluster, namespace }: Context,
  name: string,
): Promise<Shown | undefined> {
  return credentialFrom(await cluster.get(CREDENTIALS, namespace, name));
}

async function ofCluster(
  context: Context,
  name: string,
  config: OperatorConfig | undefined,
): Promise<Shown | undefined> {
  const object = await context.cluster.get(CLUSTER_CREDENTIALS, undefined, name);
  const found = clusterCredentialFrom(object);
  return found && shownCluster(found, await credentialsNamespaceOf(context, config));
}

/** Those that are named, or match, or all. @throws when that is none, or when it is not told which */
export async function selected(context: Context, selection: Selection): Promise<Shown[]> {
  const { names, selector } = selection;
  if (names.length > 0) {
    if (selector !== undefined || context.isEverywhere) {
      throw usageError(
        'Give names, or a selector (-l), or all namespaces (-A), but only one of them',
      );
    }
    return Promise.all(names.map((name) => oneCredential(context, name)));
  }
  if (selector === undefined && !context.isEverywhere) {
    throw usageError(
      'Which ones? Give names, or a selector (-l team=shop), or all of the cluster (-A)',
    );
  }
  const found = await credentialsIn(context, selector);
  if (found.length > 0) return found;
  throw new CliError(
    EXIT.cluster,
    `No ConvercusCredential ${selector === undefined ? 'exists' : 'has these labels'}; see all: kubectl convercus list -A`,
  );
}

function checked(selector: string): string {
  const problem = selectorProblem(selector);
  if (problem === undefined) return selector;
  throw usageError(`The selector can't be used: ${problem}; write one such as -l team=shop`);
}
