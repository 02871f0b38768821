import type { ControlPlane } from '../envtest/control-plane.ts';
import type { Operator } from './operator.ts';

/** Where no secret may be: the texts by the name of the place. */
export async function openPlaces(
  controlPlane: ControlPlane,
  ...operators: readonly Operator[]
): Promise<Map<string, string>> {
  const ofAll = async (read: (operator: Operator) => Promise<string>): Promise<string> =>
    (await Promise.all(operators.map(read))).join('\n');
  const kinds = [
    'convcred',
    ...(await clusterKind(controlPlane)),
    'events.v1.events.k8s.io',
    'leases',
  ];
  const objects = ['get', kinds.join(), '-A', '-o', 'json'];
  return new Map([
    ['log', await ofAll((operator) => operator.log())],
    ['metrics', await ofAll((operator) => operator.get('/metrics'))],
    ['statuses, events and leases', await controlPlane.kubectl(objects)],
    ['metadata of our Secrets', await metadataOfSecrets(controlPlane)],
  ]);
}

/** Where its CRD is installed. */
async function clusterKind(controlPlane: ControlPlane): Promise<string[]> {
  const crd = ['crd', 'clusterconvercuscredentials.convercus.io', '--ignore-not-found'];
  return (await controlPlane.kubectl(['get', ...crd])) === '' ? [] : ['cconvcred'];
}

async function metadataOfSecrets(controlPlane: ControlPlane): Promise<string> {
  const label = 'app.kubernetes.io/managed-by=convercus-operator';
  const text = await controlPlane.kubectl(['get', 'secrets', '-A', '-l', label, '-o', 'json']);
  const { items }: { items: { metadata: object }[] } = JSON.parse(text);
  return JSON.stringify(items.map(({ metadata }) => metadata));
}

export interface Leak {
  readonly place: string;
  /** The index of the secret, never the secret itself. */
  readonly secret: number;
}

/** The places that hold one of the secrets, as it is or encoded. */
export const leaks = (places: ReadonlyMap<string, string>, secrets: readonly string[]): Leak[] =>
  [...places].flatMap(([place, text]) =>
    secrets.flatMap((secret, index) =>
      formsOf(secret).some((form) => text.includes(form)) ? [{ place, secret: index }] : [],
    ),
  );

/** Of a token only the signature: the rest of two tokens may be alike. The end of base64 depends on what follows. */
function formsOf(secret: string): string[] {
  const part = secret.split('.').at(-1) ?? secret;
  return [
    part,
    Buffer.from(part).toString('base64').slice(0, -4),
    encodeURIComponent(part),
    new URLSearchParams({ '': part }).toString().slice(1),
    JSON.stringify(part).slice(1, -1),
  ];
}
