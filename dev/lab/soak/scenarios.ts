import type { ProviderName } from './provider.ts';
import type { Row } from './report.ts';
import { hangingHost } from './scenarios/hanging-host.ts';
import { kills } from './scenarios/kills.ts';
import { lostSessions } from './scenarios/lost-sessions.ts';
import { rotation } from './scenarios/rotation.ts';
import { sessionMax } from './scenarios/session-max.ts';
import { steady } from './scenarios/steady.ts';
import { wrongPassword } from './scenarios/wrong-password.ts';
import type { Setting } from './stage.ts';

/** A scenario and what it takes when the command line says nothing. */
export interface Scenario {
  readonly about: string;
  readonly play: (setting: Setting) => Promise<Row[]>;
  readonly for: string;
  readonly credentials: number;
  readonly tokenSeconds?: number;
  readonly provider?: ProviderName;
}

export const SCENARIOS: Readonly<Record<string, Scenario>> = {
  steady: {
    about: 'short tokens and rotation: logins, reuse, expired seconds',
    play: steady,
    for: '10m',
    credentials: 20,
    tokenSeconds: 20,
  },
  kills: {
    about: 'the same with the operator killed every 20 s',
    play: kills,
    for: '10m',
    credentials: 20,
    tokenSeconds: 20,
  },
  'session-max': {
    about: 'sessions end after 2 minutes: logins an hour',
    play: sessionMax,
    for: '10m',
    credentials: 4,
    tokenSeconds: 20,
  },
  'wrong-password': {
    about: 'tries with a wrong password through two restarts, then the right one',
    play: wrongPassword,
    for: '10m',
    credentials: 1,
  },
  'lost-sessions': {
    about: 'the server forgets all sessions: logins a second, and in which order',
    play: lostSessions,
    for: '5m',
    credentials: 200,
    tokenSeconds: 300,
  },
  rotation: {
    about: 'a new client secret, at the server first and in the Secret first',
    play: rotation,
    for: '4m',
    credentials: 4,
    tokenSeconds: 60,
  },
  'hanging-host': {
    about: 'one of two hosts never answers: delay of the other',
    play: hangingHost,
    for: '2m',
    credentials: 20,
    provider: 'built-in',
  },
};
