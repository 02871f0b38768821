import { startIdentityProvider } from '../../../keycloak/dialect/identity-provider.ts';
import { localStaging } from '../../../operator.ts';
import { accountsFor, realmOf } from '../accounts.ts';
import { expiredSeconds, lateness, quantile, rounded } from '../measures.ts';
import { atMost, type Row, told } from '../report.ts';
import { type Setting, Stage } from '../stage.ts';
import type { Held } from '../target-reader.ts';

const REALM_SETTINGS = { accessTokenLifespan: 10 };

/** Two hosts with as many credentials each. For the second half of the time one of them accepts and never answers. */
export async function hangingHost(setting: Setting): Promise<Row[]> {
  const accounts = accountsFor(setting.grant, setting.credentials, 'hanging');
  const host = await startIdentityProvider();
  host.realms.add(await realmOf(accounts, REALM_SETTINGS));
  try {
    return await Stage.play(setting, {
      realm: REALM_SETTINGS,
      environments: { hanging: { realm: '{program}', ...localStaging(host.url).staging } },
      act: async (stage) => {
        for (const { clientSecret, username, password } of accounts)
          stage.moreSecrets.push(clientSecret, username, password);
        await stage.applyAll();
        await stage.applyAll('hanging', accounts);
        await stage.allServed(120, [...stage.accounts, ...accounts]);
        const start = Date.now();
        await stage.wait(setting.milliseconds / 2);
        host.faults.add({ kind: 'hang' });
        const hangs = Date.now();
        await stage.wait(setting.milliseconds / 2);
        const met = host.log.entries.filter(({ time, status }) => time > hangs && status === 0);
        return [
          told('requests that were left hanging', met.length),
          ...delayRows(stage, { start, hangs, end: Date.now() }),
        ];
      },
    });
  } finally {
    await host.close();
  }
}

/** Of the host that works. */
function delayRows(
  { reader, accounts }: Stage,
  { start, hangs, end }: { readonly start: number; readonly hangs: number; readonly end: number },
): Row[] {
  const targets = new Map<string, readonly Held[]>(
    accounts.map(({ name }) => [name, reader.targets.get(`${name}-token`) ?? []]),
  );
  const calm = lateness(targets, start, hangs);
  const under = lateness(targets, hangs, end);
  const figure = (values: number[], share: number) => rounded(quantile(values, share) * 1_000);
  const figures = (values: number[]) =>
    [0.5, 0.99, 1].map((share) => figure(values, share)).join(', ');
  return [
    told(
      'renewals of the other host before, and while it hangs',
      `${calm.length}, ${under.length}`,
    ),
    told('their lateness before: median, p99, most (ms)', figures(calm)),
    told('their lateness meanwhile: median, p99, most (ms)', figures(under)),
    atMost(
      'median meanwhile by median before',
      rounded(quantile(under, 0.5) / quantile(calm, 0.5), 2),
      1.25,
    ),
    atMost('p99 meanwhile less p99 before (ms)', figure(under, 0.99) - figure(calm, 0.99), 100),
    atMost('expired seconds of the other host', rounded(expiredSeconds(targets)), 0),
  ];
}
