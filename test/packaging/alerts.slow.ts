import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from '@jest/globals';
import { parse, stringify } from 'yaml';
import { FAILURE_KINDS } from '../../src/lib/failure.ts';
import {
  type Credential,
  type Release,
  refusals,
  release,
  series,
  tokenRequests,
} from './alert-scenarios.ts';
import {
  annotations,
  clock,
  minutes,
  type Series,
  type Timeline,
  timeline,
} from './alert-timeline.ts';
import { BUILD_TIME, CHART, helm, promtool, ROOT, renderChart, the } from './render.ts';

const RULES = join(CHART, 'files/alerts.yaml');
const always = (): boolean => true;
const operator = { namespace: 'convercus', job: 'convercus-operator', instance: 'a' };
const FOR_EVER = [0, Infinity] as const;

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly for: string;
  readonly labels: { readonly severity: string };
  readonly annotations: Readonly<Record<string, string>>;
}

const rules: readonly Rule[] = parse(await readFile(RULES, 'utf8')).groups.flatMap(
  (group: { rules: Rule[] }) => group.rules,
);

const firing = (shown: readonly Series[], until: number) => timeline(RULES, shown, until);

beforeAll(async () => {
  await helm(['version']);
  await promtool('--version');
}, BUILD_TIME);

describe('the rules', () => {
  it('are valid', async () => {
    expect(await promtool('check', 'rules', '--lint=all', '--lint-fatal', RULES)).toContain(
      '13 rules found',
    );
  });

  it('are loaded by the example for a Prometheus without its operator, which finds the pods', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'prometheus-'));
    await copyFile(RULES, join(dir, 'convercus-alerts.yaml'));
    const example = join(dir, 'prometheus.yaml');
    await copyFile(join(ROOT, 'examples/prometheus.yaml'), example);
    expect(await promtool('check', 'config', example)).toContain('13 rules found');
    await rm(dir, { recursive: true });

    const [job] = parse(
      await readFile(join(ROOT, 'examples/prometheus.yaml'), 'utf8'),
    ).scrape_configs;
    const { metadata, spec } = the('Deployment', await renderChart())['spec'].template;
    const name = metadata.labels['app.kubernetes.io/name'];
    expect(job.relabel_configs[0].regex).toBe(`${name};${spec.containers[0].ports[0].name}`);
    expect(job.honor_labels).toBe(true);
  });

  it('put cluster first wherever they aggregate or match', () => {
    const lists = rules.flatMap(({ expr }) => expr.match(/\b(?:by|on) \([^)]+\)/g) ?? []);
    expect(lists.filter((list) => !/^(?:by|on) \(cluster, /.test(list))).toEqual([]);
    expect(lists.length).toBeGreaterThan(20);
  });

  it.each(rules.map(({ alert }) => alert))(
    '%s has a runbook with what, how to see and how to fix',
    async (alert) => {
      const rule = rules.find((each) => each.alert === alert);
      const runbook = await readFile(join(ROOT, rule?.annotations['runbook_url'] ?? ''), 'utf8');
      expect(runbook.match(/^##? .*/gm)).toEqual([
        `# ${alert}`,
        '## What it means',
        '## How to see it',
        '## How to fix it',
      ]);
    },
  );

  it('and their runbooks name only failure kinds that exist', async () => {
    const outcomes = rules.flatMap(
      ({ expr }) => /outcome=~"([^"]+)"/.exec(expr)?.[1]?.split('|') ?? [],
    );
    const texts = await Promise.all(
      rules.map(({ alert }) => readFile(join(ROOT, `docs/runbooks/${alert}.md`), 'utf8')),
    );
    const rows = texts.flatMap((text) => text.match(/^\|(?: `[A-Z]\w+`,?)+/gm) ?? []);
    const kinds = rows.join().match(/[A-Z]\w+/g) ?? [];
    const states = ['ImagePullBackOff', 'CrashLoopBackOff', 'OOMKilled'];
    const unknown = [...outcomes, ...kinds].filter((kind) => !(kind in FAILURE_KINDS));
    expect(unknown.filter((kind) => !states.includes(kind))).toEqual([]);
    expect(outcomes.length).toBeGreaterThan(5);
  });
});

