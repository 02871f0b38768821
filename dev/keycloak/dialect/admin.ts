import { type Answer, plainAnswer } from './answer.ts';
import type { Fault, Faults } from './faults.ts';
import type { Realms } from './realms.ts';
import type { RequestLog } from './request-log.ts';

export type AdminRequest = { method: string; path: string; body: string };

/** What the requests look at and change. */
export interface Administered {
  readonly realms: Realms;
  readonly faults: Faults;
  readonly log: RequestLog;
}

const NOT_FOUND = plainAnswer(404, { error: 'Not Found' });
const done = (): Answer => ({ status: 204, headers: {}, body: '' });

/**
 * What a demo in another process needs:
 * GET /admin/counts, POST /admin/faults (a Fault), DELETE /admin/faults,
 * PUT /admin/realms/{realm}/clients/{clientId}/secret ({"secret": …}).
 */
export function admin({ realms, faults, log }: Administered, request: AdminRequest): Answer {
  const [, , area = '', ...rest] = request.path.split('/').map(decodeURIComponent);
  switch (`${request.method} ${area}`) {
    case 'GET counts':
      return plainAnswer(200, log.counts());
    case 'POST faults':
      return addFault(faults, request.body);
    case 'DELETE faults':
      faults.clear();
      return done();
    case 'PUT realms':
      return putSecret(realms, rest, request.body);
    default:
      return NOT_FOUND;
  }
}

/** A development tool: the sender is trusted to send a Fault. */
function addFault(faults: Faults, body: string): Answer {
  const fault: Fault = JSON.parse(body);
  faults.add(fault);
  return done();
}

function putSecret(realms: Realms, path: string[], body: string): Answer {
  const [realmName = '', clients, clientId = '', leaf] = path;
  const realm = realms.find(realmName);
  if (clients !== 'clients' || leaf !== 'secret' || !realm?.clients.has(clientId)) return NOT_FOUND;
  const { secret }: { secret: string } = JSON.parse(body);
  realm.putClient({ clientId, secret });
  return done();
}
