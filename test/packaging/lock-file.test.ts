import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { ROOT } from './render.ts';

interface LockedPackage {
  readonly version: string;
  readonly integrity?: string;
  readonly resolved?: string;
  readonly hasInstallScript?: boolean;
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

describe('npm', () => {
  it('runs no script of a package that it installs', async () => {
    expect(await read('.npmrc')).toMatch(/^ignore-scripts=true$/m);
    const scripted = locked.filter(([, { hasInstallScript }]) => hasInstallScript === true);
    const names = scripted.map(([folder]) => folder.replace(/^.*node_modules\//, ''));
    const { allowScripts } = manifest;
    expect(allowScripts).toEqual(Object.fromEntries(names.map((name) => [name, false])));
  });
});