const half: Credential = { lifetime: minutes(30) };

describe('one credential', () => {
  it.each([
    ['15 minutes', 15],
    ['30 minutes', 30],
    ['24 hours', 24 * 60],
  ])('with tokens of %s nothing fires while it is renewed', async (_, lifetime) => {
    const shown = release({ credentials: [{ lifetime: minutes(lifetime) }] });
    expect(await firing(shown, minutes(Math.max(120, lifetime * 1.1)))).toEqual({});
  });

  it.each<[lifetime: number, warning: string | undefined, page: string]>([
    [10, undefined, '11:30'],
    [15, '14:30', '16:30'],
    [30, '28:00', '31:30'],
    [60, '54:30', '1:01:30'],
    [24 * 60, '21:19:30', '24:01:30'],
  ])(
    'with tokens of %s minutes, renewals that fail are told by a warning at %s and a page at %s',
    async (lifetime, warning, page) => {
      const failing = { lifetime: minutes(lifetime), failing: FOR_EVER };
      const found = await firing(release({ credentials: [failing] }), minutes(lifetime + 5));
      expect(starts(found)).toEqual({
        ...(warning === undefined
          ? {}
          : { 'ConvercusRenewalOverdue warning shop/loyalty': warning }),
        'ConvercusTokenExpired critical shop/loyalty': page,
      });
    },
  );

  it.each<[string, Partial<Credential>, Record<string, string>]>([
    [
      'of an environment that is not critical',
      { environment: 'staging', failing: FOR_EVER },
      {
        'ConvercusRenewalOverdue warning shop/loyalty': '28:00',
        'ConvercusTokenExpired warning shop/loyalty': '31:30',
      },
    ],
    [
      'that waits for its first token',
      { hasNoToken: true, failing: FOR_EVER },
      { 'ConvercusFirstTokenMissing warning shop/loyalty': '05:00' },
    ],
    [
      'that is stalled before its first token',
      { hasNoToken: true, failing: FOR_EVER, isTerminal: true },
      { 'ConvercusCredentialStalled warning shop/loyalty': '02:00' },
    ],
    ['that is suspended and expires', { suspendedFrom: minutes(10) }, {}],
    ['that is suspended without a token', { hasNoToken: true, suspendedFrom: 0 }, {}],
    [
      'that fails and recovers',
      { failing: [0, minutes(29)] },
      { 'ConvercusRenewalOverdue warning shop/loyalty': '28:00' },
    ],
    [
      'that is deleted while it is overdue',
      { failing: FOR_EVER, deletedAt: minutes(29) },
      { 'ConvercusRenewalOverdue warning shop/loyalty': '28:00' },
    ],
  ])('%s', async (_, credential, expected) => {
    const shown = release({ credentials: [{ ...half, ...credential }] });
    expect(starts(await firing(shown, minutes(60)))).toEqual(expected);
  });

  it('that was expired and deleted is told for 3.5 minutes more', async () => {
    const gone = { ...half, failing: FOR_EVER, deletedAt: minutes(40) };
    const found = await firing(release({ credentials: [gone] }), minutes(60));
    expect(found['ConvercusTokenExpired critical shop/loyalty']).toEqual([['31:30', '43:30']]);
  });
});

describe('a change of the leader, 60 seconds without one,', () => {
  const at = (change: number, more: Partial<Release> = {}): Series[] =>
    release({
      credentials: [{ ...half, failing: FOR_EVER }],
      leader: (time) => (time < change ? 'a' : time < change + 60 ? undefined : 'b'),
      ...more,
    });

  it.each([
    ['while a token is overdue', 29],
    ['while a token is expired', 33],
    ['while a stalled token is expired', 45],
  ])('%s interrupts no alert and starts none', async (_, change) => {
    const undisturbed = release({ credentials: [{ ...half, failing: FOR_EVER }] });
    expect(await firing(at(minutes(change)), minutes(60))).toEqual(
      await firing(undisturbed, minutes(60)),
    );
  });

  it('keeps what needs manual action told', async () => {
    const stalled = { ...half, failing: FOR_EVER, isTerminal: true };
    const found = await firing(at(minutes(28), { credentials: [stalled] }), minutes(29));
    expect(found['ConvercusCredentialStalled warning shop/loyalty']).toEqual([['27:30']]);
  });

  it('of a healthy release fires nothing', async () => {
    expect(await firing(at(minutes(29), { credentials: [half] }), minutes(60))).toEqual({});
  });
});

