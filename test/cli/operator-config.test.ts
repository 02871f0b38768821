import { beforeEach, describe, expect, it } from '@jest/globals';
import type { Context } from '../../src/cli/context.ts';
import { configFor } from '../../src/cli/doctor/installation.ts';
import { readOperatorConfigs } from '../../src/cli/operator-config.ts';
import { aCredential } from '../support/builders.ts';

const mapOf = (name: string, namespace: string) => ({
  metadata: { name },
  data: { 'config.yaml': `watch: { namespaces: [${namespace}] }` },
});
const podOf = (configMap: string) => ({ spec: { volumes: [{ configMap: { name: configMap } }] } });

/** What was said on standard error. */
let warnings: string[] = [];

/** A person who may list these in the operator's namespace. */
const contextWith = (items: { readonly configmaps: object[]; readonly pods: object[] }): Context =>
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the rest of a context is not used here
  ({
    operatorNamespace: 'operators',
    host: { err: (text: string) => warnings.push(text) },
    cluster: {
      list: async ({ plural }: { plural: 'configmaps' | 'pods' }) => items[plural],
    },
  }) as unknown as Context;

describe('the configuration of the operator', () => {
  beforeEach(() => {
    warnings = [];
  });

  it('is that of the ConfigMap which a pod mounts, not a former one', async () => {
    const configmaps = [mapOf('config-old', 'former'), mapOf('config-new', 'shop')];
    const context = contextWith({ configmaps, pods: [podOf('config-new')] });
    const configs = await readOperatorConfigs(context);
    expect(configs.map(({ namespaces }) => namespaces)).toEqual([['shop']]);
  });

  it('is any, where pods are not there or may not be listed', async () => {
    const context = contextWith({ configmaps: [mapOf('a', 'a'), mapOf('b', 'b')], pods: [] });
    expect(await readOperatorConfigs(context)).toHaveLength(2);
  });

  it('is that of the release which serves the credential', async () => {
    const configmaps = [mapOf('one', 'warehouse'), mapOf('two', 'shop')];
    const context = contextWith({ configmaps, pods: [podOf('one'), podOf('two')] });
    const configs = await readOperatorConfigs(context);
    const config = await configFor(context, aCredential(), configs);
    expect(config?.namespaces).toEqual(['shop']);
  });

  it('is not that of a ConfigMap which is no YAML, and a warning names that', async () => {
    const broken = { metadata: { name: 'broken' }, data: { 'config.yaml': 'watch: {CaNaRy' } };
    const context = contextWith({ configmaps: [broken, mapOf('one', 'shop')], pods: [] });
    const configs = await readOperatorConfigs(context);
    expect(configs.map(({ namespaces }) => namespaces)).toEqual([['shop']]);
    expect(warnings).toEqual([
      'Warning: config.yaml of ConfigMap "broken" in namespace "operators" is no YAML and is left out; the operator does not start with it\n',
    ]);
  });
});
