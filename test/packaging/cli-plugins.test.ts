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
      .replaceAll(
        /\{\{addURIAndSha "([^"]+)" \.TagName }}/g,
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
    expect(spec.platforms).toEqual(
      ['amd64', 'arm64'].map((arch) =>
        expect.objectContaining({
          selector: { matchLabels: { os: 'linux', arch } },
          bin: 'kubectl-convercus',
          uri: `https://github.com/OWNER/convercus-operator/releases/download/v0.1.0/kubectl-convercus-linux-${arch}.tar.gz`,
        }),
      ),
    );
  });
});

interface K9sPlugin {
  readonly shortCut: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly scopes: readonly string[];
  readonly dangerous?: boolean;
}

describe('the plugins for k9s', () => {
  let plugins: Record<string, K9sPlugin>;

  beforeAll(async () => {
    ({ plugins } = parse(await fileIn('deploy/k9s/plugins.yaml')));
  });

  const verbOf = ({ args }: K9sPlugin): string =>
    /\bconvercus (\w+)/.exec(['kubectl', ...args].join(' '))?.[1] ?? '';

  it('run commands that exist, on the object that is chosen', async () => {
    for (const plugin of Object.values(plugins)) {
      const verb = verbOf(plugin);
      expect([verb, (await new Person({}).cli(verb, '--help')).code]).toEqual([verb, 0]);
      const isOfCluster = plugin.scopes.includes('clusterconvercuscredentials');
      expect(plugin.args.join(' ')).toMatch(
        isOfCluster
          ? / "?cconvcred\/\$NAME"? --context "?\$CONTEXT/
          : / "?\$NAME"? -n "?\$NAMESPACE"? --context "?\$CONTEXT/,
      );
    }
  });

  it('are the same for both kinds, with a key each', () => {
    for (const scope of ['convercuscredentials', 'clusterconvercuscredentials']) {
      const found = Object.values(plugins).filter(({ scopes }) => scopes.includes(scope));
      const keys = found.map((plugin) => `${plugin.shortCut} ${verbOf(plugin)}`);
      expect([scope, keys]).toEqual([
        scope,
        ['Shift-I status', 'Shift-D doctor', 'Shift-R renew', 'Shift-S suspend', 'Shift-U resume'],
      ]);
    }
  });

  it('are hidden in the read-only mode of k9s if they change something', () => {
    for (const plugin of Object.values(plugins)) {
      const changes = /^(renew|suspend|resume)$/.test(verbOf(plugin));
      expect([verbOf(plugin), plugin.dangerous === true]).toEqual([verbOf(plugin), changes]);
    }
  });
});
