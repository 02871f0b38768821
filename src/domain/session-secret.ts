import { type Credential, sessionNameOf } from './credential.ts';
import { Failure } from './failure.ts';
import { memberOf, numberMember, parseJson, textMember } from './http-answer.ts';
import type { DesiredSecret, SecretContents, SecretMeta } from './secret.ts';
import { Sensitive } from './sensitive.ts';
import type { Session } from './session.ts';
import {
  CREDENTIAL_LABEL,
  FIELD_MANAGER,
  MANAGED_BY_LABEL,
  managerFor,
  SESSION_COMPONENT,
  SESSION_LABEL,
} from './target-secret.ts';

/** As for targets: the API server refuses to apply it onto a Secret of another type. */
const SESSION_TYPE = 'convercus.io/session';

/** Keys of the Secret: the refresh token, the user name, and the facts as JSON. */
const KEYS = {
  refreshToken: 'refresh_token',
  username: 'username',
  facts: 'session.json',
} as const;

/** The Secret that holds the session. It has no owner: it must outlive its credential for the log-out. */
export function renderSession(
  { namespace, name }: Pick<Credential, 'namespace' | 'name'>,
  session: Session,
  existing: SecretMeta | 'absent',
): DesiredSecret {
  const { refreshToken, username, ...facts } = session;
  return {
    namespace,
    name: sessionNameOf(name),
    ...(existing === 'absent' ? {} : { uid: existing.uid }),
    type: SESSION_TYPE,
    labels: {
      [MANAGED_BY_LABEL]: FIELD_MANAGER,
      [CREDENTIAL_LABEL]: name,
      [SESSION_LABEL]: SESSION_COMPONENT,
    },
    annotations: {},
    data: {
      [KEYS.refreshToken]: refreshToken,
      [KEYS.username]: username,
      [KEYS.facts]: new Sensitive(JSON.stringify(facts)),
    },
    force: true,
    fieldManager: managerFor(name),
  };
}

/** The session in a Secret, or undefined when there is none in it or somebody has made it unreadable. */
export function readSession({
  data,
  type,
}: Pick<SecretContents, 'data' | 'type'>): Session | undefined {
  if (type !== SESSION_TYPE) return undefined;
  const [refreshToken, username] = [data.get(KEYS.refreshToken), data.get(KEYS.username)];
  const facts = parseJson(data.get(KEYS.facts)?.reveal() ?? '');
  const text = (name: string): string => textMember(facts, name) ?? '';
  const source = memberOf(facts, 'source');
  const startedAt = numberMember(facts, 'startedAt');
  const longest = numberMember(facts, 'longest');
  if (refreshToken === undefined || username === undefined) return undefined;
  if (startedAt === undefined || longest === undefined) return undefined;
  return {
    refreshToken,
    username,
    credentialUid: text('credentialUid'),
    environment: text('environment'),
    realm: text('realm'),
    tokenUrl: text('tokenUrl'),
    clientId: text('clientId'),
    scope: text('scope'),
    source: { name: textMember(source, 'name') ?? '', key: textMember(source, 'key') ?? '' },
    loggedInWith: text('loggedInWith'),
    startedAt,
    refreshExpiresAt: numberMember(facts, 'refreshExpiresAt'),
    loginAt: numberMember(facts, 'loginAt'),
    longest,
  };
}

/** As far as metadata tell, of which the type is no part. */
export const isSessionSecret = ({ isSession, credentialName }: SecretMeta, name: string): boolean =>
  isSession === true && credentialName === name;

/** A Secret that was read whole holds a session of that credential: labels can be set by others, its type can't be changed. */
export const holdsSession = ({ meta, type }: SecretContents, name: string): boolean =>
  type === SESSION_TYPE && isSessionSecret(meta, name);

export function sessionNotOurs(name: string): Failure {
  return new Failure(
    'TargetNotOurs',
    `Secret "${sessionNameOf(name)}" exists and was not made by the operator, which keeps the session of this credential under that name; delete or rename it, or rename the credential`,
  );
}
