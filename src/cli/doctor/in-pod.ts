import { listAt, parseJson, textAt } from '../../lib/json.ts';
import { sanitize } from '../../lib/sensitive.ts';
import type { Context } from '../context.ts';
import { CONTAINER, operatorNamespaceOf, operatorPods } from '../operator-pods.ts';
import { plain } from '../output.ts';
import { type Check, fail } from './check.ts';

/** Where the image has Node and this program. */
const PROGRAM = [
  '/nodejs/bin/node',
  '--disable-warning=ExperimentalWarning',
  '/app/bundle/kubectl-convercus.js',
];

/** Where the operator's Deployment mounts it. */
const CONFIG_FILE = '/etc/convercus-operator/config.yaml';

/** In characters; a command that stores three values of a Secret has 500 with short names. */
const MAX_HELP = 2_000;

export interface InPodOptions {
  readonly kubeconfig?: string | undefined;
  readonly context?: string | undefined;
  /** Such as `--login`. */
  readonly flags: readonly string[];
}

/** The checks that depend on where they run, by this program inside a pod of the operator (kubectl exec). */
export async function checksInPod(
  context: Context,
  name: string,
  { kubeconfig, context: contextName, flags }: InPodOptions,
): Promise<Check[]> {
  const namespace = await operatorNamespaceOf(context);
  const pods = await operatorPods(context, namespace);
  if (pods === undefined) {
    return [
      fail('Operator', `you may not list pods in namespace ${namespace}`, needsExec(namespace)),
    ];
  }
  const pod = pods.find(({ isReady }) => isReady);
  if (pod === undefined) {
    return [
      fail(
        'Operator',
        `no ready pod of the operator in namespace ${namespace}`,
        'Add --operator-namespace, or check with --from here.',
      ),
    ];
  }
  const doctor = [
    'doctor',
    name,
    '-n',
    context.namespace,
    '--inside',
    CONFIG_FILE,
    '-o',
    'json',
    ...flags,
  ];
  const where = ['-n', namespace, '-c', CONTAINER, pod.name];
  const place = ['exec', ...where, '--', ...PROGRAM, ...doctor];
  const { code, stdout, stderr } = await context.host.run('kubectl', [
    ...(kubeconfig === undefined ? [] : [`--kubeconfig=${kubeconfig}`]),
    ...(contextName === undefined ? [] : [`--context=${contextName}`]),
    ...place,
  ]);
  const checks = checksFrom(stdout);
  if (checks !== undefined) return checks;
  if (code === undefined) {
    return [fail('Operator', 'kubectl could not be run: it was not found, or was ended')];
  }
  const text = `kubectl exec in pod ${pod.name} failed: ${lastSentenceOf(stderr)}`;
  return [fail('Operator', text, needsExec(namespace))];
}

/** kubectl ends with the exit code of the command, behind what the command said. */
function lastSentenceOf(stderr: string): string {
  const lines = stderr.trim().split('\n');
  const sentence = lines.findLast((line) => !/^command terminated with exit code \d+$/.test(line));
  return sanitize(sentence ?? lines.at(-1) ?? '', []);
}

const needsExec = (namespace: string): string =>
  `It needs the right to create pods/exec: kubectl auth can-i create pods --subresource=exec -n ${namespace}`;

/** Undefined when it is not what this program prints. */
function checksFrom(stdout: string): Check[] | undefined {
  const checks = listAt(parseJson(stdout), 'checks')
    .map(checkFrom)
    .filter((check) => check !== undefined);
  return checks.length === 0 ? undefined : checks;
}

function checkFrom(value: unknown): Check | undefined {
  const [name, result, text] = ['name', 'result', 'text'].map((key) => textAt(value, key));
  if (name === undefined || text === undefined) return undefined;
  if (result !== 'ok' && result !== 'fail' && result !== 'skip') return undefined;
  const [help, reason] = ['help', 'reason'].map((key) => textAt(value, key));
  return {
    name: plain(name, 20),
    result,
    text: plain(text),
    ...(reason === undefined ? {} : { reason: plain(reason, 60) }),
    ...(help === undefined ? {} : { help: plain(help, MAX_HELP) }),
  };
}
