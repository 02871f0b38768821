import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { freePorts, ServerProcess } from '../envtest/server-process.ts';
import { ensureTool } from '../packaging/tools.ts';

const RULES = join(import.meta.dirname, '../../charts/convercus-operator/files/alerts.yaml');

export interface Alert {
  readonly labels: Readonly<Record<string, string>>;
  readonly state: 'pending' | 'firing';
}

/** A real Prometheus with the rules of the chart, unchanged. */
export class Prometheus implements AsyncDisposable {
  readonly #url: string;
  readonly #dir: string;
  readonly #server: ServerProcess;

  private constructor(url: string, dir: string, server: ServerProcess) {
    this.#url = url;
    this.#dir = dir;
    this.#server = server;
  }

  /** @param interval of scrapes and evaluations, such as `5s` */
  static async start(targetUrl: string, interval: string): Promise<Prometheus> {
    const dir = await mkdtemp(join(tmpdir(), 'convercus-prometheus-'));
    const [port = 0] = await freePorts(1);
    const target = {
      targets: [new URL(targetUrl).host],
      labels: { namespace: 'convercus-operator' },
    };
    const config = {
      global: { scrape_interval: interval, scrape_timeout: '4s', evaluation_interval: interval },
      rule_files: [RULES],
      scrape_configs: [
        { job_name: 'convercus-operator', honor_labels: true, static_configs: [target] },
      ],
    };
    await writeFile(join(dir, 'prometheus.yaml'), stringify(config));
    const server = new ServerProcess({
      name: 'prometheus',
      command: await ensureTool('prometheus'),
      args: [
        `--config.file=${join(dir, 'prometheus.yaml')}`,
        `--storage.tsdb.path=${join(dir, 'data')}`,
        `--web.listen-address=127.0.0.1:${port}`,
      ],
      logFile: join(dir, 'prometheus.log'),
    });
    const prometheus = new Prometheus(`http://127.0.0.1:${port}`, dir, server);
    await server.untilReady(() => prometheus.#get('/-/ready'), 180);
    return prometheus;
  }

  async firing(): Promise<Alert[]> {
    const { data }: { data: { alerts: Alert[] } } = JSON.parse(await this.#get('/api/v1/alerts'));
    return data.alerts.filter(({ state }) => state === 'firing');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.stop(10);
    await rm(this.#dir, { recursive: true, force: true });
  }

  async #get(path: string): Promise<string> {
    const response = await fetch(this.#url + path, { signal: AbortSignal.timeout(30_000) });
    const text = await response.text();
    if (!response.ok) throw new Error(`Prometheus returned ${response.status}: ${text}`);
    return text;
  }
}
