import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { parseAllDocuments } from 'yaml';
import type { Release } from '../../dev/testbed/operator.ts';

export interface UnpackedRelease extends Release {
  remove(): Promise<void>;
}

/** An earlier release from its folder here, laid out as in its image. */
export async function unpackRelease(version: string): Promise<UnpackedRelease> {
  const from = join(import.meta.dirname, version);
  const dir = await mkdtemp(join(tmpdir(), 'convercus-release-'));
  const entry = join(dir, 'bundle', 'main.js');
  await mkdir(join(dir, 'bundle'));
  await writeFile(entry, gunzipSync(await readFile(join(from, 'main.js.gz'))));
  await writeFile(join(dir, 'package.json'), JSON.stringify({ version, type: 'module' }));
  const chart = parseAllDocuments(await readFile(join(from, 'chart.yaml'), 'utf8'));
  return {
    crd: join(from, 'crd.yaml'),
    permissions: chart
      .map((document) => document.toJS())
      .filter((object) => /^(Cluster)?Role(Binding)?$/.test(object?.kind)),
    entry,
    remove: () => rm(dir, { recursive: true, force: true }),
  };
}
