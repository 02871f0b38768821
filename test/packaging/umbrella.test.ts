import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { stringify } from 'yaml';
import { ensureTool } from '../../dev/packaging/tools.ts';
import { BUILD_TIME, CHART, helm, type Manifest, manifests, run, the } from './render.ts';

let umbrella: string;

beforeAll(async () => {
  await helm(['version']);
  umbrella = await mkdtemp(join(tmpdir(), 'umbrella-'));
  await cp(CHART, join(umbrella, 'charts/convercus-operator'), { recursive: true });
  const dependency = {
    name: 'convercus-operator',
    version: '*',
    condition: 'convercus-operator.enabled',
  };
  const chart = { apiVersion: 'v2', name: 'platform', version: '1.0.0' };
  await writeFile(
    join(umbrella, 'Chart.yaml'),
    stringify({ ...chart, dependencies: [dependency] }),
  );
}, BUILD_TIME);

afterAll(async () => {
  if (umbrella !== undefined) await rm(umbrella, { recursive: true, force: true });
});

async function render(enabled: boolean): Promise<Manifest[]> {
  const values = {
    global: { imageRegistry: 'mirror.example.com', imagePullSecrets: ['mirror'] },
    'convercus-operator': { enabled, image: { repository: 'platform/operator', tag: '1' } },
  };
  const helmPath = await ensureTool('helm', console.log);
  const args = ['template', 'platform', umbrella, '--values', '-'];
  return manifests(await run(helmPath, args, JSON.stringify(values)));
}

describe('a chart that brings this one along', () => {
  it('gives it a registry and its pull Secrets', async () => {
    const { spec } = the('Deployment', await render(true))['spec'].template;
    expect(spec.containers[0].image).toBe('mirror.example.com/platform/operator:1');
    expect(spec.imagePullSecrets).toEqual([{ name: 'mirror' }]);
  });

  it('can leave it out', async () => {
    expect(await render(false)).toEqual([]);
  });
});

interface Schema {
  readonly description?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
}

describe('values.schema.json', () => {
  it('describes every value, or the values in it', async () => {
    const schema = JSON.parse(await readFile(join(CHART, 'values.schema.json'), 'utf8'));
    expect(undescribed(schema, '')).toEqual([]);
  });
});

/** Values without a description of their own, of a value around them or of one in them. */
function undescribed({ properties = {} }: Schema, prefix: string): string[] {
  return Object.entries(properties).flatMap(([key, schema]) => {
    const path = `${prefix}${key}`;
    if (schema.description !== undefined) return [];
    return schema.properties === undefined ? [path] : undescribed(schema, `${path}.`);
  });
}
