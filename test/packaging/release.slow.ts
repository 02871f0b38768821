import { createHash } from 'node:crypto';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { ensureTool } from '../../dev/packaging/tools.ts';
import { parseImage } from '../../dev/release/assets.ts';
import { releaseNotes, versionProblems } from '../../dev/release/versions.ts';
import { BUILD_TIME, fromInput, helm, manifests, ROOT, run, the } from './render.ts';

const DIGEST = `sha256:${'a'.repeat(64)}`;
const REPOSITORY = 'registry.example.com/team/convercus-operator';

const { version } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8'));
let dir: string;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'release-'));
});

afterAll(() => rm(dir, { recursive: true }));

const release = (...args: string[]): Promise<string> =>
  run('node', [join(ROOT, 'dev/release/main.ts'), ...args]);

describe('the files of a release', () => {
  let out: string;
  const read = (file: string): Promise<string> => readFile(join(out, file), 'utf8');

  beforeAll(async () => {
    out = join(dir, 'files');
    await release('--dry-run', '--image', `${REPOSITORY}@${DIGEST}`, '--out', out);
  }, BUILD_TIME);

  it('are all in SHA256SUMS', async () => {
    const lines = (await read('SHA256SUMS')).trim().split('\n');
    const sums = new Map(lines.map((line) => [line.slice(66), line.slice(0, 64)]));
    expect([...sums.keys()]).toEqual([
      'LICENSE',
      'NOTES.md',
      `convercus-operator-${version}.tgz`,
      'convercus.io_clusterconvercuscredentials.yaml',
      'convercus.io_convercuscredentials.yaml',
      'install.yaml',
      'kubectl-convercus.js',
      'licenses.txt',
      'sbom.cdx.json',
    ]);
    for (const [file, sum] of sums) {
      const content = await readFile(join(out, file));
      expect([file, createHash('sha256').update(content).digest('hex')]).toEqual([file, sum]);
    }
  });

  it('name the image by its digest, in install.yaml and in the chart', async () => {
    const image = `${REPOSITORY}@${DIGEST}`;
    const chart = join(out, `convercus-operator-${version}.tgz`);
    const rendered = await run(await ensureTool('helm'), ['template', 'operator', chart]);
    for (const text of [await read('install.yaml'), rendered]) {
      const [container] = the('Deployment', manifests(text))['spec'].template.spec.containers;
      expect(container.image).toBe(image);
    }
    expect(await read('install.yaml')).not.toContain('registry.invalid');
  });

  it('let an image of the user win over that of the release', async () => {
    const chart = join(out, `convercus-operator-${version}.tgz`);
    const values = { image: { repository: 'mirror.example.com/operator', digest: '', tag: 'one' } };
    const rendered = await helm(['template', 'operator', chart, ...fromInput], values);
    const [container] = the('Deployment', manifests(rendered))['spec'].template.spec.containers;
    expect(container.image).toBe('mirror.example.com/operator:one');
  });

  it('have the CRDs of the checkout, the SBOM of this version, and notes', async () => {
    for (const crd of await readdir(join(ROOT, 'crds'))) {
      expect(await read(crd)).toBe(await readFile(join(ROOT, 'crds', crd), 'utf8'));
    }
    expect(JSON.parse(await read('sbom.cdx.json')).metadata.component.version).toBe(version);
    expect((await read('NOTES.md')).trim()).toBe(await releaseNotes(ROOT, version));
  });
});

describe('npm run release', () => {
  it('needs the digest of an image that was pushed', async () => {
    await expect(release('--out', join(dir, 'none'))).rejects.toThrow('--dry-run does without');
  });

  it('refuses the tag of another version, and says which it has to be', async () => {
    const refused = release('--dry-run', '--tag', 'v9.9.9', '--out', join(dir, 'none'));
    await expect(refused).rejects.toThrow(`the tag has to be v${version}`);
  });

  it.each(['convercus-operator', 'a/b:1', 'a/b@sha256:1', ''])('refuses the image "%s"', (text) => {
    expect(() => parseImage(text)).toThrow('write REGISTRY/NAME or REGISTRY/NAME@sha256:…');
  });
});

describe('the version', () => {
  it('is the same everywhere', async () => {
    expect(await versionProblems(ROOT, `v${version}`)).toEqual([]);
  });

  it.each([
    'package-lock.json',
    'charts/convercus-operator/Chart.yaml',
    'deploy/base/kustomization.yaml',
    'deploy/install.yaml',
    'Dockerfile',
    'CHANGELOG.md',
  ])('is asked for in %s', async (file) => {
    const copy = await mkdtemp(join(dir, 'checkout-'));
    for (const each of VERSIONED) {
      await mkdir(dirname(join(copy, each)), { recursive: true });
      await cp(join(ROOT, each), join(copy, each));
    }
    const text = await readFile(join(copy, file), 'utf8');
    await writeFile(join(copy, file), text.replaceAll(version, '9.9.9'));
    const problems = await versionProblems(copy);
    expect(problems.length).toBeGreaterThan(0);
    expect(problems.every((problem) => problem.startsWith(file))).toBe(true);
  });
});

const VERSIONED = [
  'package.json',
  'package-lock.json',
  'charts/convercus-operator/Chart.yaml',
  'deploy/base/kustomization.yaml',
  'deploy/install.yaml',
  'Dockerfile',
  'CHANGELOG.md',
];
