import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** Where the version of a release stands. The first is the one that the others follow. */
const PLACES: readonly (readonly [file: string, pattern: RegExp])[] = [
  ['package.json', /^ {2}"version": "([^"]+)"/m],
  ['package-lock.json', /^ {2}"version": "([^"]+)"/m],
  ['charts/convercus-operator/Chart.yaml', /^version: (\S+)/m],
  ['charts/convercus-operator/Chart.yaml', /^appVersion: (\S+)/m],
  ['deploy/base/kustomization.yaml', /^ +newTag: "?([^\s"]+)/m],
  ['deploy/install.yaml', /^ +image: registry\.invalid\/convercus-operator:(\S+)/m],
  ['Dockerfile', /^ARG VERSION=(\S+)/m],
];

/** The section of CHANGELOG.md, without its heading. */
export async function releaseNotes(root: string, version: string): Promise<string | undefined> {
  const text = await readFile(join(root, 'CHANGELOG.md'), 'utf8');
  const sections = text.split(/^## /m).map((section) => section.split('\n'));
  const found = sections.find(([title = '']) => title.split(' ')[0] === version);
  return found?.slice(1).join('\n').trim();
}

/** What keeps this checkout from being released as the version of package.json; `tag` as in `v0.1.0`. */
export async function versionProblems(root: string, tag?: string): Promise<string[]> {
  const found = await Promise.all(
    PLACES.map(async ([file, pattern]) => {
      const [, version = 'none'] = pattern.exec(await readFile(join(root, file), 'utf8')) ?? [];
      return { file, version };
    }),
  );
  const version = found[0]?.version ?? 'none';
  const problems = found
    .filter((place) => place.version !== version)
    .map((place) => `${place.file} has version ${place.version}, package.json has ${version}`);
  if (tag !== undefined && tag !== `v${version}`) {
    problems.push(`the tag is ${tag}, package.json has ${version}; the tag has to be v${version}`);
  }
  if ((await releaseNotes(root, version)) === undefined) {
    problems.push(`CHANGELOG.md has no section "## ${version}"`);
  }
  return problems;
}
