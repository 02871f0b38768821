import { count, meanGap, rounded, shortestGap, tally } from '../measures.ts';
import { atMost, type Row, serviceRows, told } from '../report.ts';
import { type Setting, Stage } from '../stage.ts';
import { shortLived } from './steady.ts';

const SESSION_SECONDS = 120;
const LEAST = 3_600 / SESSION_SECONDS;
/** Between two renewals: what a shrinking `expires_in` must not get below. */
const FLOOR_SECONDS = 10;

/** Sessions end after two minutes, whatever is refreshed, and tokens get ever shorter towards that end. */
export const sessionMax = (setting: Setting): Promise<Row[]> =>
  Stage.play(setting, {
    realm: { ...shortLived(setting), ssoSessionMaxLifespan: SESSION_SECONDS },
    config: { renewal: { minimumSeconds: FLOOR_SECONDS } },
    act: async (stage) => {
      const { reader, accounts, provider } = stage;
      await stage.applyAll();
      await stage.allServed(120);
      await stage.wait(setting.milliseconds);
      const seen = await provider.seen();
      const between = meanGap(seen.filter(({ type }) => type === 'LOGIN'));
      return [
        ...serviceRows(reader, accounts.length),
        told('requests that the server saw', tally(seen)),
        told('least possible logins per credential and hour', LEAST),
        told('mean time between two logins of one user (s)', rounded(between)),
        atMost('logins per credential and hour', rounded(3_600 / between), LEAST * 1.3),
        told('refreshes refused', count(seen, 'REFRESH_TOKEN_ERROR')),
        told('floor between renewals (s)', FLOOR_SECONDS),
        {
          measure: 'shortest time between two requests of one user (s)',
          value: rounded(shortestGap(seen)),
          aim: `at least ${FLOOR_SECONDS}`,
          met: shortestGap(seen) >= FLOOR_SECONDS - 0.5,
        },
      ];
    },
  });
