import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { ClusterClient } from '../../dev/envtest/cluster/cluster.ts';
import { ServerProcess } from '../../dev/envtest/server-process.ts';
import { ensureTool } from '../../dev/packaging/tools.ts';

/** A real Prometheus, configured from the chart's objects as the Prometheus Operator would do. */

const PORT = 9090;

interface ServiceMonitor {
  readonly metadata: { readonly namespace: string; readonly name: string };
  readonly spec: {
    readonly selector: { readonly matchLabels: Readonly<Record<string, string>> };
    readonly endpoints: readonly {
      readonly port: string;
      readonly path?: string;
      readonly honorLabels?: boolean;
      readonly interval: string;
      readonly scrapeTimeout: string;
    }[];
  };
}

export interface RuleGroup {
  readonly name: string;
  readonly rules: readonly {
    readonly alert: string;
    readonly for?: string;
    readonly keep_firing_for?: string;
  }[];
}

export interface Alert {
  readonly labels: Readonly<Record<string, string>>;
  readonly state: 'pending' | 'firing';
}

/** CRDs of the Prometheus Operator, with just enough schema to store its objects. */
export const monitoringCrds = (): object[] =>
  [
    ['ServiceMonitor', 'servicemonitors'],
    ['PrometheusRule', 'prometheusrules'],
  ].map(([kind, plural]) => ({
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.monitoring.coreos.com` },
    spec: {
      group: 'monitoring.coreos.com',
      scope: 'Namespaced',
      names: { kind, plural },
      versions: [
        {
          name: 'v1',
          served: true,
          storage: true,
          schema: {
            openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
          },
        },
      ],
    },
  }));

export class Prometheus {
  /** Scrapes and evaluates as the installed ServiceMonitor and PrometheusRule define. */
  static async start(
    cluster: ClusterClient,
    shorten: (duration: string) => string,
  ): Promise<Prometheus> {
    const monitors = await objects<ServiceMonitor>(cluster, 'servicemonitors');
    const rules = await objects<{ spec: { groups: RuleGroup[] } }>(cluster, 'prometheusrules');
    const groups = rules
      .flatMap(({ spec }) => spec.groups)
      .map((group) => ({
        ...group,
        rules: group.rules.map((rule) => ({
          ...rule,
          ...(rule.for === undefined ? {} : { for: shorten(rule.for) }),
          ...(rule.keep_firing_for === undefined
            ? {}
            : { keep_firing_for: shorten(rule.keep_firing_for) }),
        })),
      }));
    const file = (name: string): string => join(cluster.dir, name);
    await writeFile(file('prometheus-rules.yaml'), stringify({ groups }));
    await writeFile(
      file('prometheus.yaml'),
      stringify({
        global: { evaluation_interval: shorten('1m') },
        rule_files: [file('prometheus-rules.yaml')],
        scrape_configs: monitors.flatMap((monitor) => scrapeConfigs(monitor, cluster.kubeconfig)),
      }),
    );
    const server = new ServerProcess({
      name: 'prometheus',
      command: await ensureTool('prometheus'),
      args: [
        `--config.file=${file('prometheus.yaml')}`,
        `--storage.tsdb.path=${file('prometheus')}`,
        `--web.listen-address=127.0.0.1:${PORT}`,
      ],
      logFile: file('prometheus.log'),
    });
    const prometheus = new Prometheus();
    await server.untilReady(() => prometheus.#get('/-/ready'), 180);
    return prometheus;
  }

  /** The current result of the query: one entry per series. */
  async query(
    query: string,
  ): Promise<{ metric: Record<string, string>; value: [number, string] }[]> {
    const text = await this.#get(`/api/v1/query?${new URLSearchParams({ query }).toString()}`);
    return JSON.parse(text).data.result;
  }

  async alerts(): Promise<Alert[]> {
    return JSON.parse(await this.#get('/api/v1/alerts')).data.alerts;
  }

  /** Names of the rules that could not be evaluated. */
  async brokenRules(): Promise<string[]> {
    const { groups } = JSON.parse(await this.#get('/api/v1/rules')).data;
    return groups
      .flatMap(({ rules }: { rules: { name: string; health: string }[] }) => rules)
      .filter(({ health }: { health: string }) => health === 'err')
      .map(({ name }: { name: string }) => name);
  }

  async #get(path: string): Promise<string> {
    const signal = AbortSignal.timeout(30_000);
    const response = await fetch(`http://127.0.0.1:${PORT}${path}`, { signal });
    const text = await response.text();
    if (!response.ok) throw new Error(`Prometheus returned ${response.status}: ${text}`);
    return text;
  }
}

async function objects<T>(cluster: ClusterClient, plural: string): Promise<T[]> {
  const args = ['get', `${plural}.monitoring.coreos.com`, '-A', '-o', 'json'];
  return JSON.parse(await cluster.kubectl(args)).items;
}

/** A scrape configuration as of the Prometheus Operator: endpoints of the selected Services, by port name. */
function scrapeConfigs({ metadata, spec }: ServiceMonitor, kubeconfig: string): object[] {
  const selected = Object.entries(spec.selector.matchLabels).map(([label, value]) => ({
    source_labels: [`__meta_kubernetes_service_label_${label.replaceAll(/[^a-zA-Z0-9_]/g, '_')}`],
    regex: value,
    action: 'keep',
  }));
  const copy = (from: string, to: string): object => ({
    source_labels: [`__meta_kubernetes_${from}`],
    target_label: to,
  });
  return spec.endpoints.map((endpoint, index) => ({
    job_name: `serviceMonitor/${metadata.namespace}/${metadata.name}/${index}`,
    honor_labels: endpoint.honorLabels ?? false,
    scrape_interval: endpoint.interval,
    scrape_timeout: endpoint.scrapeTimeout,
    metrics_path: endpoint.path ?? '/metrics',
    kubernetes_sd_configs: [
      {
        role: 'endpoints',
        kubeconfig_file: kubeconfig,
        namespaces: { names: [metadata.namespace] },
      },
    ],
    relabel_configs: [
      ...selected,
      {
        source_labels: ['__meta_kubernetes_endpoint_port_name'],
        regex: endpoint.port,
        action: 'keep',
      },
      copy('namespace', 'namespace'),
      copy('service_name', 'service'),
      copy('pod_name', 'pod'),
      copy('pod_container_name', 'container'),
      copy('service_name', 'job'),
      { target_label: 'endpoint', replacement: endpoint.port },
    ],
  }));
}
