import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from '@jest/globals';
import { parse } from 'yaml';
import { ensureTool } from '../../dev/packaging/tools.ts';
import { BUILD_TIME, ROOT, run } from './render.ts';

const FOLDER = join(ROOT, '.github/workflows');

/** The first major version that runs on Node 24; runners have no older one any more. */
const ON_NODE_24: Readonly<Record<string, number>> = {
  'actions/checkout': 5,
  'actions/setup-node': 5,
  'actions/setup-go': 6,
  'actions/setup-java': 5,
  'actions/cache': 5,
  'actions/attest-build-provenance': 4,
  'sigstore/cosign-installer': 4,
};

interface Step {
  readonly uses?: string;
  readonly run?: string;
  readonly with?: Readonly<Record<string, unknown>>;
}

interface Job {
  readonly permissions?: unknown;
  readonly 'timeout-minutes'?: number;
  readonly steps: readonly Step[];
}

describe.each(readdirSync(FOLDER))('%s', (file) => {
  const text = readFileSync(join(FOLDER, file), 'utf8');
  const workflow: { permissions?: unknown; jobs: Record<string, Job> } = parse(text);
  const jobs = Object.values(workflow.jobs);
  const steps = jobs.flatMap((job) => job.steps);
  let actionlint: string;

  beforeAll(async () => {
    actionlint = await ensureTool('actionlint', console.log);
  }, BUILD_TIME);

  it('is taken by actionlint', async () => {
    expect(await run(actionlint, [join(FOLDER, file)])).toBe('');
  });

  it('pins each action to a commit, and says of which release', () => {
    const uses = [...text.matchAll(/uses: (.+)$/gm)].map(([, use = '']) => use);
    expect(uses.filter((use) => !/^[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/.test(use))).toEqual([]);
  });

  it('uses actions that run on Node 24', () => {
    const old = [...text.matchAll(/uses: ([\w/-]+)@\w+ # v(\d+)/g)].filter(
      ([, name = '', major]) => Number(major) < (ON_NODE_24[name] ?? Number.POSITIVE_INFINITY),
    );
    expect(old.map(([line]) => line)).toEqual([]);
  });

  it('gives each job its own permissions and a time limit', () => {
    expect(workflow.permissions).toEqual({});
    for (const job of jobs) {
      expect(job.permissions).toBeDefined();
      expect(job['timeout-minutes']).toBeLessThanOrEqual(90);
    }
  });

  it('leaves no token in the checkout, and puts no expression into a script', () => {
    const checkouts = steps.filter(({ uses = '' }) => uses.startsWith('actions/checkout@'));
    expect(checkouts.length).toBeGreaterThan(0);
    expect(checkouts.filter((step) => step.with?.['persist-credentials'] !== false)).toEqual([]);
    expect(steps.filter((step) => step.run?.includes('${{') === true)).toEqual([]);
  });

  const names = [...text.matchAll(/npm run ([\w:]+)/g)].map(([, name = '']) => name);
  it('names scripts of npm that exist', () => {
    const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
    expect(names.filter((name) => !(name in scripts))).toEqual([]);
  });
});

it('a commit of an action is the same in all workflows', () => {
  const commits = new Map<string, Set<string>>();
  for (const file of readdirSync(FOLDER)) {
    const text = readFileSync(join(FOLDER, file), 'utf8');
    for (const [, name = '', commit = ''] of text.matchAll(/uses: ([\w/-]+)@(\w+)/g)) {
      commits.set(name, (commits.get(name) ?? new Set()).add(commit));
    }
  }
  expect([...commits].filter(([, found]) => found.size > 1)).toEqual([]);
  expect(commits.size).toBe(Object.keys(ON_NODE_24).length);
});

describe('forms for issues and pull requests', () => {
  it('are YAML and Markdown of this checkout', () => {
    const files = execFileSync('git', ['ls-files', '.github'], { cwd: ROOT, encoding: 'utf8' });
    expect(files).toContain('.github/pull_request_template.md');
    const folder = join(ROOT, '.github/ISSUE_TEMPLATE');
    for (const file of readdirSync(folder).filter((each) => each.endsWith('.yaml'))) {
      const form = parse(readFileSync(join(folder, file), 'utf8'));
      expect(Object.keys(form)).toEqual(expect.arrayContaining(['name', 'description', 'body']));
    }
  });
});
