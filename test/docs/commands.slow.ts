import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { parse } from 'yaml';
import { type Config, configText, parseConfig } from '../../src/config.ts';
import { isObject } from '../../src/lib/json.ts';
import { BUILD_TIME, CHART, fromInput, helm } from '../packaging/render.ts';
import { DocumentedCluster } from './cluster.ts';
import { type Block, blocksOf, codeSpans, pagesIn, readPage } from './markdown.ts';

/** Every command and every YAML block of the pages, in their order, as a reader would use them. */

/** These begin without an installation; the last page ends without one. */
const FIRST = ['docs/quick-start.md', 'README.md'];
/** These begin without a Secret. */
const FRESH = [...FIRST, 'docs/grants.md'];
const LAST = 'docs/uninstall.md';

/** What a run of `npm run failures` has shown. */
const SHOWN = 'docs/failures.md';

const others = [
  ...(await pagesIn('docs')),
  ...(await pagesIn('docs/security')),
  ...(await pagesIn('docs/runbooks')),
].filter((page) => ![...FIRST, LAST, SHOWN].includes(page));
const PAGES = [...FIRST, ...others, LAST];

const CLUSTER_PAGE = 'docs/cluster-credentials.md';

/** Commands in running text that can't be run as they stand there. */
const NOT_RUN: readonly [command: RegExp, reason: string][] = [
  [/^(kubectl|helm) \S+$/, 'names a command'],
  [/^kubectl edit /, 'opens an editor'],
  [
    /^kubectl delete (namespace|-[fk] deploy)/,
    'a namespace ends by a controller, which is not here',
  ],
  [/=FILE$/, 'reads a file of yours'],
  [/^kubectl convercus/, 'test/cli runs it'],
  [/^kubectl describe convcred$/, 'names a command'],
];

/** Of other projects: there is no CRD for them here. */
const FOREIGN = /(?:^|\.)(?:external-secrets|hashicorp|fluxcd|coreos|argoproj)\.(?:io|com)$/;

/** What commands print that would also succeed with nothing. */
const PRINTED: readonly [command: RegExp, output: string][] = [
  [/creationPolicy "Merge"/, 'shop merging-token merging\n'],
  [/custom-columns='NAMESPACE/, 'ClientSecretRejected'],
  [/uniq -c/, 'staging'],
];

const values: object = parse(await readFile(join(CHART, 'values.yaml'), 'utf8'));
const counts = { run: 0, 'parsed only': 0, 'not run': 0 };
const reasons: string[] = [];
let cluster: DocumentedCluster;

beforeAll(async () => {
  cluster = await DocumentedCluster.start();
}, BUILD_TIME);

afterAll(async () => {
  await cluster?.[Symbol.asyncDispose]();
  const figures = Object.entries(counts).map(([what, count]) => `${count} ${what}`);
  console.log(
    `Commands and YAML blocks of the pages: ${figures.join(', ')}\n${reasons.join('\n')}`,
  );
});

function excuse(where: string, reason: string): void {
  counts['not run'] += 1;
  reasons.push(`${where}: ${reason}`);
}

async function runShell(commands: string): Promise<string> {
  const before = await cluster.keys();
  const output = await cluster.shell(commands);
  if (!/\bdelete\b/.test(commands)) {
    expect(await cluster.keys()).toEqual(expect.arrayContaining(before));
  }
  for (const [pattern, printed] of PRINTED) {
    if (pattern.test(commands)) expect(output).toContain(printed);
  }
  if (/helm install/.test(commands)) await cluster.startOperator();
  if (/clusterCredentials\.enabled=true/.test(commands)) await cluster.serveClusterCredentials();
  counts.run += 1;
  return output;
}

/** Lines after `$` are commands, and the next line is the head of what they print. */
async function runConsole(session: string): Promise<void> {
  await cluster.furnish();
  for (const part of session.split(/^\$ /m).slice(1)) {
    const [command = '', head = ''] = part.split('\n');
    const [printed = ''] = (await runShell(command)).split('\n');
    expect(printed.split(/ {2,}/)).toEqual(head.split(/ {2,}/));
  }
}

async function runYaml({ page, text }: Block): Promise<void> {
  if (page === 'docs/configuration.md') {
    expectDefaults(text);
    counts.run += 1;
    return;
  }
  // Single documents as they stand there: kubectl may read a text in another way than the parser here.
  for (const document of text.split(/^---\n/m)) {
    const object: unknown = parse(document);
    if (isManifest(object)) await runManifest(page, object, document);
    else await runValues(object);
  }
}

/** The block shows every key with its default, and the ports of the chart. */
function expectDefaults(text: string): void {
  const config = configOf(text);
  const defaults = configOf(undefined);
  const operations = { ...defaults.operations, probePort: 8081 };
  expect(config).toEqual({ ...defaults, operations });
  const { environments: _, ...keys } = parse(configText(config));
  const leaderElection = { ...keys.leaderElection, namespace: '' };
  expect(parse(text)).toMatchObject({ ...keys, leaderElection });
}

function configOf(text: string | undefined): Config {
  const config = parseConfig(text, { readFile: () => '' });
  if (Array.isArray(config)) throw new Error(config.join('\n'));
  return config;
}

/** Values of the chart. */
async function runValues(object: unknown): Promise<void> {
  const given = isObject(object) ? object : {};
  expect(Object.keys(values)).toEqual(expect.arrayContaining(Object.keys(given)));
  await helm(['template', 'operator', CHART, ...fromInput], given);
  counts.run += 1;
}

interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly [field: string]: unknown;
}

