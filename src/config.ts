import { X509Certificate } from 'node:crypto';
import { parseDocument, stringify } from 'yaml';
import * as z from 'zod';
import { timesTooLong } from './controller/lease.ts';
import { DNS_SUBDOMAIN, selectorProblem } from './kubernetes/label-selector.ts';
import { isObject, listAt, member } from './lib/json.ts';
import { type Ms, seconds } from './lib/time.ts';
import { BUILT_IN_ENVIRONMENTS, type Environments } from './oauth/environment.ts';

export interface Checks {
  readonly readFile: (path: string) => string;
  /** That the operator runs in: of the Lease and the credentials Secrets when none is configured. Absent: unknown. */
  readonly namespace?: string | undefined;
}

/** The configuration with all defaults. Times are in milliseconds, without `Seconds` in their names. */
export type Config = Readonly<z.output<ReturnType<typeof schemaWith>>>;

/**
 * The configuration, or all problems with it, each with its path and what to write there.
 * @param text YAML, or undefined for the defaults
 */
export function parseConfig(text: string | undefined, checks: Checks): Config | string[] {
  const document = parseDocument(text ?? '');
  try {
    if (document.errors.length > 0) return document.errors.map(({ message }) => firstLine(message));
    const raw: unknown = document.toJS({ reviver: dropEmpty }) ?? {};
    const { data, error } = schemaWith(checks).safeParse(withBuiltIns(raw));
    if (data !== undefined) return data;
    return error.issues.map(({ path, message }) => `${path.join('.') || 'the file'}: ${message}`);
  } catch (error) {
    return [firstLine(String(error))];
  }
}

/** A configuration file with all keys, which reads as this configuration. */
export function configText(config: Config): string {
  const { environments, leaderElection, tokenHosts, renewal, ...others } = config;
  const { lease, renew, retry, ...election } = leaderElection;
  const { connectTimeout, timeout, ...limits } = tokenHosts;
  const { minimum, ...percents } = renewal;
  const each = Array.from(environments.values(), ({ name, ...rest }) => [name, rest] as const);
  const file = {
    environments: Object.fromEntries(each),
    ...others,
    leaderElection: {
      ...election,
      leaseSeconds: inSeconds(lease),
      renewSeconds: inSeconds(renew),
      retrySeconds: inSeconds(retry),
    },
    tokenHosts: {
      ...limits,
      connectTimeoutSeconds: inSeconds(connectTimeout),
      timeoutSeconds: inSeconds(timeout),
    },
    renewal: { ...percents, minimumSeconds: inSeconds(minimum) },
  };
  return stringify(file, { lineWidth: 0 });
}

const inSeconds = (time: Ms): number => time / seconds(1);

/** A key without a value counts as absent, for example a section whose lines are all commented out. */
const dropEmpty = (_: unknown, value: unknown): unknown =>
  value === '' ? undefined : (value ?? undefined);
const firstLine = (text: string): string => text.replace(/:?\n[^]*/, '');

/** Keys that are written for a built-in environment replace its own one by one. */
function withBuiltIns(raw: unknown): unknown {
  if (!isObject(raw)) return raw;
  const { environments: written = {} } = raw;
  if (!isObject(written)) return raw;
  const builtIn = BUILT_IN_ENVIRONMENTS.map(({ name, ...known }) => {
    const own = Object.hasOwn(written, name) ? written[name] : {};
    return [name, isObject(own) ? { ...known, ...own } : own];
  });
  return { ...raw, environments: { ...written, ...Object.fromEntries(builtIn) } };
}

