import { join } from 'node:path';
import { absentFrom, buildInto, type GoProgram, goLacks, pinIn } from '../go-build.ts';
import { cacheDir, type Log, silent } from '../server-process.ts';

/** The programs that packaging is checked with, built once per version into the cache. */

const TOOLS = {
  helm: { path: 'helm.sh/helm/v4/cmd/helm', module: 'helm.sh/helm/v4', minutes: '1 to 3 minutes' },
  promtool: {
    path: 'github.com/prometheus/prometheus/cmd/promtool',
    module: 'github.com/prometheus/prometheus',
    minutes: '1 to 3 minutes',
    // Without the clients of every cloud that Prometheus could discover targets in
    flags: ['-tags', 'remove_all_sd', '-ldflags', '-s -w'],
  },
};

export const ensureHelm = (log: Log = silent): Promise<string> => ensure('helm', log);
export const ensurePromtool = (log: Log = silent): Promise<string> => ensure('promtool', log);

/**
 * The path of the program.
 * @throws when there is no Go that can build it
 */
async function ensure(name: keyof typeof TOOLS, log: Log): Promise<string> {
  const { module, ...rest } = TOOLS[name];
  const pinnedIn = join(import.meta.dirname, 'tools', name);
  const pattern = new RegExp(`^\\s*(?:require )?${module} (v\\S+)`, 'm');
  const dir = join(cacheDir(), `${name}-${await pinIn(pinnedIn, 'version of it', pattern)}`);
  if ((await absentFrom(dir, [name])).length > 0)
    await build(dir, { name, pinnedIn, ...rest }, log);
  return join(dir, name);
}

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
