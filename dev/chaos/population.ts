/** The credentials: of every grant, in several namespaces. The same number gives the same credentials. */

export type Kind = 'shared' | 'own' | 'password' | 'legacy';

/** One ConvercusCredential. */
export interface Member {
  /** `namespace/name`. */
  readonly key: string;
  readonly namespace: string;
  readonly name: string;
  readonly kind: Kind;
  readonly program: string;
  readonly realm: string;
  readonly clientId: string;
  /** For the grants password and legacy_login; empty for the others. */
  readonly username: string;
  /** Name of the credentials Secret. Credentials that share a client share it within a namespace. */
  readonly source: string;
  readonly target: string;
  readonly creationPolicy: 'Owner' | 'Merge';
  readonly deletionPolicy: 'Delete' | 'Retain';
}

const NAMESPACES = 6;
const SHARED_CLIENT = 'machine-2-machine';
export const LEGACY_ORG = 'LEG';

/** Percentage of all credentials. */
const SHARES: readonly (readonly [Kind, number])[] = [
  ['shared', 50],
  ['own', 18],
  ['password', 20],
  ['legacy', 12],
];

const PROGRAMS: Readonly<Record<Kind, readonly string[]>> = {
  shared: ['SHA', 'SHB', 'SHC'],
  own: ['OWN'],
  password: ['PWA', 'PWB'],
  legacy: [LEGACY_ORG],
};

export function populationOf(count: number): Member[] {
  return SHARES.flatMap(([kind, share]) =>
    Array.from({ length: Math.round((count * share) / 100) }, (_, i) => memberOf(kind, i)),
  );
}

function memberOf(kind: Kind, i: number): Member {
  const namespace = `shop-${(i % NAMESPACES) + 1}`;
  const name = `${kind}-${i + 1}`;
  const programs = PROGRAMS[kind];
  const program = programs[Math.floor(i / NAMESPACES) % programs.length] ?? '';
  const isMachine = kind === 'shared' || kind === 'own';
  const merges = isMachine && i % 5 === 4;
  return {
    key: `${namespace}/${name}`,
    namespace,
    name,
    kind,
    program,
    realm: `${program.toLowerCase()}-staging`,
    clientId: kind === 'own' ? name : SHARED_CLIENT,
    username: isMachine ? '' : `user-of-${name}`,
    source: kind === 'shared' ? `source-${program.toLowerCase()}` : `source-of-${name}`,
    target: merges ? `${name}-app` : `${name}-token`,
    creationPolicy: merges ? 'Merge' : 'Owner',
    deletionPolicy: !merges && i % 7 === 6 ? 'Retain' : 'Delete',
  };
}

/** The clients, whose secrets are rotated. The legacy login has none. */
export const clientOf = ({ realm, clientId }: Pick<Member, 'realm' | 'clientId'>): string =>
  `${realm}/${clientId}`;

export const sourceKeyOf = ({ namespace, source }: Member): string => `${namespace}/${source}`;
