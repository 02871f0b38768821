import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from '@jest/globals';
import { parse } from 'yaml';
import { FAILURE_KINDS } from '../../src/lib/failure.ts';
import { BUILD_TIME, CHART, helm, promtool, ROOT, renderChart, the } from './render.ts';

const RULES = join(CHART, 'files/alerts.yaml');
const TESTS = join(import.meta.dirname, 'alerts.yaml');

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly labels: { readonly severity: string };
  readonly annotations: Readonly<Record<string, string>>;
}

interface RuleTest {
  readonly alert_rule_test: { readonly alertname: string; readonly exp_alerts: unknown[] }[];
}

const rules: readonly Rule[] = parse(await readFile(RULES, 'utf8')).groups.flatMap(
  (group: { rules: Rule[] }) => group.rules,
);

beforeAll(async () => {
  await helm(['version']);
  await promtool('--version');
}, BUILD_TIME);

describe('the alerts', () => {
  it('are valid rules', async () => {
    expect(await promtool('check', 'rules', RULES)).toContain('8 rules found');
  });

  it('fire when they should, and only then', async () => {
    expect(await promtool('test', 'rules', TESTS)).toContain('SUCCESS');
  });

  it('are tested one by one, firing and silent', async () => {
    const tests: RuleTest[] = parse(await readFile(TESTS, 'utf8'), { maxAliasCount: -1 }).tests;
    const cases = tests.flatMap((test) => test.alert_rule_test);
    const tested = (isFiring: boolean): Set<string> =>
      new Set(
        cases
          .filter(({ exp_alerts }) => exp_alerts.length > 0 === isFiring)
          .map(({ alertname }) => alertname),
      );
    const names = new Set(rules.map(({ alert }) => alert));
    expect(tested(true)).toEqual(names);
    expect(tested(false)).toEqual(names);
  });

  it.each(rules.map(({ alert }) => alert))(
    '%s has a runbook with what, how to see and how to fix',
    async (alert) => {
      const rule = rules.find((each) => each.alert === alert);
      const runbook = await readFile(join(ROOT, rule?.annotations['runbook_url'] ?? ''), 'utf8');
      expect(runbook.match(/^#.*/gm)).toEqual([
        `# ${alert}`,
        '## What it means',
        '## How to see it',
        '## How to fix it',
      ]);
      expect(rule?.labels.severity).toMatch(/^(warning|critical)$/);
      expect(rule?.annotations).toMatchObject({
        summary: expect.any(String),
        description: expect.any(String),
      });
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

  it('become a PrometheusRule with runbooks where people find them', async () => {
    const prometheusRule = {
      enabled: true,
      runbookBaseUrl: 'https://books.test/x/',
      disabled: ['ConvercusNoLeader'],
    };
    const { spec } = the('PrometheusRule', await renderChart({ prometheusRule }));
    const rendered: Rule[] = spec.groups.flatMap((group: { rules: Rule[] }) => group.rules);
    const expected = rules
      .filter(({ alert }) => alert !== 'ConvercusNoLeader')
      .map((rule) => {
        const runbook_url = `https://books.test/x/${rule.alert}.md`;
        return { ...rule, annotations: { ...rule.annotations, runbook_url } };
      });
    expect(rendered).toEqual(expected);
  });
});
