import { setTimeout as sleep } from 'node:timers/promises';
import { type ControlPlane, startControlPlane } from '../../envtest/control-plane.ts';
import type { Log } from '../../envtest/server-process.ts';
import { eventually, manifest } from '../../objects.ts';
import {
  installCluster,
  localStaging,
  OPERATOR_NAMESPACE,
  OPERATOR_USER,
  Operator,
} from '../../operator.ts';
import {
  type Account,
  accountsFor,
  credentialOf,
  type Grant,
  NAMESPACE,
  realmOf,
  sourceOf,
} from './accounts.ts';
import { canaryRows, openPlaces } from './canary.ts';
import { type Provider, type ProviderName, startProvider } from './provider.ts';
import type { Row } from './report.ts';
import { TargetReader } from './target-reader.ts';

/** What the command line says. */
export interface Setting {
  readonly milliseconds: number;
  readonly credentials: number;
  readonly tokenSeconds: number;
  readonly grant: Grant;
  readonly provider: ProviderName;
  readonly log: Log;
  /** Ctrl-C. */
  readonly signal: AbortSignal;
}

export interface Script {
  /** Of the realm, over those of dev/keycloak/server/realms. */
  readonly realm: Record<string, unknown>;
  /** Of the operator, over the defaults. */
  readonly config?: Record<string, unknown>;
  readonly environments?: Record<string, unknown>;
  readonly act: (stage: Stage) => Promise<Row[]>;
}

/** Real servers, an operator of its own process under its own user, and a reader of the targets. */
export class Stage {
  readonly setting: Setting;
  readonly accounts: readonly Account[];
  readonly controlPlane: ControlPlane;
  readonly provider: Provider;
  readonly operator: Operator;
  readonly reader: TargetReader;
  /** Beside those of the accounts: what else must not turn up anywhere. */
  readonly moreSecrets: string[] = [];

  private constructor(
    setting: Setting,
    accounts: readonly Account[],
    parts: { controlPlane: ControlPlane; provider: Provider; operator: Operator },
  ) {
    this.setting = setting;
    this.accounts = accounts;
    this.controlPlane = parts.controlPlane;
    this.provider = parts.provider;
    this.operator = parts.operator;
    this.reader = new TargetReader(parts.controlPlane);
  }

  /** Plays the script and adds what the canary test says. Everything is gone afterwards, whatever happened. */
  static async play(setting: Setting, script: Script): Promise<Row[]> {
    await using cleanUps = new AsyncDisposableStack();
    const { log } = setting;
    const accounts = accountsFor(setting.grant, setting.credentials);
    const realm = await realmOf(accounts, script.realm);
    log(`Starting ${setting.provider}, kube-apiserver, etcd and the operator …`);
    const provider = await startProvider(setting.provider, realm, log);
    cleanUps.defer(() => provider.stop());
    const controlPlane = await startControlPlane({ users: [{ name: OPERATOR_USER }], log });
    cleanUps.defer(() => controlPlane.stop());
    await installCluster(controlPlane);
    const operator = await startOperator(controlPlane, provider, script);
    cleanUps.defer(() => operator.stop());
    const stage = new Stage(setting, accounts, { controlPlane, provider, operator });
    await controlPlane.kubectl(['create', 'namespace', NAMESPACE]);
    stage.reader.start();
    cleanUps.defer(() => stage.reader.stop());
    const rows = await script.act(stage);
    return [...rows, ...(await stage.#canary())];
  }

  /** Server-side, so that no annotation repeats what is in a Secret. */
  async apply(...objects: readonly object[]): Promise<void> {
    const args = ['apply', '--server-side', '--force-conflicts', '-f', '-'];
    await this.controlPlane.kubectl(args, { input: manifest(objects) });
  }

  /** All accounts, each with its Secret and its credential. */
  async applyAll(environment = 'staging', accounts = this.accounts): Promise<void> {
    const { grant } = this.setting;
    await this.apply(
      ...accounts.flatMap((each) => [sourceOf(each), credentialOf(each, grant, environment)]),
    );
  }

  /** @throws when not every account has a token in time */
  async allServed(seconds: number, accounts = this.accounts): Promise<void> {
    const { targets } = this.reader;
    const missing = () => accounts.filter(({ name }) => !targets.has(`${name}-token`)).length;
    const left = await eventually(
      async () => missing(),
      (none) => none === 0 || this.setting.signal.aborted,
      seconds,
    );
    if (left > 0) throw new Error(`${left} of ${accounts.length} credentials have no token`);
  }

  async wait(milliseconds: number): Promise<void> {
    await sleep(Math.max(0, milliseconds), undefined, { signal: this.setting.signal });
  }

  async #canary(): Promise<Row[]> {
    const values = this.accounts.flatMap(({ clientSecret, username, password }) => [
      clientSecret,
      username,
      password,
    ]);
    const tokens = [...this.reader.targets.values()].flat().map(({ token }) => token);
    const secrets = [
      ...values,
      ...this.moreSecrets,
      ...tokens,
      ...this.reader.sessionValues,
    ].filter((value) => value.length > 20);
    return canaryRows(await openPlaces(this.controlPlane, this.operator), [...new Set(secrets)]);
  }
}

const startOperator = (
  controlPlane: ControlPlane,
  provider: Provider,
  { config, environments }: Script,
): Promise<Operator> =>
  Operator.start({
    kubeconfig: controlPlane.userKubeconfig(OPERATOR_USER),
    config: {
      environments: { ...localStaging(provider.url), ...environments },
      leaderElection: { namespace: OPERATOR_NAMESPACE },
      renewal: { minimumSeconds: 1 },
      log: { level: 'debug' },
      ...config,
    },
  });
