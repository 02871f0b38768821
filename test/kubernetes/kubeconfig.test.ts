import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { kubeconfigProblem } from '../../src/kubernetes/kubeconfig.ts';

const SECRET = 'CaNaRy-secret';
const ELSEWHERE = 'write the path of another to --kubeconfig or KUBECONFIG';

const kubeconfig = (cluster: object = {}, current = 'x'): string =>
  JSON.stringify({
    clusters: [{ name: 'c', cluster: { server: 'https://127.0.0.1:6443', ...cluster } }],
    users: [{ name: 'u', user: { token: SECRET } }],
    contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
    'current-context': current,
  });

describe('a kubeconfig', () => {
  let dir: string;

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'kubeconfig-'));
  });

  afterAll(() => rm(dir, { recursive: true }));

  it.each<[string, string, string | undefined]>([
    ['that names a server', kubeconfig(), undefined],
    ['that is no YAML', `{token: ${SECRET}`, `is no kubeconfig in YAML; ${ELSEWHERE}`],
    ['that is empty', '', `is no kubeconfig in YAML; ${ELSEWHERE}`],
    [
      'without a current context',
      kubeconfig({}, ''),
      'names no current cluster; choose one with kubectl config use-context',
    ],
    [
      'whose context is not there',
      kubeconfig({}, 'y'),
      'names no current cluster; choose one with kubectl config use-context',
    ],
    [
      'whose server is no URL',
      kubeconfig({ server: '127.0.0.1:6443' }),
      'names a server that is no URL with http or https',
    ],
    [
      'whose proxy-url is no URL that can be used',
      kubeconfig({ 'proxy-url': 'socks5://127.0.0.1:1' }),
      'names a proxy-url that is no URL with http or https',
    ],
    [
      'whose server speaks plain HTTP, which is not allowed',
      kubeconfig({ server: 'http://127.0.0.1:8080' }),
      'names a server with http, which is used only with insecure-skip-tls-verify: true',
    ],
    [
      'whose server speaks plain HTTP, which is allowed',
      kubeconfig({ server: 'http://127.0.0.1:8080', 'insecure-skip-tls-verify': true }),
      undefined,
    ],
  ])('%s gets a word on what to do, or none', async (_, content, problem) => {
    const path = join(dir, 'kubeconfig');
    await writeFile(path, content);
    expect(kubeconfigProblem(path)).toBe(problem && `The kubeconfig ${path} ${problem}`);
  });

  it('that can not be read is named with the code', () => {
    const problemOf = (path: string, code: string) =>
      `The kubeconfig ${path} can't be read (${code}); ${ELSEWHERE}`;
    expect(kubeconfigProblem(dir)).toBe(problemOf(dir, 'EISDIR'));
    const missing = join(dir, 'missing');
    expect(kubeconfigProblem(missing)).toBe(problemOf(missing, 'ENOENT'));
  });
});
