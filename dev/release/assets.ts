import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFile, cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { bundleOperator } from '../bundled-operator.ts';
import { buildArm64Executable, buildCliExecutable } from '../cli-executable.ts';
import { ensureTool } from '../packaging/tools.ts';
import { releaseNotes } from './versions.ts';

const CRDS = 'crds';
const CHART = 'charts/convercus-operator';
export const CHECKSUMS = 'SHA256SUMS';

export interface Image {
  readonly repository: string;
  /** `sha256:…`; undefined when nothing was pushed. */
  readonly digest?: string;
}

/** @throws when it is not `REPOSITORY` or `REPOSITORY@sha256:…` */
export function parseImage(text: string): Image {
  const [, repository, digest] =
    /^([^@\s]+\/[^@\s:]+)(?:@(sha256:[0-9a-f]{64}))?$/.exec(text) ?? [];
  if (repository === undefined) {
    throw new Error(`the image is "${text}"; write REGISTRY/NAME or REGISTRY/NAME@sha256:…`);
  }
  return digest === undefined ? { repository } : { repository, digest };
}

export interface Release {
  readonly root: string;
  /** The folder of the files; what was in it is deleted. */
  readonly out: string;
  readonly version: string;
  readonly image: Image;
  /** Whether to build `kubectl convercus` as executables, too: 150 MB each, for linux on amd64 and arm64. */
  readonly executable: boolean;
}

/**
 * Writes what a release has beside its image into the folder: chart, CRD, install.yaml, `kubectl convercus`, SBOM,
 * licenses, notes, and the checksums of all.
 * @returns the names of the files
 */
export async function buildAssets({
  root,
  out,
  version,
  image,
  executable,
}: Release): Promise<string[]> {
  await rm(out, { recursive: true, force: true });
  await mkdir(out, { recursive: true });
  await addBundle(out);
  for (const crd of await readdir(join(root, CRDS))) {
    await copyFile(join(root, CRDS, crd), join(out, crd));
  }
  await copyFile(join(root, 'LICENSE'), join(out, 'LICENSE'));
  const manifests = await readFile(join(root, 'deploy/install.yaml'), 'utf8');
  await writeFile(join(out, 'install.yaml'), withImage(manifests, version, image));
  await packageChart(join(root, CHART), out, image);
  if (executable) {
    await addExecutable(out, 'amd64', buildCliExecutable);
    await addExecutable(out, 'arm64', buildArm64Executable);
  }
  await writeFile(join(out, 'NOTES.md'), `${(await releaseNotes(root, version)) ?? ''}\n`);
  return writeChecksums(out);
}

/** The operator itself is in the image alone. */
async function addBundle(out: string): Promise<void> {
  const bundle = join(out, 'bundle');
  await bundleOperator(bundle);
  for (const file of ['kubectl-convercus.js', 'sbom.cdx.json', 'licenses.txt']) {
    await copyFile(join(bundle, file), join(out, file));
  }
  await rm(bundle, { recursive: true });
}

/** As deploy/krew/convercus.yaml expects it. */
async function addExecutable(
  out: string,
  architecture: string,
  build: (dir: string) => Promise<string>,
): Promise<void> {
  const dir = join(out, 'executable');
  await build(dir);
  const archive = join(out, `kubectl-convercus-linux-${architecture}.tar.gz`);
  const files = ['-C', dir, 'kubectl-convercus', '-C', out, 'LICENSE', 'licenses.txt'];
  await promisify(execFile)('tar', ['--create', '--gzip', '--file', archive, ...files]);
  await rm(dir, { recursive: true });
}

/** By its digest where there is one: a tag can be moved. */
function withImage(manifests: string, version: string, { repository, digest }: Image): string {
  const placeholder = `registry.invalid/convercus-operator:${version}`;
  const name = digest === undefined ? `${repository}:${version}` : `${repository}@${digest}`;
  const [before, after, ...more] = manifests.split(placeholder);
  if (after === undefined || more.length > 0) {
    throw new Error(`deploy/install.yaml has ${placeholder} not exactly once`);
  }
  return `${before}${name}${after}`;
}

/** The chart of a release names its image. */
async function packageChart(chart: string, out: string, image: Image): Promise<void> {
  const copy = join(out, basename(chart));
  await cp(chart, copy, { recursive: true });
  const values = join(copy, 'values.yaml');
  const filled = (await readFile(values, 'utf8'))
    .replace(/^ {2}repository: ""$/m, `  repository: ${image.repository}`)
    .replace(/^ {2}digest: ""$/m, `  digest: "${image.digest ?? ''}"`);
  await writeFile(values, filled);
  const helm = await ensureTool('helm', console.error);
  await promisify(execFile)(helm, ['package', copy, '--destination', out]);
  await rm(copy, { recursive: true });
}

/** In the form of `sha256sum`. */
async function writeChecksums(out: string): Promise<string[]> {
  const files = (await readdir(out)).filter((file) => file !== CHECKSUMS).sort();
  const lines = await Promise.all(
    files.map(async (file) => {
      const content = await readFile(join(out, file));
      return `${createHash('sha256').update(content).digest('hex')}  ${file}\n`;
    }),
  );
  await writeFile(join(out, CHECKSUMS), lines.join(''));
  return [...files, CHECKSUMS];
}