describe('one ruler', () => {
  const failing = { ...half, failing: FOR_EVER };

  it('over two clusters tells of the one that fails, though the other has the same names', async () => {
    const shown = [
      ...release({ cluster: 'east', credentials: [half] }),
      ...release({
        cluster: 'west',
        credentials: [failing],
        isRunning: (_, time) => time < minutes(40),
      }),
    ];
    expect(starts(await firing(shown, minutes(60)))).toEqual({
      'ConvercusRenewalOverdue warning west shop/loyalty': '28:00',
      'ConvercusTokenExpired critical west shop/loyalty': '31:30',
      'ConvercusOperatorDown critical west convercus-operator': '42:00',
    });
  });

  it('over two clusters tells which has no leader', async () => {
    const shown = [
      ...release({ cluster: 'east' }),
      ...release({ cluster: 'west', leader: () => undefined }),
    ];
    expect(starts(await firing(shown, minutes(10)))).toEqual({
      'ConvercusNoLeader critical west convercus-operator': '02:00',
    });
  });

  it('over two releases tells of the one that is gone', async () => {
    const shown = [
      ...release({ job: 'shard-1', isRunning: (_, time) => time < minutes(10) }),
      ...release({ job: 'shard-2' }),
    ];
    expect(starts(await firing(shown, minutes(60)))).toEqual({
      'ConvercusOperatorDown critical shard-1': '12:00',
    });
  });
});

/** Each alert has a scenario here that no other alert covers, or it would have to go. */
const SCENARIOS: Readonly<Record<string, Scenario>> = {
  'provider down, 24 credentials': scenario(60, 65, 70, () => {
    const failing = [minutes(60), Infinity] as const;
    const credentials = Array.from({ length: 24 }, (_, index) => {
      return { ...half, failing, name: `c${index}`, issuedAt: minutes(-index) };
    });
    const requests = tokenRequests('id.test', credentials, 'NetworkError', minutes(70));
    return [...release({ credentials }), ...requests];
  }),
  'client secret replaced by a wrong one': scenario(10, 30, 40, () => {
    const wrong = { failing: [minutes(10), Infinity] as const, triedAt: minutes(10) };
    return release({
      credentials: [{ ...half, ...wrong, isTerminal: true, reason: 'ClientSecretRejected' }],
    });
  }),
  'client secret revoked at the provider': scenario(10, 30, 40, () =>
    release({
      credentials: [
        {
          ...half,
          failing: [minutes(10), Infinity],
          isTerminal: true,
          reason: 'ClientSecretRejected',
        },
      ],
    }),
  ),
  'one namespace forbidden': scenario(10, undefined, 40, () => {
    const watched = { ...operator, resource: 'secrets' };
    const watch = (namespace: string, from: number): Series =>
      series('convercus_watch_up', { ...watched, namespace }, always, (at) => Number(at < from));
    return [
      ...release({}),
      watch('shop', minutes(10)),
      watch('depot', Infinity),
      refusals(minutes(10)),
    ];
  }),
  'writes forbidden (RBAC)': scenario(10, 30, 40, () => [
    ...release({
      credentials: [{ ...half, failing: [minutes(10), Infinity], reason: 'PermissionDenied' }],
    }),
    refusals(minutes(25.5)),
  ]),
  'release dead': scenario(10, 30, 40, () =>
    release({ isRunning: (_, at) => at < minutes(10), credentials: [half] }),
  ),
  'never scraped': scenario(0, undefined, 10, () => []),
  "the leader's node dead": scenario(10, undefined, 40, () =>
    release({
      isRunning: (instance, at) => instance === 'b' || at < minutes(10),
      leader: (at) => (at < minutes(10) ? 'a' : at < minutes(10) + 20 ? undefined : 'b'),
      credentials: [half],
    }),
  ),
  'no leader': scenario(10, 30, 40, () =>
    release({ leader: (at) => (at < minutes(10) ? 'a' : undefined), credentials: [half] }),
  ),
  'clock wrong (ClockSkew)': scenario(10, 30, 40, () =>
    release({ credentials: [{ ...half, failing: [minutes(10), Infinity], reason: 'ClockSkew' }] }),
  ),
  'rate limit too small': scenario(10, undefined, 40, () => [
    ...release({}),
    series('convercus_token_host_queue_length', { ...operator, host: 'id.test' }, always, (at) =>
      at < minutes(10) ? 0 : 40,
    ),
  ]),
  'provider refuses with Retry-After': scenario(10, undefined, 40, () => [
    ...release({}),
    series(
      'convercus_token_host_paused',
      { ...operator, host: 'id.test', cause: 'rate_limited' },
      always,
      (at) => Number(at >= minutes(10)),
    ),
  ]),
  'work queue stuck': scenario(10, undefined, 40, () => [
    ...release({}),
    series('workqueue_depth', { ...operator, name: 'credentials' }, always, (at) =>
      at < minutes(10) ? 0 : 5,
    ),
    series(
      'workqueue_work_duration_seconds_count',
      { ...operator, name: 'credentials' },
      always,
      (at) => Math.min(at, minutes(10)),
    ),
  ]),
  'a cluster credential fails in one namespace': scenario(10, undefined, 40, () => [
    ...release({ credentials: [{ ...half, namespace: '' }] }),
    clusterNamespaces('failing', (at) => Number(at >= minutes(10))),
    clusterNamespaces('ready', (at) => (at < minutes(10) ? 3 : 2)),
  ]),
};

