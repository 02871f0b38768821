import type { BundledPackage } from './bundled-packages.ts';

/** Of package-lock.json, what an SBOM needs. */
export interface LockFile {
  readonly name: string;
  readonly version: string;
  readonly packages: Readonly<
    Record<string, { readonly integrity?: string; readonly license?: string }>
  >;
}

/**
 * A CycloneDX 1.6 document of what is in the bundle: the packages whose code esbuild has taken, which import which,
 * and the digest of the archive that each was installed from. The same input gives the same text: it has no
 * time and no serial number.
 */
export function sbom(
  packages: readonly BundledPackage[],
  directImports: readonly string[],
  lock: LockFile,
): string {
  const operator = `pkg:npm/${lock.name}@${lock.version}`;
  const references = new Map(packages.map((each) => [each.folder, packageUrl(each)]));
  const referencesOf = (folders: readonly string[]): string[] =>
    [...new Set(folders.flatMap((folder) => references.get(folder) ?? []))].sort();
  const components = packages.map((each) => component(each, lock));
  const dependencies = packages.map((each) => ({
    ref: packageUrl(each),
    dependsOn: referencesOf(each.imports),
  }));
  return `${JSON.stringify(
    {
      bomFormat: 'CycloneDX',
      specVersion: '1.6',
      version: 1,
      metadata: {
        lifecycles: [{ phase: 'build' }],
        component: {
          type: 'application',
          'bom-ref': operator,
          name: lock.name,
          version: lock.version,
          licenses: licensesOf(lock.packages['']?.license ?? ''),
          purl: operator,
        },
      },
      components: unique(components, (each) => each['bom-ref']),
      dependencies: unique(
        [{ ref: operator, dependsOn: referencesOf(directImports) }, ...dependencies],
        ({ ref }) => ref,
      ),
    },
    null,
    2,
  )}\n`;
}

function component(bundled: BundledPackage, lock: LockFile) {
  const { name, version, license, folder } = bundled;
  const [scope, plain = name] = name.startsWith('@') ? name.split('/') : [undefined, name];
  return {
    type: 'library',
    'bom-ref': packageUrl(bundled),
    ...(scope === undefined ? {} : { group: scope }),
    name: plain,
    version,
    scope: 'required',
    hashes: [{ alg: 'SHA-512', content: sha512(folder, lock) }],
    licenses: licensesOf(license),
    purl: packageUrl(bundled),
  };
}

/** In hexadecimal. */
function sha512(folder: string, { packages }: LockFile): string {
  const [, base64] = /^sha512-(\S+)$/.exec(packages[folder]?.integrity ?? '') ?? [];
  if (base64 === undefined) throw new Error(`package-lock.json has no sha512 of ${folder}`);
  return Buffer.from(base64, 'base64').toString('hex');
}

const packageUrl = ({ name, version }: BundledPackage): string =>
  `pkg:npm/${name.replace('@', '%40')}@${version}`;

/** An expression holds a space: `(MIT OR Apache-2.0)`. */
const licensesOf = (license: string): object[] => [
  license.includes(' ') ? { expression: license } : { license: { id: license } },
];

/** A package of one version may be installed in several folders. */
const unique = <T>(items: readonly T[], keyOf: (item: T) => string): T[] => [
  ...new Map(items.map((item) => [keyOf(item), item])).values(),
];
