import { access, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from '@jest/globals';
import { parse } from 'yaml';
import { newestRelease } from '../../dev/envtest/binaries.ts';
import {
  minorOf,
  moduleFor,
  OLDER_RELEASES,
  requestedRelease,
} from '../../dev/envtest/kubernetes-releases.ts';
import { KEYCLOAK_VERSIONS } from '../../dev/keycloak/server/distribution.ts';
import { CONTRACT, SUITES } from '../../dev/matrix/suites.ts';
import { ON_ANY_CLUSTER } from '../../dev/testbed/any-cluster.ts';

const ROOT = join(import.meta.dirname, '../..');
const before = process.env['KUBERNETES_VERSION'];

const releases = async (): Promise<string[]> => [...OLDER_RELEASES, await newestRelease()];

afterEach(() => {
  if (before === undefined) delete process.env['KUBERNETES_VERSION'];
  else process.env['KUBERNETES_VERSION'] = before;
});

describe('KUBERNETES_VERSION', () => {
  it.each([
    ['', undefined],
    ['1.32.0', 'v1.32.0'],
    ['v1.36.1', 'v1.36.1'],
    ['1.37', 'v1.37.2'],
  ])('%j asks for %s', (wanted, expected) => {
    process.env['KUBERNETES_VERSION'] = wanted;
    expect(requestedRelease('v1.37.2')).toBe(expected);
  });

  it('takes the newest patch of a minor', () => {
    process.env['KUBERNETES_VERSION'] = '1.32';
    expect(requestedRelease('v1.37.2')).toMatch(/^v1\.32\.\d+$/);
  });

  it('refuses a minor whose patches are not known', () => {
    process.env['KUBERNETES_VERSION'] = '1.3';
    expect(() => requestedRelease('v1.37.2')).toThrow(
      'KUBERNETES_VERSION is 1.3: give a patch version such as v1.32.0, or one of 1.32, 1.33',
    );
  });
});

describe('the versions of the matrix', () => {
  const read = (path: string): Promise<string> => readFile(join(ROOT, path), 'utf8');

  it('begin with the lowest that the chart claims, and leave none out', async () => {
    const chart = await read('charts/convercus-operator/Chart.yaml');
    const [, lowest] = /^>=(1\.\d+)\.0-0$/.exec(parse(chart).kubeVersion) ?? [];
    const all = (await releases()).map(minorOf);
    expect(all[0]).toBe(lowest);
    const numbers = all.map((minor) => Number(minor.split('.')[1]));
    expect(numbers).toEqual(numbers.map((_, index) => (numbers[0] ?? 0) + index));
  });

  it('are those of the workflow', async () => {
    const { jobs } = parse(await read('.github/workflows/matrix.yaml'));
    const { kubernetes, keycloak } = jobs;
    expect(kubernetes.strategy.matrix.version).toEqual((await releases()).map(minorOf));
    expect(keycloak.strategy.matrix.version).toEqual(KEYCLOAK_VERSIONS);
  });

  it('are those of docs/versions.md', async () => {
    const page = await read('docs/versions.md');
    const named = [...page.matchAll(/^\| (?:Kubernetes|Keycloak) ([\d.]+)/gm)].map(
      ([, version]) => version,
    );
    expect(named).toEqual([
      ...(await releases()).map((each) => each.slice(1)),
      ...KEYCLOAK_VERSIONS,
    ]);
  });
});

it.each([...Object.values(SUITES).flat(), CONTRACT, ...ON_ANY_CLUSTER])(
  '%s, which is run on other servers, is there',
  (path) => access(join(ROOT, path)),
);

describe('the module of another release', () => {
  it('has its staging modules as published, without the samples', () => {
    const text = moduleFor('v1.32.13', {
      Go: '1.23.0',
      Godebug: [{ Key: 'default', Value: 'go1.23' }],
      Require: [
        { Path: 'k8s.io/api', Version: 'v0.0.0' },
        { Path: 'k8s.io/sample-apiserver', Version: 'v0.0.0' },
        { Path: 'golang.org/x/net', Version: 'v0.30.0' },
      ],
      Replace: [{ Old: { Path: 'k8s.io/api' } }, { Old: { Path: 'k8s.io/sample-apiserver' } }],
    });
    expect(text.trim().split('\n')).toEqual([
      'module envtest/kubernetes',
      'go 1.23.0',
      'godebug default=go1.23',
      'require k8s.io/kubernetes v1.32.13',
      'require golang.org/x/net v0.30.0',
      'require k8s.io/api v0.32.13',
      'replace k8s.io/api => k8s.io/api v0.32.13',
    ]);
  });
});