const isManifest = (object: unknown): object is Manifest =>
  isObject(object) && 'apiVersion' in object && 'kind' in object;

async function runManifest(page: string, object: Manifest, text: string): Promise<void> {
  const [group = ''] = object.apiVersion.split('/');
  if (FOREIGN.test(group)) {
    counts['parsed only'] += 1;
    return;
  }
  const isCluster = page === CLUSTER_PAGE && object.kind === 'ClusterConvercusCredential';
  if (object.kind === 'ConvercusCredential') await cluster.credential(object, text);
  else if (isCluster) await cluster.clusterCredential(object, text);
  else if (object.kind === 'Secret') await cluster.apply(JSON.stringify(withValues(object)));
  else await cluster.apply(text, '--dry-run=server');
  counts.run += 1;
}

/** `…` in a Secret stands for what the reader knows. */
function withValues(object: Manifest): Manifest {
  const { stringData } = object;
  if (!isObject(stringData)) return object;
  const known = Object.keys(stringData).map((key) => [key, cluster.values[key]]);
  return { ...object, stringData: Object.fromEntries(known) };
}

async function runBlock(block: Block): Promise<void> {
  const { language, text, excuse: reason, page, line } = block;
  if (reason !== undefined) excuse(`${page}:${line}`, reason);
  else if (language === 'sh') await runShell(text);
  else if (language === 'console') await runConsole(text);
  else if (language === 'yaml') await runYaml(block);
  else expect(language).toMatch(/^(text|mermaid)$/);
}

async function runInline(page: string, command: string): Promise<void> {
  const [, reason] = NOT_RUN.find(([pattern]) => pattern.test(command)) ?? [];
  if (reason !== undefined) return excuse(`${page} \`${command}\``, reason);
  const dryRun = command.includes('--server-side')
    ? '--dry-run=server --force-conflicts'
    : '--dry-run=server';
  await runShell(command.replace(/^kubectl apply/, `kubectl apply ${dryRun}`));
}

describe.each(PAGES)('%s', (page) => {
  let blocks: Block[] = [];
  let spans: string[] = [];

  beforeAll(async () => {
    const markdown = await readPage(page);
    blocks = blocksOf(page, markdown);
    spans = codeSpans(markdown).filter((span) => /^(kubectl|helm) /.test(span));
    if (blocks.length + spans.length === 0) return;
    if (FIRST.includes(page)) await cluster.uninstall();
    await cluster.clear();
    if (!FRESH.includes(page)) await cluster.furnish();
  });

  it('has no block that fails, and none that is neither run nor excused', async () => {
    for (const block of blocks) {
      await runBlock(block).catch((error: unknown) => {
        throw new Error(`${page}:${block.line}`, { cause: error });
      });
    }
  }, 600_000);

  it('has no command in its text that fails', async () => {
    if (spans.length > 0 && page !== LAST) await cluster.furnish();
    for (const span of spans) {
      await runInline(page, span).catch((error: unknown) => {
        throw new Error(`${page}: ${span}`, { cause: error });
      });
    }
  }, 600_000);
});
