import { beforeAll, describe, expect, it } from '@jest/globals';
import { parse } from 'yaml';
import {
  BUILD_TIME,
  helm,
  type Manifest,
  renderChart,
  renderOverlay,
  type Values,
} from './render.ts';

beforeAll(async () => void (await helm(['version'])), BUILD_TIME);

const SAME: readonly [overlay: string, values: Values][] = [
  ['cluster', {}],
  ['cluster-credentials', { clusterCredentials: { enabled: true } }],
  ['namespaces', { watch: { namespaces: ['shop'] } }],
];

describe('the overlay', () => {
  it.each(SAME)('%s renders what the chart renders', async (overlay, values) => {
    const rendered = comparable(await renderOverlay(overlay));
    expect(rendered).toEqual(comparable(await renderChart(values)));
    expect(Object.keys(rendered).length).toBeGreaterThan(8);
  });

  it('cluster is not what the chart renders for other values', async () => {
    const rendered = comparable(await renderOverlay('cluster'));
    expect(rendered).not.toEqual(comparable(await renderChart({ workers: 17 })));
    expect(rendered).not.toEqual(comparable(await renderChart({ replicaCount: 3 })));
  });
});

/** Needed by one tool only: hooks, the Namespace (`helm --create-namespace`), the restart for a new configuration. */
function comparable(objects: readonly Manifest[]): Record<string, unknown> {
  const config = objects.find(({ kind }) => kind === 'ConfigMap')?.metadata.name ?? '';
  const shared = objects.filter(
    ({ kind, metadata }) =>
      kind !== 'Namespace' && metadata.annotations?.['helm.sh/hook'] === undefined,
  );
  return Object.fromEntries(
    shared.map((object) => {
      const text = JSON.stringify(object).replaceAll(`"${config}"`, '"convercus-operator-config"');
      const same = withoutMarks(JSON.parse(text));
      if (same.kind === 'ConfigMap') same['data'] = parse(same['data']['config.yaml']);
      const { name, namespace } = same.metadata;
      return [`${same.kind} ${namespace ?? ''}/${name}`, same];
    }),
  );
}

const MARKS = [
  'helm.sh/chart',
  'helm.sh/resource-policy',
  'app.kubernetes.io/managed-by',
  'app.kubernetes.io/version',
  'checksum/config',
];

function withoutMarks(object: Manifest): Manifest {
  for (const { metadata } of [object, object['spec']?.template].filter((it) => it?.metadata)) {
    for (const kind of ['labels', 'annotations'] as const) {
      for (const tokenAnnotations of MARKS) delete metadata[kind]?.[tokenAnnotations];
      if (Object.keys(metadata[kind] ?? {}).length === 0) delete metadata[kind];
    }
  }
  return object;
}
