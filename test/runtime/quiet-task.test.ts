import { expect, it } from '@jest/globals';
import { minutes, seconds } from '../../src/domain/time.ts';
import { QuietTask } from '../../src/runtime/quiet-task.ts';
import { FakeClock } from './fake-clock.ts';

function aTask() {
  const clock = new FakeClock();
  const done: number[] = [];
  const task = new QuietTask(clock, () => done.push(clock.now()));
  const work = (passes: number): void => {
    for (let i = 0; i < passes; i += 1) task.passed();
    task.quiet();
  };
  return { clock, done, work };
}

it('is done after much work, when it is quiet', () => {
  const { done, work } = aTask();
  work(499);
  expect(done).toHaveLength(0);
  work(1);
  expect(done).toHaveLength(1);
});

it('is done once a minute at the most, and not again for nothing', async () => {
  const { clock, done, work } = aTask();
  work(1_000);
  await clock.advance(seconds(59));
  work(1_000);
  expect(done).toHaveLength(1);
  await clock.advance(seconds(1));
  work(0);
  expect(done).toHaveLength(2);
  await clock.advance(minutes(60));
  work(0);
  expect(done).toHaveLength(2);
});
