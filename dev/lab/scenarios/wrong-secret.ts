import { setTimeout as sleep } from 'node:timers/promises';
import type { Lab } from '../lab.ts';
import { Population, secretOf } from '../population.ts';
import { count, exactly, quantity, type Row } from '../report.ts';
import type { Size } from './quiet.ts';

const CLIENT = 'machine-2-machine';
const SOURCE = '/api/v1/namespaces/abc-0/secrets/source';

const data = (secret: string) => ({
  data: { client_secret: Buffer.from(secret).toString('base64') },
});

/** A wrong client secret, what people see of it, and how soon it is mended. */
export async function wrongSecret(lab: Lab, { wrongSeconds }: Size): Promise<Row[]> {
  const options = { count: 1, namespaces: 1, secrets: 'same', tokenSeconds: 3_600 } as const;
  const population = await Population.prepare(lab, options);
  await patchSource(lab, 'not-the-secret');
  await lab.startOperator();
  await population.createCredential(0);
  lab.log(`Waiting ${wrongSeconds} s with a wrong client secret`);
  await sleep(wrongSeconds * 1_000);
  const requests = await lab.provider.count();
  const { controlPlane } = lab;
  const get = await controlPlane.kubectl(['get', 'cvc', '-n', 'abc-0']);
  const describe = await controlPlane.kubectl(['describe', 'cvc', 'c-0', '-n', 'abc-0']);
  const corrected = Date.now();
  await patchSource(lab, secretOf(CLIENT));
  await controlPlane.kubectl([
    'wait',
    '--for=condition=Ready',
    'cvc/c-0',
    '-n',
    'abc-0',
    '--timeout=60s',
  ]);
  return [
    count(`token requests in ${wrongSeconds} s`, requests, exactly(1, requests)),
    quantity(
      'from the corrected Secret to Ready, as kubectl wait sees it (s)',
      (Date.now() - corrected) / 1_000,
    ),
    count('kubectl get', get),
    count('kubectl describe', describe),
  ];
}

async function patchSource(lab: Lab, secret: string): Promise<void> {
  const contentType = 'application/merge-patch+json';
  await lab.client.send({ method: 'PATCH', path: SOURCE, body: data(secret), contentType });
}
