import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { buildAssets, parseImage } from './assets.ts';
import { versionProblems } from './versions.ts';

/**
 * `npm run release -- --dry-run`: all of a release that needs no registry: checks the version, builds the files into
 * dist/release, and prints what the workflow would push and sign. Without --dry-run the image has to be named by the
 * digest that was pushed, as .github/workflows/release.yaml does it. Nothing is uploaded here.
 */

const ROOT = join(import.meta.dirname, '../..');

const { values } = parseArgs({
  options: {
    'dry-run': { type: 'boolean', default: false },
    image: { type: 'string', default: 'registry.invalid/convercus-operator' },
    executable: { type: 'boolean', default: false },
    tag: { type: 'string' },
    out: { type: 'string', default: join(ROOT, 'dist/release') },
  },
});

async function release(): Promise<number> {
  const problems = await versionProblems(ROOT, values.tag);
  const image = parseImage(values.image);
  if (!values['dry-run'] && image.digest === undefined) {
    problems.push('--image REGISTRY/NAME@sha256:… is missing; --dry-run does without');
  }
  if (problems.length > 0) {
    console.error(problems.join('\n'));
    return 1;
  }
  const { version } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8'));
  const out = resolve(values.out);
  const files = await buildAssets({
    root: ROOT,
    out,
    version,
    image,
    executable: values.executable,
  });
  console.log([`convercus-operator ${version} in ${out}:`, ...files.map(indented)].join('\n'));
  if (values['dry-run']) console.log(toPublish(version, image.repository));
  return 0;
}

const indented = (line: string): string => `  ${line}`;

const toPublish = (version: string, repository: string): string => `
A release would also push, sign without a key (cosign, GitHub's OIDC) and attest:
  ${repository}:${version}           linux/amd64 and linux/arm64, with SBOM and provenance
  oci://${repository.replace(/\/[^/]+$/, '')}/charts/convercus-operator:${version}
  SHA256SUMS                         which covers all files above
docs/releases.md says how each is verified.`;

process.exitCode = await release();
