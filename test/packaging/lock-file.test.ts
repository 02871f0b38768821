import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { ROOT } from './render.ts';

interface LockedPackage {
  readonly version: string;
  readonly integrity?: string;
  readonly resolved?: string;
  readonly hasInstallScript?: boolean;
  readonly dev?: boolean;
  readonly engines?: { readonly node?: string };
}

const read = (path: string): Promise<string> => readFile(join(ROOT, path), 'utf8');
const text = await read('package-lock.json');
const { packages }: { packages: Record<string, LockedPackage> } = JSON.parse(text);
const manifest = JSON.parse(await read('package.json'));
/** All but the project itself. */
const locked = Object.entries(packages).filter(([folder]) => folder !== '');

describe('package-lock.json', () => {
  it('has a sha512 of every package, also of those for other platforms', () => {
    const without = locked.filter(([, { integrity = '' }]) => !/^sha512-\S+==$/.test(integrity));
    expect(without.map(([folder]) => folder)).toEqual([]);
    expect(locked.length).toBeGreaterThan(100);
  });

  it('names no host, so that each installs from the registry that npm is configured with', () => {
    expect(locked.filter(([, { resolved }]) => resolved !== undefined)).toEqual([]);
    expect(text).not.toMatch(/"resolved"|registry\./);
  });

  it('has the version that package.json names, for every direct dependency', () => {
    const { dependencies, devDependencies, optionalDependencies } = manifest;
    const direct: Record<string, string> = {
      ...dependencies,
      ...devDependencies,
      ...optionalDependencies,
    };
    const found = Object.keys(direct).map((name) => [
      name,
      packages[`node_modules/${name}`]?.version,
    ]);
    expect(Object.fromEntries(found)).toEqual(direct);
  });
});

/** The lowest version of a range such as `>=22.19` or `^20.9 || >=22`, of those from the lowest that it may start at. */
const lowest = (range: string): number[] => numbers(/\d[\d.]*/.exec(range)?.[0] ?? '0');
const numbers = (version: string): number[] => version.split('.').map(Number);

/** Whether one of the alternatives of the range takes the version, as npm reads `>=`, `^`, `~` and plain majors. */
function takes(range: string, version: readonly number[]): boolean {
  return range.split('||').some((alternative) => {
    const floor = lowest(alternative);
    const isOpen = />=/.test(alternative) || /^\s*\*?\s*$/.test(alternative);
    return isAtLeast(version, floor) && (isOpen || version[0] === floor[0]);
  });
}

function isAtLeast(version: readonly number[], floor: readonly number[]): boolean {
  const at = floor.findIndex((part, index) => part !== (version[index] ?? 0));
  return at < 0 || (version[at] ?? 0) > (floor[at] ?? 0);
}

describe('engines of package.json', () => {
  const node: string = manifest.engines.node;
  const production = locked.filter(([, { dev }]) => dev !== true);

  it('takes no Node that a production dependency refuses', () => {
    const refused = production.filter(
      ([, { engines }]) => !takes(engines?.node ?? '*', lowest(node)),
    );
    expect(refused.map(([folder, { engines }]) => `${folder}: ${engines?.node}`)).toEqual([]);
    expect(
      production.filter(([, { engines }]) => engines?.node !== undefined).length,
    ).toBeGreaterThan(10);
  });

  it.each([
    ['>=22.19.0', '20.20.2', false],
    ['>=22.19.0', '22.19', true],
    ['>= 6', '22.19', true],
    ['^20.9 || >=22.12', '22.19', true],
    ['^20.9 || ^24', '22.19', false],
  ])('%s and Node %s: %s', (range, version, expected) => {
    expect(takes(range, numbers(version))).toBe(expected);
  });
});

describe('npm', () => {
  it('runs no script of a package that it installs', async () => {
    expect(await read('.npmrc')).toMatch(/^ignore-scripts=true$/m);
    const scripted = locked.filter(([, { hasInstallScript }]) => hasInstallScript === true);
    const names = scripted.map(([folder]) => folder.replace(/^.*node_modules\//, ''));
    const { allowScripts } = manifest;
    expect(allowScripts).toEqual(Object.fromEntries(names.map((name) => [name, false])));
  });
});
