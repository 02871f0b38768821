import { stringify } from 'yaml';
import { parseConfig } from '../../../src/config.ts';
import { parseCredential } from '../../../src/credential/credential.ts';
import { credentialFrom } from '../../../src/kubernetes/objects.ts';
import { isFailure } from '../../../src/lib/failure.ts';
import { imageSettings } from '../../bundled-operator.ts';
import { localStaging } from '../../testbed/operator.ts';
import { METADATA } from '../api-client.ts';
import { startFakeApiServer, type Templates } from '../fake-api-server.ts';
import { Population } from '../population.ts';
import { idleNodeMb, sampleOf } from '../process-sample.ts';
import { exactly, type Row, row } from '../report.ts';
import { type LabTestbed, pidOf, type Size } from '../testbed.ts';
import { memoryAboveIdle } from '../thresholds.ts';
import { timesOfStart } from './idle.ts';

/** V8 gives back what a start has left behind after one to three minutes at rest. */
const REST_SECONDS = 180;

/** Resident memory after a start with many valid tokens: a fake API server shows copies of one real credential. */
export async function memory(testbed: LabTestbed, size: Size): Promise<Row[]> {
  const { count } = size;
  const idleMb = await idleNodeMb(await imageSettings());
  const server = await startFakeApiServer(testbed.controlPlane, await templates(testbed), size);
  try {
    const config = { leaderElection: { enabled: false } };
    const start = () => testbed.startOperator(config, server.kubeconfig);
    const { operator, readyMs, reconciledMs } = await timesOfStart(start, count);
    const { cpuMs } = sampleOf(pidOf(operator));
    testbed.log(`At rest for ${REST_SECONDS} s`);
    await testbed.wait(REST_SECONDS * 1_000);
    const { residentMb, peakMb } = sampleOf(pidOf(operator));
    return [
      row(`resident memory at rest with ${count} credentials (MB)`, residentMb),
      row('  of an idle node with the same flags (MB)', idleMb),
      row('  above that of an idle node (MB)', residentMb - idleMb, memoryAboveIdle(count)),
      row('  at its peak (MB)', peakMb),
      row('from the start of the process to ready (ms)', readyMs),
      row('  to ready and all reconciled (ms)', reconciledMs),
      row('  CPU until then (ms)', cpuMs),
      row('requests but for lists and watches', server.otherRequests(), exactly(0)),
    ];
  } finally {
    server.stop();
  }
}

async function templates(testbed: LabTestbed): Promise<Templates> {
  await Population.create(testbed, { count: 1, realm: { accessTokenLifespan: 36_000 } });
  const before = await testbed.counts();
  const operator = await testbed.startOperator();
  await testbed.untilQuiet(before, 1);
  await operator.kill();
  const read = (path: string, accept: string): Promise<string> =>
    testbed.client.send({ method: 'GET', path, accept });
  const credentials = '/apis/convercus.io/v1alpha1/namespaces/abc-0/convercuscredentials';
  const [credential, source, target] = await Promise.all([
    read(`${credentials}/c-0`, 'application/json'),
    read('/api/v1/namespaces/abc-0/secrets/source-0', METADATA),
    read('/api/v1/namespaces/abc-0/secrets/c-0-token', METADATA),
  ]);
  const uids = [credential, source, target].map((text): string => JSON.parse(text).metadata.uid);
  return { credential, source, target, uids, specHash: specHashFor(testbed.provider.url) };
}

/** With the configuration that the operator gets. */
function specHashFor(providerUrl: string): Templates['specHash'] {
  const config = stringify({ environments: localStaging(providerUrl) });
  const settings = parseConfig(config, { readFile: () => '' });
  if (Array.isArray(settings)) throw new Error(settings.join('\n'));
  return (text) => {
    const resource = credentialFrom(JSON.parse(text));
    const credential = resource === undefined ? undefined : parseCredential(resource, settings);
    if (credential === undefined || isFailure(credential)) throw new Error('an invalid credential');
    return credential.specHash;
  };
}
