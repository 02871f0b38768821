import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { Person } from './person.ts';

describe('kubectl convercus with a kubeconfig that can not be read', () => {
  it.each([[[]], [['--context', 'shop']]])('says so, with the flags %j', async (flags) => {
    const person = new Person({ kubeconfig: '/nowhere/kubeconfig' });
    const { code, err } = await person.cli('list', ...flags);
    expect(code).toBe(3);
    expect(err).toContain("The kubeconfig /nowhere/kubeconfig can't be read (ENOENT)");
  });
});

/** Nothing listens on these ports; the sentence that says so names the server which was chosen. */
const PORTS = { one: 1, two: 2, three: 3 };

interface FileOptions {
  readonly cluster?: string;
  readonly port?: number;
  readonly current?: string;
  readonly missing?: boolean;
  readonly insecure?: boolean;
}

describe('kubectl convercus', () => {
  let dir: string;
  const before = process.env['KUBECONFIG'];

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'kubeconfig-'));
    await file('one', { port: PORTS.one });
    await file('two', {});
    await file('again', { cluster: 'one', port: PORTS.three });
    await file('none', { current: '' });
    await file('broken', { cluster: 'two', missing: true });
    await file('plain', { cluster: 'two', insecure: false });
  });

  afterEach(() => {
    if (before === undefined) delete process.env['KUBECONFIG'];
    else process.env['KUBECONFIG'] = before;
  });

  afterAll(() => rm(dir, { recursive: true }));

  /** Cluster, user and context have one name. */
  async function file(
    name: string,
    { cluster = name, port = PORTS.two, ...rest }: FileOptions,
  ): Promise<void> {
    const { current = cluster, missing = false, insecure = true } = rest;
    const server = `http://127.0.0.1:${port}`;
    const clusters = [{ name: cluster, cluster: { server, 'insecure-skip-tls-verify': insecure } }];
    const config = {
      clusters: missing ? [] : clusters,
      users: [{ name: cluster, user: {} }],
      contexts: [{ name: cluster, context: { cluster, user: cluster } }],
      'current-context': current,
    };
    await writeFile(join(dir, name), JSON.stringify(config));
  }

  const listWith = (files: readonly string[], ...flags: string[]) => {
    process.env['KUBECONFIG'] = files.map((name) => join(dir, name)).join(delimiter);
    return new Person({}).cli('list', ...flags);
  };

  it.each([
    ['the current context of the first file', ['one', 'two'], PORTS.one],
    ['that of the second, when the first has none', ['none', 'one'], PORTS.one],
    ['what is there, when a file is not', ['nowhere', 'two'], PORTS.two],
    ['the first of two entries of one name', ['one', 'again'], PORTS.one],
  ])('uses %s, as kubectl', async (_, files, port) => {
    const { code, err } = await listWith(files);
    const text = `The API server http://127.0.0.1:${port} can't be reached`;
    expect([code, err]).toEqual([3, expect.stringContaining(text)]);
  });

  it('tells that none of the files is there', async () => {
    const { code, err } = await listWith(['nowhere', 'elsewhere']);
    expect([code, err]).toEqual([3, expect.stringContaining("can't be read (ENOENT)")]);
  });

  it.each([
    ['broken', 'has no cluster "two", which its context "two" names; choose another context'],
    ['plain', 'names a server with http, which is used only with insecure-skip-tls-verify: true'],
  ])('tells what is wrong with a context that is asked for: %s', async (name, text) => {
    const { code, err } = await listWith(['one', name], '--context', 'two');
    expect([code, err]).toEqual([3, expect.stringContaining(text)]);
  });
});