function schemaWith({ readFile, namespace }: Checks) {
  return section({
    environments: environments(readFile),
    watch: section({
      namespaces: z
        .array(text(LABEL, 'write the name of a namespace'), 'write a list')
        .check(isUnique)
        .default([]),
      selector: z.string(SELECTOR).check(isSelector).default(''),
    }).prefault({}),
    workers: wholeNumber(1, 1_000).default(16),
    leaderElection: leaderElection(namespace ?? 'default').prefault({}),
    clusterCredentials: clusterCredentials(namespace ?? '').prefault({}),
    tokenHosts: section({
      requestsPerSecond: number(0, 10_000).default(5),
      burst: wholeNumber(1, 10_000).default(10),
      concurrency: wholeNumber(1, 1_000).default(4),
      passwordLoginsPerSecond: number(0, 10_000).default(1),
      connectTimeoutSeconds: number(0.1, 300).default(3),
      timeoutSeconds: number(0.1, 300).default(10),
    })
      .transform(({ connectTimeoutSeconds, timeoutSeconds, ...rest }) => ({
        ...rest,
        connectTimeout: seconds(connectTimeoutSeconds),
        timeout: seconds(timeoutSeconds),
      }))
      .prefault({}),
    renewal: renewal.prefault({}),
    operations: section({
      host: text(/./, 'write an address to listen on').default('::'),
      port: wholeNumber(0, 65_535).default(8080),
      probePort: wholeNumber(0, 65_535).optional(),
    }).prefault({}),
    metrics: section({ perCredential: flag.default(true) }).prefault({}),
    log: section({
      level: oneOf('error', 'warn', 'info', 'debug').default('info'),
      format: oneOf('json', 'text').default('json'),
      audit: flag.default(false),
    }).prefault({}),
  }).refine((config) => !isForSomeNamespaces(config), {
    ...rule('enabled', 'false, or leave watch.namespaces empty'),
    path: ['clusterCredentials', 'enabled'],
  });
}

/** An object without unknown keys. Each schema below has one message for all faults: it says what to write. */
function section<T extends z.ZodRawShape>(shape: T) {
  const known = Object.keys(shape).join(', ');
  return z.strictObject(shape, {
    error: ({ code, keys }) =>
      code === 'unrecognized_keys'
        ? `unknown key ${JSON.stringify(keys).slice(1, -1)}; known are: ${known}`
        : `write a section with the keys: ${known}`,
  });
}

function number(from: number, to: number) {
  const error = `write a number from ${from} to ${to}`;
  return z.number(error).min(from, error).max(to, error);
}

const wholeNumber = (from: number, to: number) => number(from, to).int('write a whole number');
const text = (pattern: RegExp, error: string) => z.string(error).regex(pattern, error);
const flag = z.boolean('write true or false');
const oneOf = <const T extends string[]>(...names: T) =>
  z.enum(names, `write one of: ${names.join(', ')}`);

/** A namespace that is listed twice would be watched twice. */
function isUnique({ value, issues }: z.core.ParsePayload<string[]>): void {
  const twice = new Set(value.filter((name, at) => value.indexOf(name) < at));
  for (const name of twice) {
    issues.push({ code: 'custom', input: value, message: `write "${name}" only once` });
  }
}

const SELECTOR = 'write a label selector, such as team=shop';

function isSelector({ value, issues }: z.core.ParsePayload<string>): void {
  const problem = selectorProblem(value);
  if (problem === undefined) return;
  issues.push({ code: 'custom', input: value, message: `${SELECTOR}: ${problem}` });
}

/** A rule over several fields runs even if one of them is wrong, so it must accept any values. */
const rule = (field: string, write: string) => ({
  error: `write ${write}`,
  path: [field],
  when: () => true,
});

const LABEL = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;

const isShort =
  (time: 'renewDeadline' | 'retryPeriod') =>
  (s: Readonly<Record<'leaseSeconds' | 'renewSeconds' | 'retrySeconds', number>>): boolean =>
    !timesTooLong({
      leaseDuration: seconds(s.leaseSeconds),
      renewDeadline: seconds(s.renewSeconds),
      retryPeriod: seconds(s.retrySeconds),
    }).includes(time);

