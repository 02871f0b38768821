import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { parse } from 'yaml';
import { ensureTool } from '../../dev/packaging/tools.ts';
import type { ConvercusCredential } from '../../src/credential/api.ts';
import { clusterStatusFor } from '../../src/credential/cluster-status.ts';
import { instanceIn } from '../../src/credential/instance.ts';
import { type Attempt, type Outcome, statusFor } from '../../src/credential/status.ts';
import { Failure, type FailureKind } from '../../src/lib/failure.ts';
import { minutes } from '../../src/lib/time.ts';
import { aCredential, aMark, START } from '../support/builders.ts';
import { aClusterCredential } from '../support/cluster-world.ts';
import { BUILD_TIME, ROOT, run } from './render.ts';

const NOW = START + minutes(1);
const AFTER_EXPIRY = START + minutes(5);

const failed = (kind: FailureKind): Attempt => ({ failed: new Failure(kind, `It is ${kind}`) });

/** A credential with the status that the operator itself writes. */
function after(outcome: Partial<Outcome>, now = NOW): ConvercusCredential {
  const suspended = outcome.suspended ?? false;
  const resource = aCredential({ metadata: { generation: 3 }, spec: { suspend: suspended } });
  const status = statusFor(
    {
      resource,
      targetName: 'loyalty-token',
      targetVersion: '7',
      currentToken: aMark(),
      suspended,
      handledRenewRequest: undefined,
      rejection: undefined,
      attempt: undefined,
      ...outcome,
    },
    now,
  );
  return { ...resource, status };
}

const valid = after({ attempt: { renewed: 'RenewalDue' } });
const changed = { ...valid, metadata: { ...valid.metadata, generation: 4 } };
const TOKEN = 'Secret "loyalty-token" holds a valid token';

const SAMPLES: readonly [what: string, ConvercusCredential, argo: string, kstatus: string][] = [
  ['a valid token', valid, `Healthy: ${TOKEN}`, 'Current'],
  [
    'a valid token whose renewal fails for now',
    after({ attempt: failed('NetworkError') }),
    `Healthy: ${TOKEN}. The latest renewal failed: It is NetworkError`,
    'Current',
  ],
  [
    'a valid token that will not be renewed without a person',
    after({ attempt: failed('ClientSecretRejected') }),
    'Degraded: It is ClientSecretRejected The client secret is in Secret "convercus-abc", key "client_secret".',
    'Failed',
  ],
  [
    'no token yet, for a reason that may pass',
    after({ currentToken: undefined, attempt: failed('ServerUnavailable') }),
    'Progressing: It is ServerUnavailable',
    'InProgress',
  ],
  [
    'no token and a wrong spec',
    after({ currentToken: undefined, attempt: failed('InvalidSpec') }),
    'Degraded: It is InvalidSpec',
    'Failed',
  ],
  [
    'an expired token',
    after({ attempt: failed('NetworkError') }, AFTER_EXPIRY),
    'Degraded: The token in Secret "loyalty-token" has expired: NetworkError (see Renewed)',
    'InProgress',
  ],
  ['a suspended one', after({ suspended: true }), 'Suspended: spec.suspend is true', 'Current'],
  [
    'a spec that was just changed',
    changed,
    'Progressing: The operator has not seen this yet',
    'InProgress',
  ],
  [
    'a resource that was not reconciled yet',
    aCredential({ status: { observedGeneration: -1 } }),
    'Progressing: The operator has not seen this yet',
    'InProgress',
  ],
];

let glua: string;
let kstatus: string;
let dir: string;

beforeAll(async () => {
  glua = await ensureTool('glua', console.log);
  kstatus = await ensureTool('kstatus', console.log);
  dir = await mkdtemp(join(tmpdir(), 'argocd-'));
}, BUILD_TIME);

afterAll(async () => {
  if (dir !== undefined) await rm(dir, { recursive: true, force: true });
});

/** The script in docs/argocd.md. */
async function customization(
  of: 'health' | 'actions',
  kind = 'ConvercusCredential',
): Promise<string> {
  const page = await readFile(join(ROOT, 'docs/argocd.md'), 'utf8');
  const { data } = parse(/```yaml\n([^]*?)```/.exec(page)?.[1] ?? '');
  return data[`resource.customizations.${of}.convercus.io_${kind}`];
}

interface Actions {
  readonly 'discovery.lua': string;
  readonly definitions: readonly { readonly name: string; readonly 'action.lua': string }[];
}

const argoActions = async (): Promise<Actions> => parse(await customization('actions'));

/** With the two functions of `os` that Argo CD leaves to actions. @param print what is told of `result` */
async function runAction(script: string, resource: object, print: string): Promise<string> {
  const file = join(dir, 'action.lua');
  const lines = [
    'io, string, os = nil, nil, {date = os.date, time = os.time}',
    `obj = ${luaOf(resource)}`,
    `local result = (function()\n${script}\nend)()`,
    `print(${print})`,
  ];
  await writeFile(file, lines.join('\n'));
  return (await run(glua, [file])).trim();
}

