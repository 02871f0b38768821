import { describe, expect, it } from '@jest/globals';
import type { ConvercusCredential } from '../../src/credential/api.ts';
import { rfc3339 } from '../../src/lib/time.ts';
import { createMetrics, type Metrics } from '../../src/telemetry/metrics.ts';
import { aCredential, START } from '../support/builders.ts';
import { FakeClock } from '../support/fake-clock.ts';

/** Of a leader. */
function aRegistry(clock = new FakeClock(), perCredential = true): Metrics {
  const options = { version: '1.2.3', workers: 16, leaseName: 'lease', perCredential, clock };
  const metrics = createMetrics(options);
  metrics.leading(true);
  return metrics;
}

async function textOf(metrics: Metrics): Promise<string> {
  let text = '';
  for await (const chunk of metrics.chunks()) text += chunk;
  return text;
}

/** Each sample of the text by its name and labels. */
async function samplesOf(metrics: Metrics): Promise<Record<string, number>> {
  const lines = (await textOf(metrics)).split('\n').filter((line) => /^[a-z]/.test(line));
  return Object.fromEntries(
    lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.split(' ').at(-1))]),
  );
}

const status = (ready: 'True' | 'False') => ({
  conditions: [
    { type: 'Ready', status: ready, reason: 'r', message: 'm', lastTransitionTime: 't' },
    {
      type: 'Stalled',
      status: 'True' as const,
      reason: 'r',
      message: 'm',
      lastTransitionTime: 't',
    },
  ],
  expiresAt: rfc3339(START + 300_000),
  renewAt: rfc3339(START + 240_000),
});

const LABELS =
  'namespace="shop",name="loyalty",program="ABC",environment="staging",grant_type="client_credentials"';

