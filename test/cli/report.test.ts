import { access, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import {
  type Answer,
  type Asked,
  startScriptedApiServer,
} from '../kubernetes/scripted-api-server.ts';
import { Person } from './person.ts';

const mapOf = (name: string, namespace: string) => ({
  metadata: { name },
  data: { 'config.yaml': `watch: { namespaces: [${namespace}] }` },
});
const podOf = (name: string, configMap: string) => ({
  metadata: { name },
  spec: { containers: [], volumes: [{ configMap: { name: configMap } }] },
});

describe('kubectl convercus report', () => {
  let dir: string;
  let directory: string;
  let pods: object[];

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'cli-report-'));
    directory = join(dir, 'report');
    pods = [podOf('replica-1', 'config-new')];
  });

  afterEach(() => rm(dir, { recursive: true }));

  function answer({ path }: Asked): Answer {
    if (path.endsWith('/log')) return (response) => void response.end('{"message":"Starting"}\n');
    if (path.endsWith('/pods')) return { body: { items: pods } };
    if (path.endsWith('/configmaps')) {
      const maps = [mapOf('config-old', 'former'), mapOf('config-new', 'shop'), mapOf('two', 'b')];
      return { body: { items: maps } };
    }
    return { body: { items: [] } };
  }

  const report = (kubeconfig: string, signal?: AbortSignal) =>
    new Person({ kubeconfig, namespace: 'shop', ...(signal && { signal }) }).cli(
      'report',
      '--directory',
      directory,
    );

  it.each([
    [['config-new'], 'watch: { namespaces: [shop] }\n'],
    [['config-new', 'two'], 'watch: { namespaces: [shop] }\n---\nwatch: { namespaces: [b] }\n'],
  ])('holds the configuration that pods of the operator mount: %j', async (mounted, text) => {
    pods = mounted.map((name) => podOf(`replica-${name}`, name));
    await using server = await startScriptedApiServer(answer);
    expect((await report(server.kubeconfigPath)).code).toBe(0);
    expect(await readFile(join(directory, 'operator-config.yaml'), 'utf8')).toBe(text);
  });

  it('is not written after Ctrl-C while a log is read', async () => {
    const stop = new AbortController();
    await using server = await startScriptedApiServer((asked) =>
      asked.path.endsWith('/log') ? () => stop.abort() : answer(asked),
    );
    const { code, out } = await report(server.kubeconfigPath, stop.signal);
    expect([code, out]).toEqual([130, '']);
    await expect(access(directory)).rejects.toMatchObject({ code: 'ENOENT' });
  });
});
