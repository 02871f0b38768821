import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { kubeconfigProblem, skipsTlsVerify } from '../../src/kubernetes/kubeconfig.ts';
import { selfSigned } from '../oauth/self-signed.ts';

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

  it.each([
    ['without a user', {}, undefined],
    ['with a command', { user: { exec: { command: 'login' } } }, 'logs in by a command'],
  ])('%s, in a process that may start none', async (_, user, problem) => {
    const path = join(dir, 'kubeconfig');
    const content = JSON.parse(kubeconfig());
    await writeFile(path, JSON.stringify({ ...content, users: [{ name: 'u', ...user }] }));
    const found = kubeconfigProblem(path, false);
    if (problem === undefined) expect(found).toBeUndefined();
    else expect(found).toContain(problem);
  });

  const tls = (cluster: object, user: object): string => {
    const parsed = JSON.parse(kubeconfig(cluster));
    parsed.users[0].user = user;
    return JSON.stringify(parsed);
  };
  const base64 = (text: string): string => Buffer.from(text).toString('base64');
  const [own, other] = [selfSigned(), selfSigned()];

  async function problemWith(content: string): Promise<string | undefined> {
    const path = join(dir, 'kubeconfig');
    await writeFile(path, content);
    return kubeconfigProblem(path)?.replace(`The kubeconfig ${path} `, '');
  }

  it('may hold certificates and a key, or name their files', async () => {
    const ca = { 'certificate-authority-data': base64(`# ours\n${own.cert}${other.cert}`) };
    const data = {
      'client-certificate-data': base64(own.cert),
      'client-key-data': base64(own.key),
    };
    expect(await problemWith(tls(ca, data))).toBeUndefined();
    for (const [name, text] of Object.entries(own)) await writeFile(join(dir, name), text);
    const caFile = { 'certificate-authority': join(dir, 'cert') };
    const files = { 'client-certificate': join(dir, 'cert'), 'client-key': join(dir, 'key') };
    expect(await problemWith(tls(caFile, files))).toBeUndefined();
  });

  it('whose key is that of another certificate gets a word on it', async () => {
    const user = {
      'client-certificate-data': base64(own.cert),
      'client-key-data': base64(other.key),
    };
    const text = 'has a client-key that is not the one of its client-certificate';
    expect(await problemWith(tls({}, user))).toBe(text);
  });

  it.each([
    ['certificate-authority', 'certificate', 'cluster'],
    ['client-certificate', 'certificate', 'user'],
    ['client-key', 'private key', 'user'],
  ])(
    'with a %s that is none gets a word on it, which quotes nothing',
    async (name, what, where) => {
      const withEntry = (key: string, value: string): string =>
        where === 'user' ? tls({}, { [key]: value }) : tls({ [key]: value }, {});
      const words = fc.oneof(
        fc.uint8Array({ minLength: 1, maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
        fc
          .constantFrom('CERTIFICATE', 'PRIVATE KEY', 'EC PRIVATE KEY')
          .map((label) =>
            Buffer.from(`-----BEGIN ${label}-----\n${base64(SECRET)}\n-----END ${label}-----\n`),
          ),
        fc.constant(Buffer.from(SECRET)),
      );
      const path = join(dir, 'pem');
      await fc.assert(
        fc.asyncProperty(words, async (bytes) => {
          const problem = `has a ${name} that is no ${what} in PEM`;
          expect(await problemWith(withEntry(`${name}-data`, bytes.toString('base64')))).toBe(
            problem,
          );
          await writeFile(path, bytes);
          expect(await problemWith(withEntry(name, path))).toBe(problem);
        }),
      );
      await rm(path);
      expect(await problemWith(withEntry(name, path))).toBe(
        `names a ${name} that can't be read (ENOENT)`,
      );
    },
  );

  it.each([
    [true, { 'insecure-skip-tls-verify': true }],
    [false, {}],
  ])('says whether the certificate of the server is verified: %s', async (isSkipped, cluster) => {
    const path = join(dir, 'kubeconfig');
    await writeFile(path, kubeconfig(cluster));
    expect(skipsTlsVerify(path)).toBe(isSkipped);
  });

  it('that can not be read is named with the code', () => {
    const problemOf = (path: string, code: string) =>
      `The kubeconfig ${path} can't be read (${code}); ${ELSEWHERE}`;
    expect(kubeconfigProblem(dir)).toBe(problemOf(dir, 'EISDIR'));
    const missing = join(dir, 'missing');
    expect(kubeconfigProblem(missing)).toBe(problemOf(missing, 'ENOENT'));
  });
});