/** How many namespaces of the cluster credential `loyalty` are in that state. */
const clusterNamespaces = (state: string, value: (at: number) => number): Series => {
  const labels = { ...operator, name: 'loyalty', state };
  return series('convercus_cluster_credential_namespaces', labels, always, value);
};

interface Scenario {
  readonly faultAt: number;
  readonly expires: number | undefined;
  readonly until: number;
  readonly shown: () => readonly Series[];
}

/** All times in minutes. @param expires when the first token expires */
function scenario(
  faultAt: number,
  expires: number | undefined,
  until: number,
  shown: () => readonly Series[],
): Scenario {
  return {
    faultAt: minutes(faultAt),
    expires: expires === undefined ? undefined : minutes(expires),
    until: minutes(until),
    shown,
  };
}

/** The first firing of each alert. */
const EXPECTED: Readonly<Record<string, readonly string[]>> = {
  'provider down, 24 credentials': [
    '1:03:00 ConvercusRenewalOverdue warning',
    '1:04:30 ConvercusTokenHostFailing warning',
    '1:06:30 ConvercusTokenExpired critical',
  ],
  'client secret replaced by a wrong one': [
    '12:00 ConvercusCredentialStalled warning',
    '28:00 ConvercusRenewalOverdue warning',
    '31:30 ConvercusTokenExpired critical',
  ],
  'client secret revoked at the provider': [
    '27:30 ConvercusCredentialStalled warning',
    '28:00 ConvercusRenewalOverdue warning',
    '31:30 ConvercusTokenExpired critical',
  ],
  'one namespace forbidden': [
    '12:00 ConvercusWatchDown warning',
    '12:30 ConvercusPermissionDenied warning',
  ],
  'writes forbidden (RBAC)': [
    '28:00 ConvercusPermissionDenied warning',
    '28:00 ConvercusRenewalOverdue warning',
    '31:30 ConvercusTokenExpired critical',
  ],
  'release dead': ['12:00 ConvercusOperatorDown critical'],
  'never scraped': ['02:00 ConvercusOperatorDown critical'],
  "the leader's node dead": [],
  'no leader': ['12:00 ConvercusNoLeader critical'],
  'clock wrong (ClockSkew)': [
    '28:00 ConvercusRenewalOverdue warning',
    '31:30 ConvercusTokenExpired critical',
  ],
  'rate limit too small': ['20:00 ConvercusTokenHostSaturated warning'],
  'provider refuses with Retry-After': ['15:00 ConvercusTokenHostPaused warning'],
  'work queue stuck': ['16:30 ConvercusQueueStuck warning'],
  'a cluster credential fails in one namespace': [
    '20:00 ConvercusClusterCredentialFailing warning',
  ],
};

