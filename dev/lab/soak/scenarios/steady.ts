import { count, tally } from '../measures.ts';
import { exactly, type Row, serviceRows, told } from '../report.ts';
import { type Setting, Stage } from '../stage.ts';

/** Short tokens, and each refresh token good for one use. */
export const shortLived = ({ tokenSeconds }: Setting) => ({
  accessTokenLifespan: tokenSeconds,
  revokeRefreshToken: true,
});

/** Nothing happens but time: one login each, then refreshes. */
export const steady = (setting: Setting): Promise<Row[]> =>
  Stage.play(setting, {
    realm: shortLived(setting),
    act: async (stage) => {
      const { reader, accounts, provider } = stage;
      await stage.applyAll();
      await stage.wait(setting.milliseconds);
      const service = serviceRows(reader, accounts.length);
      const seen = await provider.seen();
      const logins = count(seen, 'LOGIN', 'LOGIN_ERROR');
      return [
        ...service,
        told('requests that the server saw', tally(seen)),
        ...(setting.grant === 'password' ? [exactly('logins', logins, accounts.length)] : []),
        told('refreshes', count(seen, 'REFRESH_TOKEN')),
        exactly('refreshes refused', count(seen, 'REFRESH_TOKEN_ERROR'), 0),
      ];
    },
  });
