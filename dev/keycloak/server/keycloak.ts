import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePorts, type Log, ServerProcess, silent } from '../../envtest/server-process.ts';
import type { Realm } from '../realm-file.ts';
import { KeycloakAdmin } from './admin.ts';
import { ensureKeycloak } from './distribution.ts';

export interface KeycloakOptions {
  /** Imported before the promise resolves, and again by every `startServer`. */
  realms?: Realm[];
  log?: Log;
}

/**
 * Starts a Keycloak on a free loopback port, with its database in memory; it is ready when the promise resolves.
 * @throws with what has to be installed, or with the end of the server's log
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

export class Keycloak implements AsyncDisposable {
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

  /** Each server has its own home folder, for what it writes, with links to the shared distribution. */
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
   * Starts on the same port and imports the realms again before it is ready. Sessions are lost, and signing keys are
   * new unless the realm contains keys.
   */
  async startServer(): Promise<void> {
    await this.#writeRealms();
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

  /** Writes the files that `--import-realm` reads. */
  async #writeRealms(): Promise<void> {
    const dir = join(this.#dir, 'data', 'import');
    await mkdir(dir, { recursive: true });
    for (const realm of this.#realms.values()) {
      await writeFile(join(dir, `${realm.realm}.json`), JSON.stringify(realm), { mode: 0o600 });
    }
  }

  /** Connections are refused until `startServer`, and the database in memory is lost. */
  async stopServer(): Promise<void> {
    await this.#server?.stop(20);
  }

  async stop(): Promise<void> {
    await this.stopServer();
    await rm(this.#dir, { recursive: true, force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  #flags(): string[] {
    return [
      `-Dkc.home.dir=${this.#dir}`,
      'start',
      '--optimized',
      '--import-realm',
      // The default cache would look for other servers on all interfaces.
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
    if (!response.ok) throw new Error(`Keycloak returned ${response.status}`);
  }
}
