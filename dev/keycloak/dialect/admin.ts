import type { Fault, Faults } from './faults.ts';
import type { Realms } from './realms.ts';
import type { RequestLog } from './request-log.ts';
import { type EndpointResponse, jsonResponse } from './response.ts';

export type AdminRequest = {
  readonly method: string;
  readonly path: string;
  readonly body: string;
};

/** What the requests read and change. */
export interface Administered {
  readonly realms: Realms;
  readonly faults: Faults;
  readonly log: RequestLog;
}

const NOT_FOUND = jsonResponse(404, { error: 'Not Found' });
const done = (): EndpointResponse => ({ status: 204, headers: {}, body: '' });

/**
 * Steers a server in another process:
 * GET /admin/counts, POST /admin/faults (a Fault), DELETE /admin/faults,
 * PUT /admin/realms/{realm}/clients/{clientId}/secret ({"secret": …}).
 */
export function admin(
  { realms, faults, log }: Administered,
  request: AdminRequest,
): EndpointResponse {
  const [, , area = '', ...rest] = request.path.split('/').map(decodeURIComponent);
  switch (`${request.method} ${area}`) {
    case 'GET counts':
      return jsonResponse(200, log.counts());
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

/** The body is not checked: this server is for development. */
function addFault(faults: Faults, body: string): EndpointResponse {
  const fault: Fault = JSON.parse(body);
  faults.add(fault);
  return done();
}

function putSecret(realms: Realms, path: string[], body: string): EndpointResponse {
  const [realmName = '', clients, clientId = '', leaf] = path;
  const realm = realms.find(realmName);
  if (clients !== 'clients' || leaf !== 'secret' || !realm?.clients.has(clientId)) return NOT_FOUND;
  const { secret }: { secret: string } = JSON.parse(body);
  realm.putClient({ clientId, secret });
  return done();
}
