import { API_VERSION, KIND } from '../credential/target-secret.ts';
import { CREDENTIALS } from '../kubernetes/resources.ts';
import { type Ms, seconds } from '../lib/time.ts';
import { NO_CRD } from './api-sentences.ts';
import type { Context } from './context.ts';
import { type Check, checkLines, fail, ok, skip } from './doctor/check.ts';
import { operatorChecks } from './doctor/installation.ts';
import { CliError, EXIT, usageError } from './exit-code.ts';
import { readOperatorConfig } from './operator-config.ts';
import type { Result } from './output.ts';

const POLL: Ms = seconds(1);

/** `kubectl convercus check api`: whether credentials can be created and are served, for use after an installation. */
export async function checkApi(
  context: Context,
  what: string,
  wait: Ms | undefined,
): Promise<Result> {
  if (what !== 'api')
    throw usageError(
      `There is nothing to check called "${what}"; write: kubectl convercus check api`,
    );
  const { host, paint } = context;
  const deadline = host.now() + (wait ?? 0);
  for (;;) {
    const checks = await apiChecks(context);
    const isWell = checks.every(({ result }) => result !== 'fail');
    if (isWell || host.now() + POLL > deadline) {
      const failed = wait === undefined ? EXIT.problem : EXIT.timeout;
      return {
        data: { checks },
        text: checkLines(checks, paint),
        exitCode: isWell ? EXIT.done : failed,
      };
    }
    await host.sleep(POLL);
  }
}

async function apiChecks(context: Context): Promise<Check[]> {
  if (!(await context.cluster.serves(CREDENTIALS))) return [fail('CRD', NO_CRD)];
  return [
    ok('CRD', `${API_VERSION} is served`),
    await createCheck(context),
    ...(await operatorChecks(context, await readOperatorConfig(context))),
  ];
}

/** A creation that is not carried out: schema, rights and admission policies. */
async function createCheck({ cluster, namespace }: Context): Promise<Check> {
  const sample = {
    apiVersion: API_VERSION,
    kind: KIND,
    namespace,
    name: 'kubectl-convercus-check',
    spec: {
      program: 'ABC',
      environment: 'staging',
      credentialsSecretRef: { name: 'kubectl-convercus-check' },
    },
  };
  try {
    await cluster.create(CREDENTIALS, sample, { dryRun: 'All' });
    return ok('Create', `a ConvercusCredential is accepted in namespace ${namespace} (dry run)`);
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    if (error.status === 403) return skip('Create', error.message);
    return fail('Create', error.message);
  }
}