describe('a fault', () => {
  it.each(Object.entries(SCENARIOS))('%s', async (name, { shown, until }) => {
    expect(summary(await firing(shown(), until))).toEqual(EXPECTED[name]);
  });

  it('of each kind stands in docs/monitoring.md with these times', async () => {
    const page = await readFile(join(ROOT, 'docs/monitoring.md'), 'utf8');
    expect(page.match(/^\| fault \|[^]*?(?=\n\n)/m)?.[0].split('\n')).toEqual(table());
  });

  it('of one kind makes each alert fire', () => {
    const fired = [...Object.values(EXPECTED).flat(), '05:00 ConvercusFirstTokenMissing warning'];
    expect(new Set(fired.map((line) => line.split(' ')[1]))).toEqual(
      new Set(rules.map(({ alert }) => alert)),
    );
  });
});

/** The table of docs/monitoring.md, with times after the fault. */
function table(): string[] {
  const rows = Object.entries(SCENARIOS).map(([name, { faultAt, expires }]) => {
    const lines = (EXPECTED[name] ?? []).map((line) => line.split(' '));
    const after = (at: number): string => clock(at - faultAt);
    const word = (line?: readonly string[]): string =>
      line === undefined ? '–' : `${after(seconds(line[0] ?? ''))} ${line[1]}`;
    const page = lines.find(([, , severity]) => severity === 'critical');
    return `| ${name} | ${word(lines[0])} | ${word(page)} | ${expires === undefined ? '–' : after(expires)} |`;
  });
  return ['| fault | first alert | page | first token expires |', '|---|---|---|---|', ...rows];
}

/** Of `mm:ss` or `h:mm:ss`. */
const seconds = (time: string): number =>
  time.split(':').reduce((sum, part) => sum * 60 + Number(part), 0);

/** When each alert fired first. */
function starts(found: Timeline): Record<string, string> {
  return Object.fromEntries(
    Object.entries(found).map(([alert, [first]]) => [alert, first?.[0] ?? '']),
  );
}

/** The first of each alert, such as `12:00 ConvercusOperatorDown critical`. */
function summary(found: Timeline): string[] {
  const all = Object.entries(starts(found)).map(([alert, at]) => {
    const [name, severity] = alert.split(' ');
    return { at, text: `${at} ${name} ${severity}`, name };
  });
  return all
    .toSorted((one, other) => one.at.length - other.at.length || (one.at < other.at ? -1 : 1))
    .filter((each, index, sorted) => sorted.findIndex(({ name }) => name === each.name) === index)
    .map(({ text }) => text);
}

describe('what an alert says', () => {
  it.each([
    [
      'ConvercusTokenExpired',
      35,
      'It expired at 1970-01-01 00:30:00 +0000 UTC. Workloads that use it for program ABC (production) get HTTP 401. Reason: NetworkError. See: kubectl describe convercuscredential loyalty -n shop',
    ],
    [
      'ConvercusRenewalOverdue',
      29,
      'The token still works, until 1970-01-01 00:30:00 +0000 UTC. Reason: NetworkError. See: kubectl describe convercuscredential loyalty -n shop',
    ],
  ])('%s names the reason and the command', async (alert, at, description) => {
    const shown = release({ credentials: [{ ...half, failing: FOR_EVER }] });
    expect(await annotations(RULES, shown, alert, minutes(at))).toContain(
      `description="${description}"`,
    );
  });
});

