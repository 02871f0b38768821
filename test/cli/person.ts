import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from '@jest/globals';
import { parseAllDocuments, stringify } from 'yaml';
import { type ControlPlane, startControlPlane } from '../../dev/envtest/control-plane.ts';
import { AUDIT_OPERATOR } from '../../dev/testbed/audit.ts';
import { leaks } from '../../dev/testbed/leaks.ts';
import { localStaging, OPERATOR_NAMESPACE, OPERATOR_USER } from '../../dev/testbed/operator.ts';
import type { Tenant } from '../../dev/testbed/tenant.ts';
import { Testbed } from '../../dev/testbed/testbed.ts';
import type { Finished, Host } from '../../src/cli/host.ts';
import { runCli } from '../../src/cli/program.ts';

/** Everything that the CLI has printed in this process: none of it may hold a secret. */
export const printedSoFar: string[] = [];

export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

export interface PersonOptions {
  readonly kubeconfig?: string;
  readonly namespace?: string;
  /** A terminal, and what is typed there, one answer a question. */
  readonly types?: readonly string[];
  readonly input?: string;
  /** Where standard error goes when it is no terminal. */
  readonly errors?: 'file';
  readonly now?: () => number;
  /** Ctrl-C. */
  readonly signal?: AbortSignal;
  /** In place of other programs. */
  readonly run?: (command: string, args: readonly string[]) => Promise<Finished>;
}

/** Runs the CLI in this process, as a person with that kubeconfig. */
export class Person {
  readonly #options: PersonOptions;

  constructor(options: PersonOptions) {
    this.#options = options;
  }

  with(options: PersonOptions): Person {
    return new Person({ ...this.#options, ...options });
  }

  async cli(...args: readonly string[]): Promise<Ran> {
    const { kubeconfig, namespace } = this.#options;
    const told = { out: '', err: '' };
    const flags = [
      ...(kubeconfig === undefined || args.includes('--kubeconfig')
        ? []
        : ['--kubeconfig', kubeconfig]),
      ...(namespace === undefined || args.includes('-n') || args.includes('-A')
        ? []
        : ['-n', namespace]),
    ];
    const code = await runCli([...args, ...flags], this.#host(told));
    printedSoFar.push(...(args[0] === 'token' ? [told.err] : [told.out, told.err]));
    return { code, ...told };
  }

  #host(told: { out: string; err: string }): Host {
    const { types, input = '', errors, now = Date.now, run, signal } = this.#options;
    const answers = [...(types ?? [])];
    return {
      out: (text) => {
        told.out += text;
      },
      err: (text) => {
        told.err += text;
      },
      isTerminal: types !== undefined,
      canAsk: types !== undefined && errors !== 'file',
      isInputTerminal: types !== undefined,
      env: { NO_COLOR: '1' },
      now,
      sleep: async (time) => {
        await sleep(time, undefined, signal === undefined ? {} : { signal });
      },
      ask: async (question) => {
        told.err += question;
        return answers.shift() ?? '';
      },
      readInput: async () => input,
      run: run ?? (async () => ({ code: undefined, stdout: '', stderr: '' })),
      signal: signal ?? new AbortController().signal,
    };
  }
}

export type Role = 'viewer' | 'editor' | 'stranger';
const ROLES: readonly Role[] = ['viewer', 'editor', 'stranger'];

/** An operator on a real API server, and users with the roles `view` and `edit` and with none. */
export async function testbedWithPeople(clusterCredentials = false): Promise<Testbed> {
  const users = [OPERATOR_USER, ...ROLES].map((name) => ({ name }));
  const testbed = await Testbed.start({
    controlPlane: () => startControlPlane({ users, auditPolicy: AUDIT_OPERATOR }),
    operators: [],
    clusterCredentials,
  });
  await grantRoles(testbed.controlPlane);
  const config = testConfig(testbed.provider.url, clusterCredentials);
  await testbed.startOperator({ config });
  return testbed;
}

/** The environment `down` has a host on which nothing listens. */
export const testConfig = (
  providerUrl: string,
  clusterCredentials = false,
): Record<string, unknown> => ({
  ...(clusterCredentials
    ? { clusterCredentials: { enabled: true, namespace: OPERATOR_NAMESPACE } }
    : {}),
  environments: {
    ...localStaging(providerUrl),
    down: {
      realm: '{program}-down',
      tokenUrl: 'http://127.0.0.1:1/realms/{realm}/protocol/openid-connect/token',
      apiUrl: 'http://127.0.0.1:1',
      insecureHttp: true,
    },
  },
});

export const personWith = (
  { controlPlane }: Testbed,
  role: Role | 'admin',
  namespace?: string,
): Person =>
  new Person({
    kubeconfig: role === 'admin' ? controlPlane.adminKubeconfig : controlPlane.userKubeconfig(role),
    ...(namespace === undefined ? {} : { namespace }),
  });

/** Nothing aggregates ClusterRoles here, so the parts of `view` and `edit` are bound one by one. */
async function grantRoles(controlPlane: ControlPlane): Promise<void> {
  const install = await readFile(join(import.meta.dirname, '../../deploy/install.yaml'), 'utf8');
  const ours = parseAllDocuments(install)
    .map((document) => document.toJS())
    .filter((object) => object?.metadata?.labels?.['rbac.authorization.k8s.io/aggregate-to-edit']);
  const isView = (role: Labelled) =>
    role.metadata.labels['rbac.authorization.k8s.io/aggregate-to-view'] !== undefined;
  const named = (roles: readonly Labelled[]) => roles.map(({ metadata }) => metadata.name);
  const parts = {
    viewer: ['system:aggregate-to-view', ...named(ours.filter(isView))],
    editor: ['system:aggregate-to-view', 'system:aggregate-to-edit', ...named(ours)],
  };
  const bindings = Object.entries(parts).flatMap(([user, roles]) =>
    roles.map((role) => ({
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRoleBinding',
      metadata: { name: `${user}-${role.replaceAll(':', '-')}` },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: role },
      subjects: [{ kind: 'User', name: user, apiGroup: 'rbac.authorization.k8s.io' }],
    })),
  );
  const input = [...ours, ...bindings].map((object) => stringify(object)).join('---\n');
  await controlPlane.kubectl(['apply', '-f', '-'], { input });
}

interface Labelled {
  readonly metadata: { readonly name: string; readonly labels: Record<string, string> };
}

/** Of all that was printed, but by `token`. */
export async function expectNoSecretIn(testbed: Testbed, tenant: Tenant): Promise<void> {
  const text = await tenant.kubectl('get', 'secrets', '-o', 'json');
  const { items }: { items: { data?: Record<string, string> }[] } = JSON.parse(text);
  const values = items.flatMap(({ data = {} }) =>
    Object.values(data).map((value) => Buffer.from(value, 'base64').toString()),
  );
  const places = new Map([['what was printed', printedSoFar.join('\n')]]);
  expect(leaks(places, [...testbed.secrets, ...values])).toEqual([]);
}
