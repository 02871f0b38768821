import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Known bugs that can be put back. A mutant is a file `NAME.json` here, with a description and replacements for texts
 * of src. hook.ts replaces the texts when modules are loaded; no file is changed.
 */
export interface Mutant {
  readonly what: string;
  readonly edits: readonly {
    readonly file: string;
    readonly find: string;
    readonly replace: string;
  }[];
}

export const mutantNames = (): string[] =>
  readdirSync(import.meta.dirname)
    .filter((name) => name.endsWith('.json'))
    .map((name) => name.replace('.json', ''))
    .sort();

/** Arguments of node that load the mutant. @throws for an unknown name */
export function mutantArguments(name: string | undefined): string[] {
  if (name === undefined) return [];
  if (!mutantNames().includes(name)) throw new Error(`no such mutant: ${name}`);
  process.env['SIMULATION_MUTANT'] = name;
  return ['--import', join(import.meta.dirname, 'hook.ts')];
}

/** Runs this program again, with the mutant. */
export function withMutant(name: string, [script = '', ...args]: readonly string[]): number {
  const rest = args.filter((arg, at) => arg !== '--mutant' && args[at - 1] !== '--mutant');
  const { status } = spawnSync(process.execPath, [...mutantArguments(name), script, ...rest], {
    stdio: 'inherit',
  });
  return status ?? 1;
}
