import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from '@jest/globals';
import { parse } from 'yaml';
import { ensureTool } from '../../dev/packaging/tools.ts';
import { Person } from '../cli/person.ts';
import { BUILD_TIME, ROOT } from './render.ts';

const run = promisify(execFile);

const fileIn = (path: string): Promise<string> => readFile(join(ROOT, path), 'utf8');

describe('the krew manifest', () => {
  let validator: string;

  beforeAll(async () => {
    validator = await ensureTool('validate-krew-manifest');
  }, BUILD_TIME);

  it('is one by the rules of krew-index when it is filled in', async () => {
    const text = await fileIn('deploy/krew/convercus.yaml');
    const filled = text
      .replaceAll('{{ .TagName }}', 'v0.1.0')
      .replace(
        /\{\{addURIAndSha "([^"]+)" \.TagName }}/,
        `uri: $1\n      sha256: ${'a'.repeat(64)}`,
      );
    const dir = await mkdtemp(join(tmpdir(), 'krew-'));
    const file = join(dir, 'convercus.yaml');
    await writeFile(file, filled);
    const args = ['-manifest', file, '-skip-install'];
    const { stderr } = await run(validator, args);
    await rm(dir, { recursive: true });
    expect(stderr).toContain('structural validation OK');
    expect(stderr).not.toContain('exceeds');
    const { metadata, spec } = parse(filled);
    expect(spec.shortDescription.length).toBeLessThanOrEqual(50);
    expect(`${spec.shortDescription} ${metadata.name}`).not.toMatch(/kubectl|plugin/i);
    expect(spec.platforms).toEqual([
      expect.objectContaining({
        bin: 'kubectl-convercus',
        uri: expect.stringMatching(/^https:\S+v0\.1\.0\/kubectl-convercus-linux-amd64\.tar\.gz$/),
      }),
    ]);
  });
});

describe('the plugins for k9s', () => {
  it('run commands that exist, on the object that is chosen', async () => {
    const { plugins } = parse(await fileIn('deploy/k9s/plugins.yaml'));
    const lines = Object.values<{ command: string; args: string[]; scopes: string[] }>(plugins).map(
      ({ command, args }) => [command, ...args].join(' '),
    );
    expect(lines.length).toBeGreaterThan(3);
    for (const line of lines) {
      const name = /\bconvercus (\w+)/.exec(line)?.[1] ?? '';
      expect([name, (await new Person({}).cli(name, '--help')).code]).toEqual([name, 0]);
      expect(line).toMatch(/\$NAME"? -n "?\$NAMESPACE"? --context "?\$CONTEXT/);
    }
  });

  it('are hidden in the read-only mode of k9s if they change something', async () => {
    const { plugins } = parse(await fileIn('deploy/k9s/plugins.yaml'));
    const dangerous = Object.entries<{ dangerous?: boolean }>(plugins)
      .filter(([, plugin]) => plugin.dangerous === true)
      .map(([name]) => name);
    const changing = ['renew', 'suspend', 'resume'].map((verb) => `convercus-${verb}`);
    expect(dangerous).toEqual(changing);
  });

  it('have a key each', async () => {
    const { plugins } = parse(await fileIn('deploy/k9s/plugins.yaml'));
    const keys = Object.values<{ shortCut: string }>(plugins).map(({ shortCut }) => shortCut);
    expect(new Set(keys).size).toBe(keys.length);
  });
});
