import { randomUUID } from 'node:crypto';
import { type Account, sourceOf } from '../accounts.ts';
import { expiredSeconds, quantile, replacements, rounded, tally } from '../measures.ts';
import { atMost, exactly, type Row, told } from '../report.ts';
import { type Setting, Stage } from '../stage.ts';

/** Between the two places; the tokens outlive it by far. */
const GAP = 10_000;

type Step = (stage: Stage, accounts: readonly Account[]) => Promise<void>;

const atTheServer: Step = async ({ provider }, accounts) => {
  const secrets = new Map(accounts.map((each) => [each.clientId, each.clientSecret]));
  for (const [clientId, secret] of secrets) await provider.changeClientSecret(clientId, secret);
};

const inTheSecrets: Step = (stage, accounts) => stage.apply(...accounts.map(sourceOf));

/** A new client secret, at the server and in the Secrets 10 s apart, in both orders. */
export const rotation = (setting: Setting): Promise<Row[]> =>
  Stage.play(setting, {
    realm: { accessTokenLifespan: setting.tokenSeconds, revokeRefreshToken: true },
    act: async (stage) => {
      await stage.applyAll();
      await stage.allServed(120);
      const serverFirst = await rotate(stage, [atTheServer, inTheSecrets]);
      const secretFirst = await rotate(stage, [inTheSecrets, atTheServer]);
      return [
        told('lifetime of a token (s)', setting.tokenSeconds),
        ...serverFirst.map((row) => ({ ...row, measure: `server first: ${row.measure}` })),
        ...secretFirst.map((row) => ({ ...row, measure: `Secret first: ${row.measure}` })),
        exactly('states of a target that were no token', stage.reader.unreadable, 0),
      ];
    },
  });

async function rotate(stage: Stage, [first, second]: [Step, Step]): Promise<Row[]> {
  const { provider, reader, setting } = stage;
  const accounts = renewed(stage);
  const before = { at: Date.now(), requests: (await provider.seen()).length };
  const expiredBefore = expiredSeconds(reader.targets);
  await first(stage, accounts);
  await stage.wait(GAP);
  await second(stage, accounts);
  const both = Date.now();
  await stage.wait(setting.milliseconds / 2 - GAP);
  const tokens = replacements(reader.targets).filter(({ next }) => next.since > before.at);
  const firsts = [...reader.targets.values()].map(
    (states) =>
      (states.find(({ since }) => since > both)?.since ?? Number.POSITIVE_INFINITY) - both,
  );
  return [
    told('requests that the server saw', tally((await provider.seen()).slice(before.requests))),
    told('tokens published from the first change on', tokens.length),
    told('from the second change to a token, median (s)', rounded(quantile(firsts, 0.5) / 1_000)),
    told('from the second change to a token, longest (s)', rounded(Math.max(...firsts) / 1_000)),
    atMost('expired seconds', rounded(expiredSeconds(reader.targets) - expiredBefore), 0),
  ];
}

/** The accounts with another client secret, those of one client with the same. */
function renewed({ accounts, moreSecrets }: Stage): Account[] {
  const secrets = new Map(accounts.map(({ clientId }) => [clientId, `canary-${randomUUID()}`]));
  moreSecrets.push(...secrets.values());
  return accounts.map((each) => ({ ...each, clientSecret: secrets.get(each.clientId) ?? '' }));
}
