import type { ApiRequest } from '../../src/kubernetes/rest-client.ts';
import { type Ms, seconds } from '../../src/lib/time.ts';
import type { HttpRequest } from '../../src/oauth/http-client.ts';
import type { Metrics } from '../../src/telemetry/metrics.ts';
import type { Outcome } from './api-network.ts';
import { type ApiServer, type Change, targetOf } from './api-server.ts';
import { wordsFor } from './api-transport.ts';
import type { ExchangeObserver } from './host-client.ts';
import type { Provider } from './provider.ts';
import type { Replica } from './replica.ts';
import { Canary } from './rules/canary.ts';
import { Leadership } from './rules/leadership.ts';
import type { Scene } from './rules/rule.ts';
import { Sessions } from './rules/sessions.ts';
import { Targets } from './rules/targets.ts';
import type { Trace } from './trace.ts';

interface Parts {
  readonly now: Ms;
  readonly server: ApiServer;
  readonly provider: Provider;
  readonly trace: Trace;
  readonly renewDeadline: Ms;
  readonly releases: number;
}

/** The requests since a time, without leases, lists and watches. */
export interface Activity {
  apiRequests: number;
  tokenRequests: number;
  readonly lines: string[];
}

const NO_CHANGE = {
  version: 0,
  type: 'MODIFIED',
  before: undefined,
  by: 'backup',
} as const;

/** Checks every step and reports the first violation of each rule. */
export class Safety implements Scene {
  readonly violations = new Map<string, string>();
  readonly leadership: Leadership;
  readonly sessions: Sessions;
  /** False after the clock of a replica was set: then tokens of two replicas can't be ordered. */
  clocksAgree = true;
  latestNews: Ms = seconds(30);
  activity: Activity = { apiRequests: 0, tokenRequests: 0, lines: [] };
  readonly #parts: Parts;
  readonly #targets: Targets;
  readonly #canary: Canary;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.leadership = new Leadership(this, parts.renewDeadline);
    this.sessions = new Sessions(this, this.leadership);
    this.#targets = new Targets(this);
    this.#canary = new Canary(this);
  }

  get now(): Ms {
    return this.#parts.now;
  }

  get releases(): number {
    return this.#parts.releases;
  }

  get severalLead(): boolean {
    return this.leadership.severalLead;
  }

  get server(): ApiServer {
    return this.#parts.server;
  }

  get provider(): Provider {
    return this.#parts.provider;
  }

  violated(rule: string, what: string): void {
    this.#parts.trace.add('VIOLATION', () => `${rule}: ${what}`);
    if (!this.violations.has(rule))
      this.violations.set(rule, `${(this.now / 1_000).toFixed(3)} s: ${what}`);
  }

  changed(change: Change): void {
    if (change.kind === 'leases') return;
    this.#targets.changed(change);
    this.sessions.stored(change);
    const { object } = change;
    if (change.by === 'people' && change.type === 'DELETED') this.sessions.droppedByPeople(object);
    const isSource = change.kind === 'secrets' && object.metadata.name.startsWith('source-');
    if (isSource && change.type === 'DELETED') {
      this.sessions.clientSecretGone(object.metadata.name.replace('source', 'user'));
    }
    if (change.by === 'kubectl-edit' && change.before) this.sessions.spoiltByPeople(change.before);
    if (change.kind.endsWith('convercuscredentials')) {
      this.sessions.credentialChanged(change);
      this.#canary.look('status', JSON.stringify(object.status ?? {}));
    } else this.#canary.look('annotations', JSON.stringify(object.metadata));
  }

  /** etcd has been restored from a backup. */
  restored(): void {
    this.sessions.restored();
    for (const kind of ['convercuscredentials', 'clusterconvercuscredentials'] as const) {
      for (const object of this.server.all(kind)) {
        const change = { ...NO_CHANGE, kind, object };
        this.#targets.changed(change);
        this.sessions.credentialChanged(change);
      }
    }
  }

  apiRequest(replica: Replica, request: ApiRequest): (outcome: Outcome) => void {
    const target = targetOf(request.path);
    if (target.kind === 'events') this.#canary.look('event', JSON.stringify(request.body));
    this.#canary.look('path', request.path);
    const isList = request.method === 'GET' && target.name === undefined;
    if (target.kind !== 'leases' && !isList) {
      this.activity.apiRequests += 1;
      this.activity.lines.push(wordsFor(request));
    }
    return this.leadership.apiRequest(replica, request);
  }

  tokenRequest(replica: Replica, { url, body }: HttpRequest): ExchangeObserver {
    this.leadership.tokenRequest(replica, url);
    this.activity.tokenRequests += 1;
    const form = new URLSearchParams(body);
    this.activity.lines.push(`${new URL(url).pathname} ${form.get('grant_type') ?? ''}`);
    let seen: 'response' | 'unknown' | undefined;
    let tell: (seen: 'response' | 'unknown') => void = () => undefined;
    return {
      handled: (handled) => {
        // It may arrive after its sender has stopped waiting
        tell = this.sessions.handled(replica, handled, seen !== undefined);
        if (seen !== undefined) tell(seen);
      },
      ended: (result) => {
        seen = result;
        tell(result);
        const isLogout = /\/(logout|revoke)$/.test(url);
        const token = form.get('refresh_token') ?? form.get('token') ?? '';
        if (isLogout && result === 'unknown') this.sessions.logoutFailed(token);
      },
    };
  }

  logged(replica: Replica, level: string, text: string): void {
    this.#canary.look('log', text);
    if (level === 'error') this.violated('no unforeseen error', `${replica.name}: ${text}`);
  }

  /** Metrics of a replica, which only record leadership and check labels for secrets. */
  metricsOf(replica: Replica): Metrics {
    const labels = (...values: readonly string[]): void =>
      this.#canary.look('metric', values.join(' '));
    const nothing = (): void => undefined;
    return {
      contentType: '',
      chunks: async function* () {},
      tokenRequest: ({ host, grantType, outcome }) => labels(host, grantType, outcome),
      apiRequest: labels,
      renewal: labels,
      renewedOnSchedule: nothing,
      watch: nothing,
      tokenHosts: nothing,
      reconciled: nothing,
      leading: (isLeading) => {
        if (isLeading) this.leadership.begins(replica);
        else this.leadership.ends(replica);
      },
      queueMetrics: { add: nothing, retry: nothing, get: nothing, done: nothing },
      observe: nothing,
    };
  }
}
