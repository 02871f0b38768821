import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, it } from '@jest/globals';
import { AT_ONCE, Stops } from './stops.ts';

describe('a stop', () => {
  let stops: Stops;

  beforeAll(async () => {
    stops = await Stops.prepare();
  }, 600_000);

  afterEach(() => stops.reset());

  afterAll(() => stops?.end());

  /** A connection that is being opened can only be ended by the end of the process. */
  it('of a leader that has been without its API server for a minute', async () => {
    const operator = await stops.startLeader();
    stops.freezeApiServer();
    await sleep(60_000);
    await stops.ends(operator, AT_ONCE);
  });
});
