import { randomUUID } from 'node:crypto';
import { type Account, NAMESPACE, sourceOf } from '../accounts.ts';
import { count, rounded, tally } from '../measures.ts';
import { atMost, exactly, type Row, told } from '../report.ts';
import { type Setting, Stage } from '../stage.ts';

/** A wrong password (or client secret), the operator restarted twice meanwhile; then the right one. */
export const wrongPassword = (setting: Setting): Promise<Row[]> =>
  Stage.play(setting, {
    realm: { bruteForceProtected: true },
    act: async (stage) => {
      const { reader, accounts, provider, operator } = stage;
      const wrong = accounts.map(wronged(setting));
      stage.moreSecrets.push(...wrong.flatMap((each) => [each.password, each.clientSecret]));
      await stage.applyAll('staging', wrong);
      for (const isLast of [false, false, true]) {
        await stage.wait(setting.milliseconds / 3);
        if (isLast) continue;
        await operator.kill();
        await operator.run();
      }
      const seen = await provider.seen();
      const served = reader.targets.size;
      const seconds = await secondsToReady(stage);
      const tries = count(seen, 'LOGIN_ERROR', 'CLIENT_LOGIN_ERROR') / accounts.length;
      return [
        told('requests that the server saw', tally(seen)),
        exactly('tries per credential', tries, 1),
        exactly('targets before the correction', served, 0),
        atMost('from the right password to Ready (s)', rounded(seconds), 15),
        told('requests after that', tally((await provider.seen()).slice(seen.length))),
      ];
    },
  });

const wronged =
  ({ grant }: Setting) =>
  (account: Account): Account =>
    grant === 'password'
      ? { ...account, password: `canary-wrong-${randomUUID()}` }
      : { ...account, clientSecret: `canary-wrong-${randomUUID()}` };

async function secondsToReady(stage: Stage): Promise<number> {
  const corrected = Date.now();
  await stage.apply(...stage.accounts.map(sourceOf));
  const ready = ['wait', '--for=condition=Ready', 'cvc', '--all', '-n', NAMESPACE];
  await stage.controlPlane.kubectl([...ready, '--timeout=100s']);
  return (Date.now() - corrected) / 1_000;
}
