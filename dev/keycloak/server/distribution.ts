import { execFile } from 'node:child_process';
import { access, mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { cacheDir } from '../../envtest/cache-dir.ts';
import { type Log, outputOf } from '../../envtest/server-process.ts';

/** The contract is written for this one. */
const NEWEST = '26.7.3';

/** Those that were tried: the newest patch of some minors that Maven has. */
export const KEYCLOAK_VERSIONS = ['26.0.8', '26.5.6', NEWEST];

/** `KEYCLOAK_VERSION` names another one. */
export const keycloakVersion = process.env['KEYCLOAK_VERSION'] || NEWEST;

/** What Keycloak is fetched and run with, and the Debian packages that bring it. */
export const KEYCLOAK_PACKAGES = { java: 'default-jre-headless', mvn: 'maven' };

const home = (): string => join(cacheDir(), `keycloak-${keycloakVersion}`);

const run = promisify(execFile);

/** What has to be installed before a Keycloak can start here, one sentence each. */
export async function missingForKeycloak(): Promise<string[]> {
  const missing: string[] = [];
  const javaHome = process.env['JAVA_HOME'];
  const java = javaHome ? join(javaHome, 'bin', 'java') : 'java';
  const release = /version "(\d+)/.exec((await outputOf(java, ['-version'])) ?? '')?.[1];
  if (release === undefined || Number(release) < 17) {
    const have = release === undefined ? 'there is none' : `this one is ${release}`;
    missing.push(`Keycloak runs on Java 17 or newer, and ${have}: install a JDK.`);
  }
  if (!(await isCached()) && (await outputOf('mvn', ['-version'])) === undefined) {
    missing.push('Keycloak is fetched by Maven, and there is no mvn: install Apache Maven.');
  }
  return missing;
}

/**
 * The folder of a Keycloak that is unpacked and built for `start --optimized`. Fetched by Maven when it is not cached.
 * @throws when something has to be installed first
 */
export async function ensureKeycloak(log: Log): Promise<string> {
  const missing = await missingForKeycloak();
  if (missing.length > 0) throw new Error(missing.join('\n'));
  if (await isCached()) return home();
  await mkdir(cacheDir(), { recursive: true });
  const work = await mkdtemp(join(cacheDir(), '.keycloak-'));
  try {
    await fetchAndBuild(work, log);
    // The rename fails when another run was first; then its folder is used.
    await rename(join(work, `keycloak-${keycloakVersion}`), home()).catch(
      async (error: unknown) => {
        if (!(await isCached())) throw error;
      },
    );
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  return home();
}

/** The build takes 20 s, once. Then a start takes a third of the time of `start-dev`. */
async function fetchAndBuild(work: string, log: Log): Promise<void> {
  log(`Fetching Keycloak ${keycloakVersion} by Maven (177 MB, once per version)`);
  const artifact = `org.keycloak:keycloak-quarkus-dist:${keycloakVersion}:zip`;
  const goal = 'org.apache.maven.plugins:maven-dependency-plugin:3.8.1:unpack';
  const flags = ['-q', '-B', goal, `-Dartifact=${artifact}`, `-DoutputDirectory=${work}`];
  await run('mvn', flags, { cwd: work });
  log('Building Keycloak for a quick start (once per version, half a minute)');
  const script = join(work, `keycloak-${keycloakVersion}`, 'bin', 'kc.sh');
  await run('sh', [script, 'build', '--db=dev-mem'], { maxBuffer: 64 << 20 });
}

async function isCached(): Promise<boolean> {
  return access(home()).then(
    () => true,
    () => false,
  );
}
