import { Failure } from '../lib/failure.ts';
import { decimalAt, parseJson, textAt } from '../lib/json.ts';
import { Sensitive } from '../lib/sensitive.ts';
import { clientIdOf } from '../oauth/grants.ts';
import { kindAndNameOf } from './cluster-name.ts';
import { type Credential, sessionNameOf } from './credential.ts';
import type { DesiredSecret, SecretContents, SecretMeta } from './secret.ts';
import type { Session } from './session.ts';
import {
  COMPONENT_LABEL,
  credentialLabels,
  managerFor,
  SESSION_COMPONENT,
} from './target-secret.ts';

/** As with TARGET_TYPE, the API server refuses to apply a session onto a Secret of another type. */
const SESSION_TYPE = 'convercus.io/session';

/** Keys of the Secret: the refresh token, the user name, and the facts as JSON. */
const KEYS = {
  refreshToken: 'refresh_token',
  username: 'username',
  details: 'session.json',
} as const;

/** Velero: a session that comes back would present a refresh token that has been used since. */
const EXCLUDED_FROM_BACKUPS = { 'velero.io/exclude-from-backup': 'true' } as const;

/** The Secret that holds the session. It has no owner: it must outlive its credential for the log-out. */
export function sessionSecretFrom(
  { namespace, name }: Pick<Credential, 'namespace' | 'name'>,
  session: Session,
  existing: SecretMeta | 'absent',
): DesiredSecret {
  return {
    namespace,
    name: sessionNameOf(name),
    ...(existing === 'absent' ? {} : { uid: existing.uid }),
    type: SESSION_TYPE,
    labels: {
      ...credentialLabels(name),
      [COMPONENT_LABEL]: SESSION_COMPONENT,
      ...EXCLUDED_FROM_BACKUPS,
    },
    annotations: {},
    data: {
      [KEYS.refreshToken]: session.refreshToken,
      [KEYS.username]: session.username,
      [KEYS.details]: new Sensitive(JSON.stringify(detailsOf(session))),
    },
    force: true,
    fieldManager: managerFor(name),
  };
}

/** The stored names are those of version 0.1.0: a session outlives an upgrade and a rollback. */
function detailsOf(session: Session): object {
  const { refreshToken: _, username: __, ...rest } = session;
  const clientId = clientIdOf(session);
  const { credentialsVersion, reauthenticateAt, maxTokenLifetime, ...same } = rest;
  return {
    ...same,
    clientId,
    loggedInWith: credentialsVersion,
    loginAt: reauthenticateAt,
    longest: maxTokenLifetime,
  };
}

function sourceFrom(details: unknown): Session['source'] {
  const text = (name: string): string | undefined => textAt(details, 'source', name);
  const clientIdKey = text('clientIdKey');
  return {
    name: text('name') ?? '',
    key: text('key') ?? '',
    ...(clientIdKey === undefined ? {} : { clientIdKey }),
  };
}

/** The session in a Secret; undefined when there is none or it cannot be read. */
export function sessionFrom({
  data,
  type,
}: Pick<SecretContents, 'data' | 'type'>): Session | undefined {
  if (type !== SESSION_TYPE) return undefined;
  const [refreshToken, username] = [data.get(KEYS.refreshToken), data.get(KEYS.username)];
  const details = parseJson(data.get(KEYS.details)?.reveal() ?? '');
  const text = (name: string): string => textAt(details, name) ?? '';
  const startedAt = decimalAt(details, 'startedAt');
  const maxTokenLifetime = decimalAt(details, 'longest');
  const source = sourceFrom(details);
  if (refreshToken === undefined || username === undefined) return undefined;
  if (startedAt === undefined || maxTokenLifetime === undefined) return undefined;
  return {
    refreshToken,
    username,
    credentialUid: text('credentialUid'),
    environment: text('environment'),
    realm: text('realm'),
    tokenUrl: text('tokenUrl'),
    clientId: source.clientIdKey === undefined ? text('clientId') : new Sensitive(text('clientId')),
    scope: text('scope'),
    source,
    credentialsVersion: text('loggedInWith'),
    startedAt,
    refreshExpiresAt: decimalAt(details, 'refreshExpiresAt'),
    reauthenticateAt: decimalAt(details, 'loginAt'),
    maxTokenLifetime,
  };
}

/** By labels alone: metadata do not hold the type. */
export const isSessionSecret = ({ isSession, credentialName }: SecretMeta, name: string): boolean =>
  isSession === true && credentialName === name;

/** By type as well: others can set labels, but the type of a Secret cannot be changed. */
export const holdsSession = ({ meta, type }: SecretContents, name: string): boolean =>
  type === SESSION_TYPE && isSessionSecret(meta, name);

/** @param found the Secret that has the name */
export function sessionNotOurs(name: string, found: SecretMeta): Failure {
  const secretName = sessionNameOf(name);
  const other = found.isSession === true ? found.credentialName : undefined;
  if (other !== undefined && sessionNameOf(other) === secretName) {
    return new Failure(
      'TargetNotOurs',
      `Secret "${secretName}" holds the session of ${kindAndNameOf(other)}, and that of this credential would have the same name; leave the Secret as it is, and replace one of the two credentials by one of another name`,
    );
  }
  return new Failure(
    'TargetNotOurs',
    `Secret "${secretName}" exists and was not made by the operator, which keeps the session of this credential under that name; delete or rename it, or rename the credential`,
  );
}
