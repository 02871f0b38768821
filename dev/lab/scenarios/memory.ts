import { setTimeout as sleep } from 'node:timers/promises';
import { stringify } from 'yaml';
import { parseConfig } from '../../../src/config.ts';
import { parseCredential } from '../../../src/credential/credential.ts';
import { credentialFrom } from '../../../src/kubernetes/credential-object.ts';
import { isFailure } from '../../../src/lib/failure.ts';
import { localStaging } from '../../operator.ts';
import { type Lab, metricOf, pidOf } from '../lab.ts';
import { Population } from '../population.ts';
import { sampleOf } from '../process-sample.ts';
import { atMost, type Bar, count, exactly, quantity, type Row } from '../report.ts';
import { type Originals, StandIn } from '../stand-in.ts';
import { waitUntil } from '../target-tail.ts';
import { type Size, settled } from './quiet.ts';

const METADATA = 'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1';
const REST_SECONDS = 30;

/** Resident memory, and the start, with many valid tokens: one real credential, and a stand-in that shows it N times. */
export async function memory(lab: Lab, size: Size): Promise<Row[]> {
  const { count: n } = size;
  const standIn = await StandIn.start(lab.controlPlane, await originals(lab), size);
  try {
    const began = Date.now();
    const operator = await lab.startOperator({}, standIn.kubeconfig);
    const ready = Date.now() - began;
    const passes = (): Promise<number> => metricOf(operator, 'controller_runtime_reconcile_total');
    await waitUntil(
      async () => (await passes()) >= n,
      300,
      () => 'not all are scheduled',
    );
    const scheduled = Date.now() - began;
    const started = sampleOf(pidOf(operator));
    lab.log(`At rest for ${REST_SECONDS} s`);
    await sleep(REST_SECONDS * 1_000);
    const { residentMb, peakMb } = sampleOf(pidOf(operator));
    return [
      quantity('resident memory at rest (MB)', residentMb, memoryBar(n, residentMb)),
      quantity('  at its peak (MB)', peakMb),
      quantity('from the start of the process to ready (ms)', ready),
      quantity('  to ready and all scheduled (ms)', scheduled, startBar(n, scheduled)),
      quantity('  CPU until then (ms)', started.cpuMs),
      count(
        'requests but for lists, watches and Lease',
        standIn.others,
        exactly(0, standIn.others),
      ),
    ];
  } finally {
    standIn.stop();
  }
}

async function originals(lab: Lab): Promise<Originals> {
  const options = { count: 1, namespaces: 1, secrets: 'distinct', tokenSeconds: 36_000 } as const;
  await Population.create(lab, options);
  const before = await lab.counts();
  const operator = await lab.startOperator();
  await settled(lab, before, 1);
  await operator.kill();
  const read = (path: string, accept: string): Promise<string> =>
    lab.client.send({ method: 'GET', path, accept });
  const credentials = '/apis/convercus.io/v1alpha1/namespaces/abc-0/convercuscredentials';
  const [credential, source, target] = await Promise.all([
    read(`${credentials}/c-0`, 'application/json'),
    read('/api/v1/namespaces/abc-0/secrets/source-0', METADATA),
    read('/api/v1/namespaces/abc-0/secrets/c-0-token', METADATA),
  ]);
  const uids = [credential, source, target].map((text): string => JSON.parse(text).metadata.uid);
  const parts = { namespace: 'abc-', names: ['c-', 'source-'], uids };
  return { credential, source, target, ...parts, specHash: specHashBy(lab) };
}

function specHashBy({ provider }: Lab): Originals['specHash'] {
  const config = stringify({ environments: localStaging(provider.url) });
  const settings = parseConfig(config, { readFile: () => '' });
  if (Array.isArray(settings)) throw new Error(settings.join('\n'));
  return (text) => {
    const resource = credentialFrom(JSON.parse(text));
    const credential = resource === undefined ? undefined : parseCredential(resource, settings);
    if (credential === undefined || isFailure(credential)) throw new Error('no usable credential');
    return credential.specHash;
  };
}

export const memoryBar = (n: number, value: number): Bar | undefined =>
  n === 10_000 ? atMost(130, value) : n === 100_000 ? atMost(450, value) : undefined;

const startBar = (n: number, value: number): Bar | undefined =>
  n === 10_000 ? atMost(3_000, value) : undefined;
