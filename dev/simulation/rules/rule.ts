import type { ConvercusCredential } from '../../../src/credential/api.ts';
import type { Status } from '../../../src/credential/status.ts';
import type { Ms } from '../../../src/lib/time.ts';
import type { ApiServer } from '../api-server.ts';
import type { StoredObject } from '../objects.ts';
import type { Provider } from '../provider.ts';

/** The world for the rules, and how they report a violation. */
export interface Scene {
  readonly now: Ms;
  readonly server: ApiServer;
  readonly provider: Provider;
  readonly releases: number;
  /** Two replicas of one release publish, each what it has in memory. */
  readonly severalLead: boolean;
  readonly clocksAgree: boolean;
  /** Maximum delay of a watch: the operator may act on a spec that is this old. */
  readonly latestNews: Ms;
  violated(rule: string, what: string): void;
}

export type Spec = ConvercusCredential['spec'];

/** People of the simulation write whole specs. */
export const specOf = ({ spec }: Pick<StoredObject, 'spec'>): Spec =>
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- leases have specs of another type
  spec as unknown as Spec;

export const statusOf = ({ status }: Pick<StoredObject, 'status'>): Status | undefined => status;

export const targetNameOf = (credential: StoredObject): string =>
  nameOfTarget(credential.metadata.name, specOf(credential));

const nameOfTarget = (credentialName: string, { target }: Spec): string =>
  target.name ?? `${credentialName}-token`;

/** The operator is to make a target of that name for it, and not to merge into one of others. */
export const makesTarget = (credentialName: string, spec: Spec, secretName: string): boolean =>
  spec.target.creationPolicy === 'Owner' && nameOfTarget(credentialName, spec) === secretName;

export const realmOf = ({ realm, program, environment }: Spec): string =>
  realm ?? (environment === 'staging' ? `${program.toLowerCase()}-staging` : program.toLowerCase());

export const hostOf = ({ environment }: Spec): string =>
  environment === 'staging' ? 'auth-staging.test' : 'auth.test';

/** Of two releases each serves what is labelled with its name. */
export const isServed = (releases: number, { metadata }: StoredObject): boolean =>
  releases === 1 || ['one', 'two'].includes(metadata.labels?.['release'] ?? '');

/** Every JWT in a text. */
export const tokensIn = (text: string): string[] => text.match(/eyJ[\w-]+\.[\w-]+\.[\w-]+/g) ?? [];
