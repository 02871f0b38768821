import { join } from 'node:path';
import { cacheDir } from '../envtest/cache-dir.ts';
import { absentFrom, buildInto, type GoProgram, goLacks, pinIn } from '../envtest/go-build.ts';
import { type Log, silent } from '../envtest/server-process.ts';

/** The programs that check the packaging, built once per version into the cache. */

interface Tool {
  /** Folder under `tools/` with the go.mod. */
  readonly folder: string;
  readonly module: string;
  readonly path: string;
  readonly buildTime: string;
  readonly flags?: readonly string[];
}

const prometheus = {
  folder: 'prometheus',
  module: 'github.com/prometheus/prometheus',
  buildTime: '1 to 3 minutes',
  // Only the service discovery of Kubernetes
  flags: ['-tags', 'remove_all_sd,enable_kubernetes_sd', '-ldflags', '-s -w'],
};

const TOOLS = {
  helm: {
    folder: 'helm',
    module: 'helm.sh/helm/v4',
    path: 'helm.sh/helm/v4/cmd/helm',
    buildTime: '1 to 3 minutes',
  },
  promtool: { ...prometheus, path: 'github.com/prometheus/prometheus/cmd/promtool' },
  /** Without its web pages, with the whole HTTP API. */
  prometheus: { ...prometheus, path: 'github.com/prometheus/prometheus/cmd/prometheus' },
  /** The Lua interpreter with which Argo CD runs health scripts. */
  glua: {
    folder: 'glua',
    module: 'github.com/yuin/gopher-lua',
    path: 'github.com/yuin/gopher-lua/cmd/glua',
    buildTime: 'under 1 minute',
  },
  /** Checks workflows of GitHub. */
  actionlint: {
    folder: 'actionlint',
    module: 'github.com/rhysd/actionlint',
    path: 'github.com/rhysd/actionlint/cmd/actionlint',
    buildTime: 'under 1 minute',
  },
  /** Checks manifests of krew-index, by krew's own rules. */
  'validate-krew-manifest': {
    folder: 'krew',
    module: 'sigs.k8s.io/krew',
    path: 'sigs.k8s.io/krew/cmd/validate-krew-manifest',
    buildTime: 'under 1 minute',
  },
  kstatus: {
    folder: 'kstatus',
    module: 'sigs.k8s.io/cli-utils',
    path: '.',
    buildTime: 'under 1 minute',
  },
} as const satisfies Record<string, Tool>;

/**
 * The path of the program, which is built when it is not cached.
 * @throws when Go is missing or too old
 */
export async function ensureTool(name: keyof typeof TOOLS, log: Log = silent): Promise<string> {
  const { folder: _, module: __, ...rest } = TOOLS[name];
  const { dir, pinnedIn } = await placeOf(name);
  if ((await absentFrom(dir, [name])).length > 0) {
    await build(dir, { name, pinnedIn, ...rest }, log);
  }
  return join(dir, name);
}

/** Where the program is cached, and where its version is pinned. */
async function placeOf(name: keyof typeof TOOLS): Promise<{ dir: string; pinnedIn: string }> {
  const { folder, module } = TOOLS[name];
  const pinnedIn = join(import.meta.dirname, 'tools', folder);
  const pattern = new RegExp(`^\\s*(?:require )?${module} (v\\S+)`, 'm');
  const version = await pinIn(pinnedIn, `version of ${name}`, pattern);
  return { dir: join(cacheDir(), `${folder}-${version}`), pinnedIn };
}

export async function ensureAllTools(log: Log): Promise<void> {
  for (const name of Object.keys(TOOLS)) if (isTool(name)) await ensureTool(name, log);
}

/** What has to be installed before all of them can be built here, in one sentence. */
export async function missingForTools(): Promise<string[]> {
  const absent: { name: string; needed: string }[] = [];
  for (const name of Object.keys(TOOLS).filter(isTool)) {
    const { dir, pinnedIn } = await placeOf(name);
    if ((await absentFrom(dir, [name])).length === 0) continue;
    absent.push({ name, needed: await pinIn(pinnedIn, 'Go version', /^go (\S+)/m) });
  }
  const [newest] = absent.map(({ needed }) => needed).sort(byVersion);
  const have = newest === undefined ? undefined : await goLacks(newest);
  if (have === undefined) return [];
  const names = absent.map(({ name }) => name).join(', ');
  return [`Go ${newest} or newer builds ${names}, and ${have}: install it from https://go.dev/dl.`];
}

/** The newest first. */
const byVersion = (a: string, b: string): number => b.localeCompare(a, 'en', { numeric: true });

const isTool = (name: string): name is keyof typeof TOOLS => Object.hasOwn(TOOLS, name);

async function build(dir: string, program: GoProgram, log: Log): Promise<void> {
  const needed = await pinIn(program.pinnedIn, 'Go version', /^go (\S+)/m);
  const have = await goLacks(needed);
  if (have !== undefined) {
    throw new Error(
      `Go ${needed} or newer builds ${program.name}, and ${have}: install it from https://go.dev/dl.`,
    );
  }
  await buildInto(dir, program, log);
}
