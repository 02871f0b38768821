import type { ConvercusCredential } from '../credential/api.ts';
import { selectorProblem } from '../kubernetes/label-selector.ts';
import { credentialFrom, keyOf } from '../kubernetes/objects.ts';
import { CREDENTIALS } from '../kubernetes/resources.ts';
import { type Context, scopeOf } from './context.ts';
import { CliError, EXIT, usageError } from './exit-code.ts';

/** Which credentials a command is about. */
export interface Selection {
  readonly names: readonly string[];
  readonly selector?: string | undefined;
}

export async function credentialsIn(
  context: Context,
  selector?: string,
): Promise<ConvercusCredential[]> {
  const query = selector === undefined ? {} : { labelSelector: checked(selector) };
  const items = await context.cluster.list(CREDENTIALS, scopeOf(context), query);
  return items
    .map(credentialFrom)
    .filter((credential) => credential !== undefined)
    .sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
}

export async function oneCredential(context: Context, name: string): Promise<ConvercusCredential> {
  const { cluster, namespace } = context;
  const found = credentialFrom(await cluster.get(CREDENTIALS, namespace, name));
  if (found !== undefined) return found;
  throw new CliError(
    EXIT.cluster,
    `ConvercusCredential "${name}" can't be read: it is no stored object`,
  );
}

/** Those that are named, or match, or all. @throws when that is none, or when it is not told which */
export async function selected(
  context: Context,
  selection: Selection,
): Promise<ConvercusCredential[]> {
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