describe('a cluster credential, whose namespace is empty,', () => {
  const failing = { ...half, namespace: '', failing: FOR_EVER };

  it('has the alerts of a credential, and is told apart from one of its name', async () => {
    const shown = release({ credentials: [failing, half] });
    expect(starts(await firing(shown, minutes(60)))).toEqual({
      'ConvercusRenewalOverdue warning loyalty': '28:00',
      'ConvercusTokenExpired critical loyalty': '31:30',
    });
  });

  it('is silent while it is suspended', async () => {
    const credentials = [{ ...half, namespace: '', suspendedFrom: minutes(5) }];
    const namespaces = clusterNamespaces('failing', () => 1);
    expect(await firing([...release({ credentials }), namespaces], minutes(60))).toEqual({});
  });

  it('is named with the command that shows it', async () => {
    const shown = release({ credentials: [failing] });
    const text = await annotations(RULES, shown, 'ConvercusTokenExpired', minutes(35));
    expect(text).toContain('summary="The token of loyalty has expired."');
    const command =
      'Reason: NetworkError. See: kubectl describe clusterconvercuscredential loyalty';
    expect(text).toContain(`${command}"`);
  });

  it.each([
    [1, 'The cluster credential loyalty fails in 1 namespace.'],
    [7, 'The cluster credential loyalty fails in 7 namespaces.'],
  ])('says in how many namespaces it fails: %d', async (count, summary) => {
    const shown = [...release({}), clusterNamespaces('failing', () => count)];
    const text = await annotations(RULES, shown, 'ConvercusClusterCredentialFailing', minutes(20));
    expect(text).toContain(`summary="${summary}"`);
  });
});

describe('the PrometheusRule of the chart', () => {
  const rendered = async (prometheusRule: object): Promise<Rule[]> => {
    const { spec } = the(
      'PrometheusRule',
      await renderChart({ prometheusRule: { enabled: true, ...prometheusRule } }),
    );
    return spec.groups.flatMap((group: { rules: Rule[] }) => group.rules);
  };

  it('has by default the rules of the file, without links to nowhere', async () => {
    const expected = rules.map((rule) => {
      const { runbook_url: _, ...others } = rule.annotations;
      return { ...rule, annotations: others };
    });
    expect(await rendered({})).toEqual(expected);
  });

  it('has links, labels, times and severities of the values', async () => {
    const [expired, overdue, ...others] = await rendered({
      runbookBaseUrl: 'https://books.test/x/',
      dashboardUrl: 'https://grafana.test/d/convercus',
      criticalEnvironments: 'production|live',
      operatorDownWindow: '1d',
      additionalAggregationLabels: ['region'],
      additionalRuleLabels: { team: 'platform' },
      additionalRuleAnnotations: { note: 'see the wiki' },
      rules: { ConvercusRenewalOverdue: { for: '2m', severity: 'info' } },
      disabled: ['ConvercusNoLeader'],
    });
    expect(expired?.labels).toEqual({
      severity:
        '{{ if match "^(?:production|live)$" $labels.environment }}critical{{ else }}warning{{ end }}',
      team: 'platform',
    });
    expect(expired?.expr).toContain('max by (cluster, region, namespace, name,');
    expect(expired?.annotations).toMatchObject({
      runbook_url: 'https://books.test/x/ConvercusTokenExpired.md',
      dashboard_url: 'https://grafana.test/d/convercus',
      note: 'see the wiki',
    });
    expect(overdue).toMatchObject({ for: '2m', labels: { severity: 'info' } });
    expect(others.map(({ alert }) => alert)).not.toContain('ConvercusNoLeader');
    const down = others.find(({ alert }) => alert === 'ConvercusOperatorDown');
    expect(down?.expr).toContain('convercus_operator_build_info[1d]');
  });

  it('with every value set is valid and fires as the file does', async () => {
    const groups = [
      {
        name: 'all',
        rules: await rendered({
          additionalAggregationLabels: ['region'],
          operatorDownWindow: '1d',
        }),
      },
    ];
    const folder = await mkdtemp(join(tmpdir(), 'alerts-'));
    const path = join(folder, 'rules.yaml');
    await writeFile(path, stringify({ groups }));
    const shown = release({ credentials: [{ ...half, failing: FOR_EVER }] });
    expect(await timeline(path, shown, minutes(40))).toEqual(await firing(shown, minutes(40)));
    await rm(folder, { recursive: true });
  });
});
