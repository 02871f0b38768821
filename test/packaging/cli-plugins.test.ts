import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { parse } from 'yaml';
import { Person } from '../cli/person.ts';
import { ROOT } from './render.ts';

const fileIn = (path: string): Promise<string> => readFile(join(ROOT, path), 'utf8');

describe('the krew manifest', () => {
  it('is one by the rules of krew-index when it is filled in', async () => {
    const text = await fileIn('deploy/krew/convercus.yaml');
    const filled = text
      .replaceAll('{{ .TagName }}', 'v0.1.0')
      .replace(
        /\{\{addURIAndSha "([^"]+)" \.TagName }}/,
        `uri: $1\n      sha256: ${'0'.repeat(64)}`,
      );
    const { metadata, spec } = parse(filled);
    expect(metadata.name).toBe('convercus');
    expect(spec.version).toBe('v0.1.0');
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

  it('have a key each', async () => {
    const { plugins } = parse(await fileIn('deploy/k9s/plugins.yaml'));
    const keys = Object.values<{ shortCut: string }>(plugins).map(({ shortCut }) => shortCut);
    expect(new Set(keys).size).toBe(keys.length);
  });
});
