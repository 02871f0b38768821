import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { StandInApi } from '../cluster/stand-in-api.ts';
import { ROOT } from '../packaging/render.ts';
import { ClientProcess } from './client-process.ts';
import { TokenFile } from './token-file.ts';

/** The clients of examples/clients, against an API whose tokens expire. */

const FOLDER = join(ROOT, 'examples/clients');
const source = (file: string): string => join(FOLDER, file);

interface Language {
  readonly name: string;
  readonly file: string;
  /** The first is looked for in PATH. */
  readonly command: readonly string[];
}

const LANGUAGES: readonly Language[] = [
  { name: 'Node', file: 'client.mjs', command: ['node'] },
  { name: 'Python', file: 'client.py', command: ['python3'] },
  { name: 'Java', file: 'Client.java', command: ['java'] },
  { name: 'Go', file: 'client.go', command: ['go'] },
  { name: 'PHP', file: 'client.php', command: ['php'] },
];

const isInstalled = (program: string): boolean =>
  (process.env['PATH'] ?? '').split(delimiter).some((folder) => {
    try {
      return readdirSync(folder).includes(program);
    } catch {
      return false;
    }
  });

/** Milliseconds: longer than a test. */
const LONG = 3_600_000;
const EXPIRED = -1;
const ROUNDS = 20;

const lines: string[] = [];

afterAll(() => console.log(lines.join('\n')));

describe.each(LANGUAGES)(
  'the client in $name',
  ({ name, file, command: [program = '', ...args] }) => {
    const test = isInstalled(program) ? it : it.skip;
    const tokenFile = new TokenFile();
    let onExpired = (): void => {};
    const api = new StandInApi(() => onExpired());
    let client: ClientProcess;
    const counts = { calls: 0, survived: 0 };
    let dir: string;

    beforeAll(async () => {
      dir = await mkdtemp(join(tmpdir(), 'client-'));
      if (!isInstalled(program)) return;
      await api.listen('127.0.0.1');
      const env = { API_URL: api.url, TOKEN_FILE: tokenFile.path };
      if (name === 'Go') {
        await promisify(execFile)('go', ['build', '-o', join(dir, 'client'), source(file)]);
        client = new ClientProcess(join(dir, 'client'), [], env);
      } else {
        client = new ClientProcess(program, [...args, source(file)], env);
      }
    });

    afterAll(async () => {
      await client?.stop();
      api.close();
      tokenFile[Symbol.dispose]();
      await rm(dir, { recursive: true });
      const { accepted, expired } = api.calls('calls');
      const seen = `${counts.calls} calls, ${accepted + expired} requests, ${expired} times 401, ${counts.survived} survived`;
      lines.push(isInstalled(program) ? `${name}: ${seen}` : `${name}: no ${program} in PATH`);
    });

    async function call(): Promise<number> {
      const before = api.calls('calls').expired;
      const status = await client.call();
      counts.calls += 1;
      if (status === 200 && api.calls('calls').expired > before) counts.survived += 1;
      return status;
    }

    it('has at most 25 lines of code without its imports', () => {
      const code = readFileSync(source(file), 'utf8').replace(/^import \([^)]*\)$/m, '');
      const rest = code.split('\n').filter((line) => !/^\s*$|^(import|from|package) /.test(line));
      expect(rest.length).toBeLessThanOrEqual(25);
    });

    test('reads the file for each request', async () => {
      for (let round = 0; round < ROUNDS; round += 1) {
        tokenFile.replace(LONG);
        expect(await call()).toBe(200);
      }
      expect(api.firstSeen.size).toBe(ROUNDS);
      expect(api.calls('calls')).toEqual({ accepted: ROUNDS, expired: 0, other: 0 });
    });

    test('survives a 401 when the file is replaced before it', async () => {
      onExpired = () => tokenFile.replace(LONG);
      for (let round = 0; round < ROUNDS; round += 1) {
        tokenFile.replace(EXPIRED);
        expect(await call()).toBe(200);
      }
      expect(api.calls('calls')).toEqual({ accepted: 2 * ROUNDS, expired: ROUNDS, other: 0 });
    });

    test('repeats a request once, no more', async () => {
      onExpired = () => {};
      tokenFile.replace(EXPIRED);
      expect(await call()).toBe(401);
      expect(api.calls('calls')).toEqual({ accepted: 2 * ROUNDS, expired: ROUNDS + 2, other: 0 });
    });

    test('goes on when the next token is there', async () => {
      tokenFile.replace(LONG);
      expect(await call()).toBe(200);
    });
  },
);
