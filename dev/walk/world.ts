import { setTimeout as sleep } from 'node:timers/promises';
import { abcRealm } from '../convercus/realm.ts';
import {
  type IdentityProvider,
  startIdentityProvider,
} from '../keycloak/dialect/identity-provider.ts';
import { encoded, type StoredObject } from '../simulation/objects.ts';
import { localStaging } from '../testbed/operator.ts';
import { LoopbackApiServer } from './loopback-api-server.ts';
import { OperatorProcess } from './operator-process.ts';
import type { Taken } from './probe.ts';

const NAMESPACE = 'shop';
const NAME = 'loyalty';
const TARGET = 'loyalty-token';
const SOURCE = 'convercus-abc';
const REALM = 'abc-staging';
const [SECRET, PASSWORD] = ['client-secret', 'user-password'];

/** Milliseconds without a request or a change after which the operator counts as idle. */
const QUIET = 400;
/** Milliseconds. */
const LONGEST_WAIT = 120_000;

/** No renewal of the Lease falls into a walk. */
const LEASE = { leaseSeconds: 3_600, renewSeconds: 3_000, retrySeconds: 2_000 };

/** The whole operator in a process of its own, an API server and an identity provider in this one. */
export class World {
  readonly provider: IdentityProvider;
  readonly #api: LoopbackApiServer;
  readonly #operator: OperatorProcess;

  private constructor(
    provider: IdentityProvider,
    api: LoopbackApiServer,
    operator: OperatorProcess,
  ) {
    this.provider = provider;
    this.#api = api;
    this.#operator = operator;
  }

  static async start(entry: string): Promise<World> {
    const provider = await startIdentityProvider();
    provider.realms.add({ ...(await abcRealm(SECRET, PASSWORD)), realm: REALM });
    const api = new LoopbackApiServer();
    const apiServer = await api.listen();
    api.state.namespaces.set(NAMESPACE, 'active').set('operator', 'active');
    const values = { client_secret: SECRET, username: 'api-user', password: PASSWORD };
    const metadata = { namespace: NAMESPACE, name: SOURCE };
    api.state.put('secrets', { type: 'Opaque', metadata, data: encoded(values) }, 'kubectl');
    const config = {
      environments: localStaging(provider.url),
      renewal: { minimumSeconds: 1, jitterPercent: 0 },
      leaderElection: { namespace: 'operator', ...LEASE },
      operations: { host: '127.0.0.1', port: 0 },
    };
    return new World(provider, api, await OperatorProcess.start({ entry, apiServer, config }));
  }

  async stop(): Promise<void> {
    await this.#operator.stop();
    await this.#api.close();
    await this.provider.close();
  }

  /** What has run since the last time, or since the start. */
  take(): Promise<Taken> {
    return this.#operator.take();
  }

  /** It leads, watches credentials and Secrets, and is idle. */
  async untilIdle(): Promise<void> {
    await this.#until('leads', () => {
      const [lease] = this.#api.state.all('leases');
      const watched = this.#api.watched.join(' ');
      return (
        lease?.spec?.['holderIdentity'] !== undefined &&
        ['secrets', 'convercuscredentials'].every((plural) => watched.includes(plural))
      );
    });
  }

  /** Tokens are issued for so long from now on, in seconds. */
  setLifespan(accessTokenLifespan: number): void {
    this.provider.realms.get(REALM).update({ accessTokenLifespan });
  }

  create(spec: Readonly<Record<string, unknown>>): void {
    const keys = {
      clientSecret: 'client_secret',
      username: 'username',
      password: 'password',
      org: 'org',
    };
    this.#api.state.put(
      'convercuscredentials',
      {
        metadata: { namespace: NAMESPACE, name: NAME },
        spec: {
          program: 'ABC',
          environment: 'staging',
          grantType: 'client_credentials',
          clientId: 'machine-2-machine',
          scope: 'openid',
          credentialsSecretRef: { name: SOURCE, keys },
          target: {
            creationPolicy: 'Owner',
            deletionPolicy: 'Delete',
            data: { token: '{{access_token}}' },
          },
          suspend: false,
          ...spec,
        },
      },
      'kubectl',
    );
  }

  /** @returns the version of the target, once that is not `before`, the credential is ready and the operator idle */
  async untilWritten(before = ''): Promise<string> {
    await this.#until('has written the target', () => {
      const version = this.#target?.metadata.resourceVersion ?? '';
      return version !== before && this.#isReady;
    });
    return this.#target?.metadata.resourceVersion ?? '';
  }

  get #target(): StoredObject | undefined {
    return this.#api.state.get('secrets', `${NAMESPACE}/${TARGET}`);
  }

  get #isReady(): boolean {
    const status = this.#api.state.get('convercuscredentials', `${NAMESPACE}/${NAME}`)?.status;
    return JSON.stringify(status ?? {}).includes('"type":"Ready","status":"True"');
  }

  async #until(what: string, holds: () => boolean): Promise<void> {
    const deadline = performance.now() + LONGEST_WAIT;
    while (!holds() || performance.now() - this.#api.lastActivity < QUIET) {
      if (this.#operator.hasEnded || performance.now() > deadline)
        throw new Error(`the operator never ${what}:\n${this.#operator.log}`);
      await sleep(20);
    }
  }
}
