import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { ROOT } from './render.ts';

interface Component {
  readonly 'bom-ref': string;
  readonly hashes: readonly { readonly alg: string; readonly content: string }[];
  readonly licenses: readonly object[];
}

interface Sbom {
  readonly metadata: { readonly component: Component };
  readonly components: readonly Component[];
  readonly dependencies: readonly { readonly ref: string; readonly dependsOn: string[] }[];
}

let dir: string;
let sbom: Sbom;
let licenses: string;
let code: string;

const bundle = (): Promise<unknown> =>
  promisify(execFile)(process.execPath, [join(ROOT, 'dev/bundle.ts'), dir]);
const read = (name: string): Promise<string> => readFile(join(dir, name), 'utf8');

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'bundle-'));
  await bundle();
  sbom = JSON.parse(await read('sbom.cdx.json'));
  licenses = await read('licenses.txt');
  code = await read('main.js');
});

afterAll(() => rm(dir, { recursive: true, force: true }));

describe('the SBOM in the image', () => {
  it('lists what is in the bundle and nothing that only builds or tests it', () => {
    const names = sbom.components.map((each) => each['bom-ref']);
    expect(names).toEqual(expect.arrayContaining([expect.stringMatching(/^pkg:npm\/undici@8\./)]));
    expect(names.join()).not.toMatch(/esbuild|jest|typescript|fast-check/);
    expect(code.length).toBeGreaterThan(100_000);
  });

  it('has a sha512 and a license for every package', () => {
    const incomplete = sbom.components.filter(
      ({ hashes: [hash], licenses }) =>
        hash?.alg !== 'SHA-512' || !/^[0-9a-f]{128}$/.test(hash.content) || licenses.length !== 1,
    );
    expect(incomplete).toEqual([]);
  });

  it('reaches every package from the operator, and names no other', () => {
    const known = new Set(sbom.components.map((each) => each['bom-ref']));
    const imports = new Map(sbom.dependencies.map(({ ref, dependsOn }) => [ref, dependsOn]));
    const reached = new Set<string>();
    const visit = (ref: string): void => {
      for (const next of imports.get(ref) ?? []) {
        if (reached.has(next)) continue;
        reached.add(next);
        visit(next);
      }
    };
    visit(sbom.metadata.component['bom-ref']);
    expect(reached).toEqual(known);
  });

  it('is the same for the same sources', async () => {
    const before = await read('sbom.cdx.json');
    await bundle();
    expect(await read('sbom.cdx.json')).toBe(before);
  });
});

describe('the licenses in the image', () => {
  it('are there in full for every package of the SBOM', () => {
    const sections = licenses.split(/^== /m).slice(1);
    const lengths = new Map(
      sections.map((section) => {
        const [title = '', ...lines] = section.split('\n');
        const [name, version] = title.split(' ');
        return [`${name}@${version}`, lines.join('\n').trim().length];
      }),
    );
    const references = sbom.components.map((each) => each['bom-ref']);
    const names = references.map((each) => each.slice('pkg:npm/'.length).replace('%40', '@'));
    expect(new Set(lengths.keys())).toEqual(new Set(names));
    // The shortest, ISC, has 700 characters
    expect([...lengths].filter(([, length]) => length < 500)).toEqual([]);
  });
});
