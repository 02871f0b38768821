import type { ControlPlane } from '../../dev/envtest/control-plane.ts';
import { eventually, manifest } from '../../dev/testbed/objects.ts';
import { CHART, fromInput, helm, manifests, type Values } from '../packaging/render.ts';

/** What of the chart has an effect without controllers: it says who may do what. */
const KINDS =
  /^(CustomResourceDefinition|ServiceAccount|(Cluster)?Role(Binding)?|ValidatingAdmissionPolicy(Binding)?)$/;

export interface ChartRelease {
  readonly name: string;
  readonly namespace: string;
  readonly values?: Values;
}

export async function installChart(
  controlPlane: ControlPlane,
  { name, namespace, values }: ChartRelease,
): Promise<void> {
  const args = ['template', name, CHART, '--namespace', namespace, ...fromInput];
  const objects = manifests(await helm(args, values)).filter(({ kind }) => KINDS.test(kind));
  const input = manifest(objects);
  await controlPlane.kubectl(['apply', '--server-side', '-f', '-'], { input });
}

export const serviceAccount = (namespace: string, name: string): string =>
  `system:serviceaccount:${namespace}:${name}`;

/** Sends requests as a user, by impersonation. */
export class Account {
  readonly #controlPlane: ControlPlane;
  readonly #flags: readonly string[];

  constructor(controlPlane: ControlPlane, user: string, groups: readonly string[] = []) {
    this.#controlPlane = controlPlane;
    this.#flags = [`--as=${user}`, ...groups.map((group) => `--as-group=${group}`)];
  }

  /** @throws with the standard error of kubectl when it fails */
  succeed(args: readonly string[], input?: object): Promise<string> {
    const options = input === undefined ? {} : { input: JSON.stringify(input) };
    return this.#controlPlane.kubectl([...args, ...this.#flags], options);
  }

  /** The standard output of kubectl, or why it failed. */
  kubectl(args: readonly string[], input?: object): Promise<string> {
    return this.succeed(args, input).catch(String);
  }

  /** The API server takes a moment to heed a new policy. */
  async untilDenied(args: readonly string[], input?: object): Promise<void> {
    const isDenied = (text: string): boolean => text.includes('denied request');
    const response = await eventually(() => this.kubectl(args, input), isDenied);
    if (!isDenied(response)) throw new Error(`not denied: ${response}`);
  }
}
