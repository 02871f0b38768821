import { readFile } from 'node:fs/promises';
import type { Context } from '../context.ts';
import { oneCredential } from '../credentials.ts';
import { usageError } from '../exit-code.ts';
import { argumentOf, identityOf, type Shown } from '../kind.ts';
import {
  type OperatorConfig,
  operatorConfigFrom,
  readOperatorConfigs,
} from '../operator-config.ts';
import type { Result } from '../output.ts';
import { type Check, checkLines, ok } from './check.ts';
import { checksInPod } from './in-pod.ts';
import { configFor, operatorChecks, servedChecks } from './installation.ts';
import { namespaceChecks } from './namespaces.ts';
import { placeChecks } from './place.ts';
import { renewalChecks } from './renewal.ts';
import { targetChecks } from './target.ts';

export interface DoctorOptions {
  readonly from?: string;
  /** True: also for user names and passwords. False: never. */
  readonly login?: boolean;
  /** It runs in a pod of the operator, whose configuration file this is: only the checks that depend on the place. */
  readonly inside?: string;
  readonly kubeconfig?: string;
  readonly context?: string;
}

/** `kubectl convercus doctor NAME` */
export async function doctor(
  context: Context,
  name: string,
  options: DoctorOptions,
): Promise<Result> {
  const { from = 'here' } = options;
  if (from !== 'here' && from !== 'operator')
    throw usageError(`--from is here or operator, not "${from}"`);
  const { inside } = options;
  const configs = await (inside === undefined ? readOperatorConfigs(context) : configIn(inside));
  const place = inside === undefined ? context : inPod(context);
  const credential = await oneCredential(place, name, configs[0]);
  const config = await configFor(context, credential, configs);
  const checks =
    inside !== undefined
      ? await placeChecks(context, credential, config, options)
      : await allChecks(context, credential, { ...options, config });
  const isWell = checks.every(({ result }) => result !== 'fail');
  const data = { ...identityOf(credential), checks };
  return { data, text: checkLines(checks, context.paint), exitCode: isWell ? 0 : 1 };
}

async function allChecks(
  context: Context,
  credential: Shown,
  { config, ...options }: DoctorOptions & { readonly config: OperatorConfig | undefined },
): Promise<Check[]> {
  const ofPlace = (): Promise<Check[]> =>
    options.from === 'operator'
      ? checksInPod(context, argumentOf(credential), { ...options, flags: loginFlags(options) })
      : placeChecks(context, credential, config, options);
  const ofTargets = credential.cluster === undefined ? targetChecks : namespaceChecks;
  const before = [
    ok('CRD', 'convercus.io/v1alpha1 is served'),
    ...(await operatorChecks(context, config)),
    ...(await servedChecks(context, credential, config)),
  ];
  const found = [...(await ofPlace()), ...(await ofTargets(context, credential))];
  return [...before, ...renewalChecks(credential, found, context.host.now()), ...found];
}

/** A pod of the operator knows where it runs. */
const inPod = (context: Context): Context => ({
  ...context,
  operatorNamespace: context.operatorNamespace ?? (context.host.env['POD_NAMESPACE'] || undefined),
});

const loginFlags = ({ login }: DoctorOptions): string[] => {
  if (login === undefined) return [];
  return [login ? '--login' : '--no-login'];
};

async function configIn(file: string): Promise<readonly OperatorConfig[]> {
  const text = await readFile(file, 'utf8').catch(() => undefined);
  const config = text === undefined ? undefined : operatorConfigFrom(text);
  return config === undefined ? [] : [config];
}