describe('the metrics', () => {
  it('show every credential from its status', async () => {
    const metrics = aRegistry();
    metrics.observe({ credentials: () => [aCredential({ status: status('True') })] });
    expect(await samplesOf(metrics)).toMatchObject({
      [`convercus_credential_ready{${LABELS}}`]: 1,
      [`convercus_credential_stalled{${LABELS}}`]: 1,
      [`convercus_credential_token_expiry_timestamp_seconds{${LABELS}}`]: START / 1_000 + 300,
      [`convercus_credential_renewal_due_timestamp_seconds{${LABELS}}`]: START / 1_000 + 240,
    });
  });

  it('do not call a credential ready whose token has expired, even if its status is not updated', async () => {
    const clock = new FakeClock();
    const metrics = aRegistry(clock);
    metrics.observe({ credentials: () => [aCredential({ status: status('True') })] });
    clock.step(300_000);
    expect(await samplesOf(metrics)).toMatchObject({
      [`convercus_credential_ready{${LABELS}}`]: 0,
    });
  });

  it('show a credential without a status as not ready and without times', async () => {
    const metrics = aRegistry();
    metrics.observe({ credentials: () => [aCredential()] });
    const samples = await samplesOf(metrics);
    expect(samples[`convercus_credential_ready{${LABELS}}`]).toBe(0);
    expect(Object.keys(samples).filter((name) => /expiry|renewal_due/.test(name))).toEqual([]);
  });

  it('tell which credentials are suspended, and nothing of the others', async () => {
    const metrics = aRegistry();
    const suspended = aCredential({ spec: { suspend: true } });
    metrics.observe({ credentials: () => [suspended, aCredential({ metadata: { name: 'b' } })] });
    const lines = (await textOf(metrics)).split('\n');
    expect(lines.filter((line) => line.startsWith('convercus_credential_suspended'))).toEqual([
      `convercus_credential_suspended{${LABELS}} 1`,
    ]);
  });

  it('name the reason of a failed renewal, and nothing of a credential that is fine', async () => {
    const metrics = aRegistry();
    const renewed = { type: 'Renewed', message: 'm', lastTransitionTime: 't' };
    const conditions = [{ ...renewed, status: 'False' as const, reason: 'NetworkError' }];
    const fine = [{ ...renewed, status: 'True' as const, reason: 'RenewalDue' }];
    metrics.observe({
      credentials: () => [
        aCredential({ status: { conditions } }),
        aCredential({ metadata: { name: 'fine' }, status: { conditions: fine } }),
      ],
    });
    const lines = (await textOf(metrics)).split('\n');
    expect(lines.filter((line) => line.startsWith('convercus_credential_failure_info{'))).toEqual([
      'convercus_credential_failure_info{namespace="shop",name="loyalty",reason="NetworkError"} 1',
    ]);
  });

  it('show credentials in the leader alone', async () => {
    const metrics = aRegistry();
    metrics.observe({ credentials: () => [aCredential({ status: status('True') })] });
    metrics.leading(false);
    expect(await textOf(metrics)).not.toContain('name="loyalty"');
    metrics.leading(true);
    expect(await textOf(metrics)).toContain('name="loyalty"');
  });

  it('start the counters of configured hosts at 0', async () => {
    const metrics = aRegistry();
    metrics.tokenHosts([{ host: 'id.test', grantType: 'password' }]);
    const labels = 'host="id.test",grant_type="password"';
    expect(await samplesOf(metrics)).toMatchObject({
      [`convercus_token_requests_total{${labels},outcome="success"}`]: 0,
      [`convercus_token_requests_total{${labels},outcome="NetworkError"}`]: 0,
    });
  });

  it('tell how late renewals are, and what was left of the token', async () => {
    const metrics = aRegistry();
    metrics.renewedOnSchedule({ lateness: 2_000, remaining: 300_000 });
    metrics.renewedOnSchedule({ lateness: 400_000, remaining: -1_000 });
    expect(await samplesOf(metrics)).toMatchObject({
      'convercus_renewal_lateness_seconds_bucket{le="5"}': 1,
      convercus_renewal_lateness_seconds_sum: 402,
      'convercus_token_remaining_seconds_at_renewal_bucket{le="0"}': 1,
      'convercus_token_remaining_seconds_at_renewal_bucket{le="300"}': 2,
      convercus_token_remaining_seconds_at_renewal_sum: 300,
    });
  });

  it('tell which watches work', async () => {
    const metrics = aRegistry();
    metrics.watch('secrets', 'shop', false);
    metrics.watch('secrets', 'depot', true);
    metrics.watch('secrets', 'shop', true);
    metrics.watch('secrets', 'depot', false);
    expect(await samplesOf(metrics)).toMatchObject({
      'convercus_watch_up{resource="secrets",namespace="shop"}': 1,
      'convercus_watch_up{resource="secrets",namespace="depot"}': 0,
    });
  });

  it('count the credentials by state instead, where their names are not to be shown', async () => {
    const metrics = aRegistry(new FakeClock(), false);
    const states: Record<string, ConvercusCredential> = {
      ready: aCredential({ status: status('True') }),
      failed: aCredential({ status: status('False') }),
      expired: aCredential({ status: { ...status('True'), expiresAt: rfc3339(START) } }),
      fresh: aCredential(),
      suspended: aCredential({ spec: { suspend: true }, status: status('True') }),
    };
    metrics.observe({ credentials: () => Object.values(states) });
    const text = await textOf(metrics);
    expect(text).not.toMatch(/shop|loyalty|ABC|staging|convercus_credential_/);
    expect(await samplesOf(metrics)).toMatchObject({
      'convercus_credentials{state="ready"}': 1,
      'convercus_credentials{state="not_ready"}': 3,
      'convercus_credentials{state="suspended"}': 1,
    });
  });

  it('escape the values of labels', async () => {
    const metrics = aRegistry();
    metrics.observe({ credentials: () => [aCredential({ spec: { program: 'a"b\\c\nd' } })] });
    expect(await textOf(metrics)).toContain('program="a\\"b\\\\c\\nd"');
  });

  it('describe each metric once, with all its samples together, however many credentials there are', async () => {
    const metrics = aRegistry();
    const credentials = Array.from({ length: 2_500 }, (_, at) =>
      aCredential({ metadata: { name: `c${at}` }, status: status('True') }),
    );
    metrics.observe({ credentials: () => credentials });
    const lines = (await textOf(metrics)).split('\n');
    const ready = lines.filter((line) => line.startsWith('convercus_credential_ready{'));
    const first = lines.findIndex((line) => line.startsWith('convercus_credential_ready{'));
    expect(ready).toHaveLength(2_500);
    expect(lines.slice(first, first + 2_500)).toEqual(ready);
    const described = lines.filter((line) => line.startsWith('# TYPE'));
    expect(new Set(described).size).toBe(described.length);
  });

  it('are written in pieces of at most 1,000 samples of credentials', async () => {
    const metrics = aRegistry();
    const credentials = Array.from({ length: 2_500 }, () => aCredential());
    metrics.observe({ credentials: () => credentials });
    const sizes: number[] = [];
    for await (const chunk of metrics.chunks())
      sizes.push(chunk.split('\n').filter((line) => line.startsWith('convercus_cred')).length);
    expect(Math.max(...sizes)).toBe(1_000);
  });

  it('count token requests, renewals and requests to the API server', async () => {
    const metrics = aRegistry();
    const request = { host: 'id.test', grantType: 'client_credentials', seconds: 0.2 };
    metrics.tokenRequest({ ...request, outcome: 'success' });
    metrics.tokenRequest({ ...request, outcome: 'NetworkError' });
    metrics.renewal('RenewalDue', 'success');
    metrics.apiRequest('GET', 'api:443', '200');
    const labels = 'host="id.test",grant_type="client_credentials"';
    expect(await samplesOf(metrics)).toMatchObject({
      [`convercus_token_requests_total{${labels},outcome="success"}`]: 1,
      [`convercus_token_requests_total{${labels},outcome="NetworkError"}`]: 1,
      [`convercus_token_request_duration_seconds_count{${labels}}`]: 2,
      [`convercus_token_request_duration_seconds_bucket{le="0.1",${labels}}`]: 0,
      [`convercus_token_request_duration_seconds_bucket{le="0.25",${labels}}`]: 2,
      'convercus_renewals_total{reason="RenewalDue",outcome="success"}': 1,
      'rest_client_requests_total{code="200",method="GET",host="api:443"}': 1,
    });
  });

  it('show hosts for as long as there is something to say of them', async () => {
    const clock = new FakeClock();
    const metrics = aRegistry(clock);
    const host = { host: 'id.test', queued: 3, running: 2, pausedUntil: START + 1_000 };
    let hosts = [host, { host: 'other.test', queued: 0, running: 1, pausedUntil: undefined }];
    metrics.observe({ limiter: { snapshot: () => hosts } });
    expect(await samplesOf(metrics)).toMatchObject({
      'convercus_token_host_queue_length{host="id.test"}': 3,
      'convercus_token_host_running{host="id.test"}': 2,
      'convercus_token_host_paused{host="id.test",cause="rate_limited"}': 1,
      'convercus_token_host_paused{host="id.test",cause="unreachable"}': 0,
      'convercus_token_host_paused{host="other.test",cause="rate_limited"}': 0,
    });
    clock.step(1_000);
    expect(
      (await samplesOf(metrics))[
        'convercus_token_host_paused{host="id.test",cause="rate_limited"}'
      ],
    ).toBe(0);
    hosts = [];
    expect(await textOf(metrics)).not.toContain('host="id.test"');
  });

  it('show queue and controller under the names that dashboards know', async () => {
    const metrics = aRegistry();
    const snapshot = () => ({ ready: 7, unfinishedWork: 3_000, longestWork: 2_000 });
    metrics.observe({ queue: { snapshot } });
    metrics.observe({ controller: { active: 2 } });
    metrics.queueMetrics.add();
    metrics.queueMetrics.retry();
    metrics.queueMetrics.get(500);
    metrics.queueMetrics.done(250);
    metrics.reconciled('success', 100);
    metrics.reconciled('error', 200);
    metrics.leading(true);
    const queue = '{name="credentials"}';
    const controller = 'controller="convercuscredential"';
    expect(await samplesOf(metrics)).toMatchObject({
      [`workqueue_depth${queue}`]: 7,
      [`workqueue_unfinished_work_seconds${queue}`]: 3,
      [`workqueue_longest_running_processor_seconds${queue}`]: 2,
      [`workqueue_adds_total${queue}`]: 1,
      [`workqueue_retries_total${queue}`]: 1,
      [`workqueue_queue_duration_seconds_sum${queue}`]: 0.5,
      [`workqueue_work_duration_seconds_sum${queue}`]: 0.25,
      [`controller_runtime_reconcile_total{${controller},result="success"}`]: 1,
      [`controller_runtime_reconcile_total{${controller},result="error"}`]: 1,
      [`controller_runtime_reconcile_total{${controller},result="requeue_after"}`]: 0,
      [`controller_runtime_reconcile_errors_total{${controller}}`]: 1,
      [`controller_runtime_reconcile_time_seconds_count{${controller}}`]: 2,
      [`controller_runtime_active_workers{${controller}}`]: 2,
      [`controller_runtime_max_concurrent_reconciles{${controller}}`]: 16,
      'leader_election_master_status{name="lease"}': 1,
      'convercus_operator_build_info{version="1.2.3"}': 1,
    });
  });

  it('begin at zero, and include those of the process', async () => {
    const metrics = aRegistry();
    metrics.leading(false);
    const samples = await samplesOf(metrics);
    expect(samples['leader_election_master_status{name="lease"}']).toBe(0);
    expect(samples['workqueue_depth{name="credentials"}']).toBe(0);
    expect(samples['convercus_renewals_total{reason="TokenMissing",outcome="success"}']).toBe(0);
    expect(
      samples['convercus_renewals_total{reason="RenewalDue",outcome="PermissionDenied"}'],
    ).toBe(0);
    expect(samples).toHaveProperty('process_resident_memory_bytes');
    expect(metrics.contentType).toContain('version=0.0.4');
  });
});
