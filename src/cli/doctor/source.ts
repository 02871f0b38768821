import type { Credential } from '../../credential/credential.ts';
import { requiredKeys } from '../../credential/credential.ts';
import {
  type CredentialsValues,
  credentialsIn,
  credentialsSecretMissing,
} from '../../credential/credentials-secret.ts';
import type { SecretContents } from '../../credential/secret.ts';
import { ApiError } from '../../kubernetes/api-error.ts';
import { SECRETS } from '../../kubernetes/resources.ts';
import { contentsFrom } from '../../kubernetes/secrets.ts';
import { isFailure } from '../../lib/failure.ts';
import type { Context } from '../context.ts';
import { CliError } from '../exit-code.ts';
import { fixFor } from '../fixes.ts';
import type { Shown } from '../kind.ts';
import { plain } from '../output.ts';
import { type Check, failure, ok, skip } from './check.ts';

interface Source {
  readonly check: Check;
  /** Undefined when they can't be used, or the person may not read them. */
  readonly values?: CredentialsValues;
}

/** The Secret with the client secret, by the rules of the operator. */
export async function sourceOf(
  context: Context,
  resource: Shown,
  credential: Credential,
): Promise<Source> {
  const { namespace, name } = credential.source;
  const contents = await read(context, namespace, name);
  if (contents === 'forbidden') {
    return {
      check: skip(
        'Source',
        `you may not get Secrets in namespace ${namespace}; --from operator can`,
      ),
    };
  }
  const values =
    contents === 'absent'
      ? credentialsSecretMissing(credential)
      : credentialsIn(contents, credential);
  if (isFailure(values)) {
    const source = contents === 'absent' ? 'absent' : 'there';
    const fix = fixFor(values.kind, { credential: resource, source });
    return { check: failure('Source', values.kind, values.message, fix) };
  }
  const keys = requiredKeys(credential).map((key) => plain(key, 60));
  return {
    values,
    check: ok('Source', `Secret ${name} has ${keys.join(', ')}, without a line break`),
  };
}

async function read(
  context: Context,
  namespace: string,
  name: string,
): Promise<SecretContents | 'absent' | 'forbidden'> {
  try {
    const body = await context.cluster.get(SECRETS, namespace, name);
    const contents = contentsFrom({ status: 200, body });
    return contents instanceof ApiError ? 'absent' : contents;
  } catch (error) {
    if (error instanceof CliError && error.status === 403) return 'forbidden';
    if (error instanceof CliError && error.status === 404) return 'absent';
    throw error;
  }
}
