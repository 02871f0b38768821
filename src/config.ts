import { X509Certificate } from 'node:crypto';
import { parseDocument } from 'yaml';
import { z } from 'zod';
import type { RenewalPolicy } from './domain/credential.ts';
import { BUILT_IN_ENVIRONMENTS, type Environment, type Environments } from './domain/environment.ts';
import { type Ms, seconds } from './domain/time.ts';

/** The configuration file, complete and in our units. */
export interface Config {
  readonly environments: Environments;
  /** No namespaces: the whole cluster. */
  readonly watch: { readonly namespaces: readonly string[]; readonly selector: string };
  readonly workers: number;
  readonly leaderElection: {
    readonly enabled: boolean;
    readonly name: string;
    readonly namespace: string;
    readonly lease: Ms;
    readonly renew: Ms;
    readonly retry: Ms;
  };
  readonly tokenHosts: {
    /** 0: without a limit. */
    readonly requestsPerSecond: number;
    readonly burst: number;
    readonly concurrency: number;
    readonly passwordLoginsPerSecond: number;
    readonly connectTimeout: Ms;
    readonly timeout: Ms;
  };
  readonly renewal: RenewalPolicy;
  readonly operations: { readonly host: string; readonly port: number };
  readonly log: {
    readonly level: 'error' | 'warn' | 'info' | 'debug';
    readonly format: 'json' | 'text';
  };
}

export interface Checks {
  /** @throws when there is no such file or it may not be read */
  readonly readFile: (path: string) => string;
  /** Where the Lease goes when none is configured; `default` when absent. */
  readonly namespace?: string;
}

/**
 * The configuration, or every problem with it: the path and what to write there.
 * @param text YAML, or undefined for the defaults
 */
export function parseConfig(text: string | undefined, checks: Checks): Config | string[] {
  const document = parseDocument(text ?? '', { prettyErrors: true });
  if (document.errors.length > 0) return document.errors.map(({ message }) => firstLine(message));
  try {
    return validate(document.toJS({ reviver: dropNull }), checks);
  } catch (error) {
    return [error instanceof Error ? firstLine(error.message) : 'the YAML cannot be read'];
  }
}

/** A key without a value is one that was not written, as in a section whose lines are all commented out. */
const dropNull = (_: unknown, value: unknown): unknown => value ?? undefined;

const firstLine = (text: string): string => text.split('\n', 1)[0]?.replace(/:$/, '') ?? '';

function validate(raw: unknown, checks: Checks): Config | string[] {
  const parsed = schemaWith(checks).safeParse(withBuiltIns(raw ?? {}));
  return parsed.success
    ? parsed.data
    : parsed.error.issues.map(({ path, message }) => `${path.join('.') || 'file'}: ${message}`);
}

/** A built-in environment is kept but for what is written of it. */
function withBuiltIns(raw: unknown): unknown {
  if (!isObject(raw)) return raw;
  const written = raw['environments'] ?? {};
  if (!isObject(written)) return raw;
  const environments: Record<string, unknown> = { ...written };
  for (const { name, ...builtIn } of BUILT_IN_ENVIRONMENTS) {
    const own = written[name] ?? {};
    environments[name] = isObject(own) ? { ...builtIn, ...own } : own;
  }
  return { ...raw, environments };
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

// Every schema says in one sentence what to write, whatever is wrong

function text(pattern: RegExp, error: string) {
  return z.string({ error }).regex(pattern, { error });
}

function number(from: number, to: number) {
  const error = `write a number from ${from} to ${to}`;
  return z.number({ error }).min(from, { error }).max(to, { error });
}

function wholeNumber(from: number, to: number) {
  const error = `write a whole number from ${from} to ${to}`;
  return z.int({ error }).min(from, { error }).max(to, { error });
}

const duration = (from: number, to: number) => number(from, to).transform(seconds);

const flag = z.boolean({ error: 'write true or false' });

const oneOf = <const T extends string>(...names: T[]) =>
  z.enum(names, { error: `write one of: ${names.join(', ')}` });

const DNS_LABEL = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
