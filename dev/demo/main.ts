/**
 * `npm run demo`: a real kube-apiserver and etcd, a server that speaks Keycloak's dialect (`--keycloak`: a real
 * Keycloak), the operator as its own process, and three credentials.
 * `--for 60s` ends after that time and exits 0 only if tokens were issued and renewed.
 * `--record docs/demo.svg` writes what was on the terminal, for the README.
 */
import { writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { missingForControlPlane } from '../envtest/binaries.ts';
import { missingForKeycloak } from '../keycloak/server/distribution.ts';
import { Demo } from './demo.ts';
import { Recording } from './recording.ts';
import { Screen } from './screen.ts';

const HELP = `npm run demo -- [--keycloak] [--for 60s] [--record FILE]

  --keycloak     use a real Keycloak instead of the built-in identity provider (needs a JDK and Maven)
  --for TIME     end after 90s, 5m, …; exit 0 only if tokens were issued and renewed
  --record FILE  write an SVG that plays what was on the terminal, without the hints`;

const { values } = parseArgs({
  options: {
    keycloak: { type: 'boolean', default: false },
    for: { type: 'string' },
    record: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});

process.exitCode = await main();

async function main(): Promise<number> {
  if (values.help) {
    console.log(HELP);
    return 0;
  }
  const milliseconds = values.for === undefined ? undefined : durationOf(values.for);
  if (Number.isNaN(milliseconds)) {
    console.error(`--for ${values.for}: write a time such as 60s or 5m`);
    return 2;
  }
  const missing = [
    ...(await missingForControlPlane()),
    ...(values.keycloak ? await missingForKeycloak() : []),
  ];
  if (missing.length > 0) {
    console.error(`Before the demo can start:\n${missing.map((line) => `  - ${line}`).join('\n')}`);
    return 1;
  }
  return watch(milliseconds);
}

async function watch(milliseconds: number | undefined): Promise<number> {
  const ended = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => ended.abort());
  const screen = new Screen(process.stdout);
  const recording = new Recording(() => performance.now());
  recording.line(`$ npm run demo${milliseconds === undefined ? '' : ` -- --for ${values.for}`}`);
  const line = (text: string): void => {
    screen.line(text);
    recording.line(text);
  };
  const demo = new Demo({ realKeycloak: values.keycloak, log: line });
  try {
    await demo.start(ended.signal);
    screen.line(demo.hints());
    if (milliseconds !== undefined) setTimeout(() => ended.abort(), milliseconds).unref();
    while (!ended.signal.aborted) {
      const picture = await demo.look(ended.signal);
      screen.show(picture);
      recording.show(picture);
    }
    const problems = demo.problems();
    line(problems.length === 0 ? `\n${demo.summary()}` : problems.join('\n'));
    if (values.record !== undefined) await writeFile(values.record, recording.svg());
    return problems.length === 0 || milliseconds === undefined ? 0 : 1;
  } catch (error) {
    if (ended.signal.aborted) return milliseconds === undefined ? 0 : 1;
    throw error;
  } finally {
    screen.line('Cleaning up …');
    await demo.stop();
  }
}

function durationOf(text: string): number {
  const [, amount, unit] = /^(\d+)(s|m)$/.exec(text) ?? [];
  return Number(amount) * (unit === 'm' ? 60_000 : 1_000);
}
