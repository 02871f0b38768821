import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePorts, type Log, ServerProcess, silent } from '../../envtest/server-process.ts';
import { KeycloakAdmin } from './admin.ts';
import { ensureKeycloak } from './distribution.ts';

/** A realm representation of Keycloak's admin API: also its clients, users and their credentials. */
export interface Realm {
  realm: string;
  [setting: string]: unknown;
}

export interface KeycloakOptions {
  /** Imported before the promise resolves, and again by every `startServer`. */
  realms?: Realm[];
  log?: Log;
}

/**
 * A realm file with its `${NAME}` placeholders filled in.
 * @throws when a placeholder has no value
 */
export async function readRealm(file: string, values: Record<string, string>): Promise<Realm> {
  const template = await readFile(file, 'utf8');
  const filled = template.replaceAll(/\$\{(\w+)\}/g, (_, name: string) => {
    const value = values[name];
    if (value === undefined) throw new Error(`${file} wants a value for ${name}`);
    return JSON.stringify(value).slice(1, -1);
  });
  const realm: Realm = JSON.parse(filled);
  return realm;
}

/**
 * The realm `abc`, set up like a Convercus one: client `machine-2-machine`, user `api-user`, access tokens of
 * 1800 s, refresh tokens of a week that may be used once, brute-force detection. Spread it to vary it.
 */
export function abcRealm(clientSecret: string, userPassword: string): Promise<Realm> {
  const file = join(import.meta.dirname, 'realms', 'abc-realm.json');
  return readRealm(file, { ABC_CLIENT_SECRET: clientSecret, ABC_USER_PASSWORD: userPassword });
}

/**
 * A real Keycloak on a free loopback port, with everything in memory, ready when the promise resolves.
 * @throws what is missing, or the end of the server's log
 */
export async function startKeycloak(options: KeycloakOptions = {}): Promise<Keycloak> {
  const log = options.log ?? silent;
  const keycloak = await Keycloak.prepare(await ensureKeycloak(log), options.realms ?? []);
  try {
    await keycloak.startServer();
    return keycloak;
  } catch (error) {
    await keycloak.stop();
    throw error;
  }
}

export class Keycloak {
  readonly url: string;
  readonly admin: KeycloakAdmin;
  readonly #distribution: string;
  readonly #dir: string;
  readonly #port: number;
  readonly #password = randomUUID();
  readonly #realms = new Map<string, Realm>();
  #server: ServerProcess | undefined;

  private constructor(distribution: string, dir: string, port: number, realms: Realm[]) {
    this.#distribution = distribution;
    this.#dir = dir;
    this.#port = port;
    for (const realm of realms) this.#realms.set(realm.realm, realm);
    this.url = `http://127.0.0.1:${port}`;
    this.admin = new KeycloakAdmin(this.url, this.#password);
  }

  /** A home of its own per run, with links to the shared parts, so that what one run writes no other sees. */
  static async prepare(distribution: string, realms: Realm[]): Promise<Keycloak> {
    const dir = await mkdtemp(join(tmpdir(), 'keycloak-'));
    for (const part of ['bin', 'conf', 'lib', 'providers', 'themes']) {
      await symlink(join(distribution, part), join(dir, part));
    }
    const [port = 0] = await freePorts(1);
    return new Keycloak(distribution, dir, port, realms);
  }

  get pid(): number | undefined {
    return this.#server?.pid;
  }

  tokenUrl(realm: string): string {
    return `${this.url}/realms/${realm}/protocol/openid-connect/token`;
  }

  async importRealm(realm: Realm): Promise<void> {
    await this.admin.post('/realms', realm);
    this.#realms.set(realm.realm, realm);
  }

  /**
   * On the same port as before, with fresh copies of the realms, which are there as soon as it answers: sessions
   * are lost, and signing keys are new unless the realm brings its own.
   */
  async startServer(): Promise<void> {
    await this.#layRealms();
    const script = join(this.#distribution, 'bin', 'kc.sh');
    this.#server = new ServerProcess({
      name: 'Keycloak',
      command: 'sh',
      args: [script, ...this.#flags()],
      env: {
        JAVA_OPTS_KC_HEAP: '-Xms256m -Xmx768m',
        KC_BOOTSTRAP_ADMIN_USERNAME: 'admin',
        KC_BOOTSTRAP_ADMIN_PASSWORD: this.#password,
      },
      logFile: join(this.#dir, 'keycloak.log'),
    });
    this.admin.forgetToken();
    await this.#server.untilReady(() => this.#isReady(), 180);
  }

  /** Where `--import-realm` looks. */
  async #layRealms(): Promise<void> {
    const dir = join(this.#dir, 'data', 'import');
    await mkdir(dir, { recursive: true });
    for (const realm of this.#realms.values()) {
      await writeFile(join(dir, `${realm.realm}.json`), JSON.stringify(realm), { mode: 0o600 });
    }
  }

  /** An outage: connections are refused until `startServer`, and everything in memory is lost. */
  async stopServer(): Promise<void> {
    await this.#server?.stop(20);
  }

  async stop(): Promise<void> {
    await this.stopServer();
    await rm(this.#dir, { recursive: true, force: true });
  }

  #flags(): string[] {
    return [
      `-Dkc.home.dir=${this.#dir}`,
      'start',
      '--optimized',
      '--import-realm',
      // Otherwise it would look for a cluster on other interfaces than loopback.
      '--cache=local',
      '--http-enabled=true',
      '--http-host=127.0.0.1',
      `--http-port=${this.#port}`,
      '--hostname-strict=false',
    ];
  }

  async #isReady(): Promise<void> {
    const url = `${this.url}/realms/master/.well-known/openid-configuration`;
    const response = await fetch(url, { signal: AbortSignal.timeout(5000) });
    await response.arrayBuffer();
    if (!response.ok) throw new Error(`Keycloak answered ${response.status}`);
  }
}
