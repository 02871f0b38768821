import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Metafile } from 'esbuild';

/** A package of which some code is in the bundle. */
export interface BundledPackage {
  readonly name: string;
  readonly version: string;
  /** SPDX identifier or expression. */
  readonly license: string;
  /** All files of the package that state its license, one after another. */
  readonly licenseText: string;
  /** Relative to the repository: its key in `packages` of package-lock.json. */
  readonly folder: string;
  /** Folders of the packages that its files import. */
  readonly imports: readonly string[];
}

const PACKAGE_FOLDER = /^.*node_modules\/(?:@[^/]+\/)?[^/]+/;
const LICENSE_FILE = /^(?:un)?licen[cs]e|^copying|^notice/i;

/**
 * The packages that the bundle is made of, by folder.
 * @throws when a package does not say its license or has no file with its text
 */
export function bundledPackages(root: string, metafile: Metafile): Promise<BundledPackage[]> {
  const folders = foldersIn(metafile);
  const imports = importsIn(metafile);
  return Promise.all(
    folders.map((folder) => {
      const imported = [...(imports.get(folder) ?? [])].filter((other) => folders.includes(other));
      return readPackage(root, folder, imported.sort());
    }),
  );
}

/** The folders of the packages that the operator's own files import. */
export const directImports = (metafile: Metafile): string[] => [
  ...(importsIn(metafile).get(OWN) ?? []),
];

/** Without packages that esbuild has read and left out, because nothing uses them. */
const foldersIn = ({ outputs }: Metafile): string[] => {
  const used = Object.values(outputs).flatMap(({ inputs }) =>
    Object.entries(inputs).flatMap(([file, { bytesInOutput }]) =>
      bytesInOutput === 0 ? [] : [folderOf(file)],
    ),
  );
  return [...new Set(used)].filter((folder) => folder !== OWN).sort();
};

/** Which package imports which; also through files that have nothing but imports, and so no bytes in the bundle. */
function importsIn({ inputs }: Metafile): Map<string, Set<string>> {
  const graph = new Map<string, Set<string>>();
  for (const [file, { imports }] of Object.entries(inputs)) {
    const folder = folderOf(file);
    const imported = graph.get(folder) ?? new Set();
    graph.set(folder, imported);
    for (const { path, external } of imports) {
      const other = external === true ? OWN : folderOf(path);
      if (other !== OWN && other !== folder) imported.add(other);
    }
  }
  return graph;
}

/** Stands for the operator's own files, and for what the build adds to them. */
const OWN = '';

const folderOf = (file: string): string => PACKAGE_FOLDER.exec(file)?.[0] ?? OWN;

async function readPackage(
  root: string,
  folder: string,
  imports: readonly string[],
): Promise<BundledPackage> {
  const dir = join(root, folder);
  const { name, version, license } = JSON.parse(await readFile(join(dir, 'package.json'), 'utf8'));
  const files = (await readdir(dir)).filter((file) => LICENSE_FILE.test(file)).sort();
  const texts = await Promise.all(files.map((file) => readFile(join(dir, file), 'utf8')));
  const licenseText = texts.map((text) => text.trim()).join('\n\n');
  if (typeof license !== 'string' || licenseText === '') {
    throw new Error(`${folder} has no license or no file with its text; the image may not ship it`);
  }
  return { name, version, license, licenseText, folder, imports };
}

/** The content of `licenses.txt`. */
export const licenses = (packages: readonly BundledPackage[]): string =>
  packages
    .map(({ name, version, license, licenseText }) => {
      return `== ${name} ${version} (${license})\n\n${licenseText}\n`;
    })
    .join('\n');