/** Runs it as Argo CD does: the resource in the global `obj`, without the libraries that Argo CD disables. */
async function argoHealth(resource: object): Promise<string> {
  const file = join(dir, 'health.lua');
  const lines = [
    'io, os, string = nil, nil, nil',
    `obj = ${luaOf(resource)}`,
    `local health = (function()\n${await customization('health')}\nend)()`,
    'print(health.status .. ": " .. health.message)',
  ];
  await writeFile(file, lines.join('\n'));
  return (await run(glua, [file])).trim();
}

function luaOf(value: unknown): string {
  if (Array.isArray(value)) return `{${value.map(luaOf).join(', ')}}`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const fields = Object.entries(value).filter(([, each]) => each !== undefined);
  return `{${fields.map(([key, each]) => `[${JSON.stringify(key)}] = ${luaOf(each)}`).join(', ')}}`;
}

describe.each(SAMPLES)('%s', (_, resource, argo, expected) => {
  it(`is ${argo.split(':')[0]} for Argo CD`, async () => {
    expect(await argoHealth(resource)).toBe(argo);
  });

  it(`is ${expected} for kstatus`, async () => {
    const object = {
      apiVersion: 'convercus.io/v1alpha1',
      kind: 'ConvercusCredential',
      ...resource,
    };
    expect(await run(kstatus, [], JSON.stringify(object))).toBe(expected);
  });
});

/** The status of instances is that of a credential. */
function clusterAfter(...outcomes: Partial<Outcome>[]): object {
  const resource = aClusterCredential({ metadata: { generation: 3 } });
  const instances = outcomes.map((outcome, at) => {
    const namespace = { name: `shop-${at}`, isTerminating: false };
    const { status = {} } = after(outcome);
    return { ...instanceIn(resource, namespace, 'convercus-operator'), status };
  });
  const status = clusterStatusFor({ resource, instances, missing: [] }, NOW);
  return {
    apiVersion: 'convercus.io/v1alpha1',
    kind: 'ClusterConvercusCredential',
    ...resource,
    status,
  };
}

const RENEWED = { attempt: { renewed: 'RenewalDue' } } as const;

describe.each<[what: string, resource: object, argo: string, kstatus: string]>([
  [
    'a cluster credential',
    clusterAfter(RENEWED, RENEWED),
    'Healthy: 2 of 2 namespaces hold a valid token',
    'Current',
  ],
  [
    'a cluster credential that has no token in one namespace yet',
    clusterAfter(RENEWED, { currentToken: undefined, attempt: failed('TargetRefused') }),
    'Progressing: In 1 of 2 namespaces: It is TargetRefused',
    'InProgress',
  ],
  [
    'a cluster credential whose target is not its own in one namespace',
    clusterAfter(RENEWED, { currentToken: undefined, attempt: failed('TargetNotOurs') }),
    'Degraded: In 1 of 2 namespaces: It is TargetNotOurs',
    'Failed',
  ],
  [
    'a cluster credential that selects nothing',
    clusterAfter(),
    'Progressing: No namespace matches: spec.namespaceSelector selects none, and of spec.namespaces none exists',
    'InProgress',
  ],
])('%s', (_, resource, argo, expected) => {
  it(`is ${argo.split(':')[0]} for Argo CD, and ${expected} for kstatus`, async () => {
    expect(await argoHealth(resource)).toBe(argo);
    expect(await run(kstatus, [], JSON.stringify(resource))).toBe(expected);
  });
});

it.each(['health', 'actions'] as const)('%s of both kinds is the same text', async (part) => {
  const text = await customization(part);
  expect(await customization(part, 'ClusterConvercusCredential')).toBe(text);
  expect(text).toContain('spec.suspend');
});

describe('actions of Argo CD', () => {
  const suspended = after({ suspended: true });

  const script = async (name: string): Promise<string> =>
    (await argoActions()).definitions.find((each) => each.name === name)?.['action.lua'] ?? '';

  it('are offered where they make sense', async () => {
    const { 'discovery.lua': discovery } = await argoActions();
    const offered = (resource: object) =>
      runAction(
        discovery,
        resource,
        'result.renew.disabled, result.suspend.disabled, result.resume.disabled',
      );
    expect(await offered(valid)).toBe('false\tfalse\ttrue');
    expect(await offered(suspended)).toBe('true\ttrue\tfalse');
  });

  it('renew with a new value of the annotation', async () => {
    const annotation = 'result.metadata.annotations["convercus.io/renew-requested-at"]';
    const value = await runAction(await script('renew'), valid, annotation);
    expect(value).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    expect(Math.abs(Date.parse(value) - Date.now())).toBeLessThan(minutes(5));
  });

  it('suspend and resume', async () => {
    expect(await runAction(await script('suspend'), valid, 'result.spec.suspend')).toBe('true');
    expect(await runAction(await script('resume'), suspended, 'result.spec.suspend')).toBe('false');
  });
});
