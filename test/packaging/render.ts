import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { parseAllDocuments } from 'yaml';
import { ensureBinaries } from '../../dev/envtest/binaries.ts';
import { ensureTool } from '../../dev/packaging/tools.ts';

export const ROOT = join(import.meta.dirname, '../..');
export const CHART = join(ROOT, 'charts/convercus-operator');
export const RELEASE = 'convercus-operator';
export const NAMESPACE = 'convercus-operator';

/** The chart has no default, and deploy/ one that nothing answers to. */
export const IMAGE = { repository: 'registry.invalid/convercus-operator' };

/** Milliseconds, enough to build helm, promtool or kube-apiserver. */
export const BUILD_TIME = 20 * 60_000;

// oxlint-disable-next-line typescript/no-explicit-any -- a manifest may hold anything
export type Manifest = { kind: string; metadata: Metadata; [field: string]: any };

interface Metadata {
  name: string;
  namespace?: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
}

export type Values = Readonly<Record<string, unknown>>;

/** The manifests that the chart renders for these values and an image, with hooks. */
export async function renderChart(values: Values = {}): Promise<Manifest[]> {
  return manifests(await helm(['template', RELEASE, CHART, ...inNamespace, ...fromInput], values));
}

export async function renderOverlay(name: string): Promise<Manifest[]> {
  const { kubectl } = await ensureBinaries(console.log);
  return manifests(await run(kubectl, ['kustomize', join(ROOT, 'deploy/overlays', name)]));
}

/**
 * The standard output of helm, with the values, and an image unless they name one, as its standard input.
 * @throws with its standard error when it fails
 */
export async function helm(args: string[], values: Values = {}): Promise<string> {
  const input = JSON.stringify({ image: IMAGE, ...values });
  return run(await ensureTool('helm', console.log), args, input);
}

export const inNamespace = ['--namespace', NAMESPACE];
export const fromInput = ['--values', '-'];

export async function promtool(...args: string[]): Promise<string> {
  return run(await ensureTool('promtool', console.log), args);
}

export function manifests(yaml: string): Manifest[] {
  return parseAllDocuments(yaml)
    .map((document) => {
      if (document.errors[0] !== undefined) throw document.errors[0];
      return document.toJS();
    })
    .filter((object) => object !== null);
}

/** @throws unless there is exactly one of this kind */
export function the(kind: string, objects: readonly Manifest[]): Manifest {
  const [found, ...others] = objects.filter((object) => object.kind === kind);
  if (found === undefined || others.length > 0) throw new Error(`not exactly one ${kind}`);
  return found;
}

/**
 * The standard output of a command.
 * @throws with its standard error when it fails
 */
export async function run(command: string, args: string[], input = ''): Promise<string> {
  const child = spawn(command, args);
  child.stdin.on('error', () => {}); // it may end without reading
  child.stdin.end(input);
  const exited = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject).once('close', resolve);
  });
  const [output, complaint, code] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    exited,
  ]);
  if (code === 0) return output;
  throw new Error(`${command} ${args[0]} failed: ${complaint || output}`);
}