const leaderElection = (namespace: string) =>
  section({
    enabled: flag.default(true),
    name: text(DNS_SUBDOMAIN, 'write a name for the Lease').default('convercus-operator'),
    namespace: text(LABEL, 'write the name of a namespace').default(namespace),
    leaseSeconds: wholeNumber(1, 3_600).default(15),
    renewSeconds: number(0.5, 3_600).default(10),
    retrySeconds: number(0.1, 3_600).default(2),
  })
    .refine(isShort('renewDeadline'), rule('renewSeconds', 'less than leaseSeconds'))
    .refine(isShort('retryPeriod'), rule('retrySeconds', 'less than renewSeconds / 1.2'))
    .transform(({ leaseSeconds, renewSeconds, retrySeconds, ...rest }) => ({
      ...rest,
      lease: seconds(leaseSeconds),
      renew: seconds(renewSeconds),
      retry: seconds(retrySeconds),
    }));

/** Of the kind ClusterConvercusCredential: whether it is served, and where its credentials Secrets are. */
const clusterCredentials = (namespace: string) =>
  section({
    enabled: flag.default(false),
    namespace: text(LABEL, 'write the name of a namespace').or(z.literal('')).default(namespace),
  }).refine(
    (s) => !s.enabled || s.namespace !== '',
    rule('namespace', 'the namespace of the credentials Secrets, or set POD_NAMESPACE'),
  );

/** Which namespaces there are is known from a watch of all, which a release for some of them may not have. */
const isForSomeNamespaces = (config: unknown): boolean =>
  member(config, 'clusterCredentials', 'enabled') === true &&
  listAt(config, 'watch', 'namespaces').length > 0;

const renewal = section({
  percent: number(10, 95).default(80),
  jitterPercent: number(0, 20).default(5),
  // At most a third of the shortest token of Convercus: with more, a renewal that is two retries late misses the expiry
  minimumSeconds: number(1, 600).default(30),
})
  .refine((s) => !(s.percent + s.jitterPercent > 99), rule('jitterPercent', 'at most 99 - percent'))
  .transform(({ minimumSeconds, ...rest }) => ({ ...rest, minimum: seconds(minimumSeconds) }));

function environments(readFile: Checks['readFile']) {
  const fileError = 'write the path of a readable file with PEM certificates';
  const each = section({
    realm: text(/^[\w.-]*\{program\}[\w.-]*$/, 'write a name with {program} in it'),
    tokenUrl: url('{realm}', ' and with {realm} in its path'),
    loginUrl: url('', '').optional(),
    apiUrl: url('', '').transform((text) => text.replace(/\/+$/, '')),
    insecureHttp: flag.default(false),
    caFile: text(/^/, fileError)
      .refine((path) => path === '' || holdsCertificate(path, readFile), fileError)
      .default(''),
  })
    .refine(
      ({ insecureHttp, ...given }) => insecureHttp || !Object.values(given).some(isHttp),
      rule('insecureHttp', 'true to allow http:// URLs, or make them https://'),
    )
    .transform((each) => ({ ...each, loginUrl: each.loginUrl ?? `${each.apiUrl}/auth/login` }));
  return z
    .record(z.string().regex(LABEL), each, 'write sections with lower-case names')
    .transform(
      (all): Environments =>
        new Map(Object.entries(all).map(([name, rest]) => [name, { name, ...rest }])),
    );
}

const isHttp = (value: unknown): boolean => typeof value === 'string' && /^http:/i.test(value);

/** The realm may come from a tenant, so its placeholder may not stand in the host. */
function url(placeholder: '' | '{realm}', more: string) {
  const error = `write an absolute URL without credentials, query or fragment${more}`;
  const isFit = (url: string): boolean => {
    if (!/^https?:\/\/[^\s?#]+$/i.test(url) || !URL.canParse(url)) return false;
    const { username, password, host } = new URL(url);
    const isPlain = !/[{}]/.test(host + url.replaceAll(placeholder, ''));
    return isPlain && username + password === '' && url.includes(placeholder);
  };
  return z.string(error).refine(isFit, error);
}

function holdsCertificate(path: string, readFile: Checks['readFile']): boolean {
  try {
    void new X509Certificate(readFile(path));
    return true;
  } catch {
    return false;
  }
}
