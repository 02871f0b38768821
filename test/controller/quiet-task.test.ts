import { expect, it } from '@jest/globals';
import { QuietTask } from '../../src/controller/quiet-task.ts';
import { minutes, seconds } from '../../src/lib/time.ts';
import { FakeClock } from './fake-clock.ts';

function aTask() {
  const clock = new FakeClock();
  const world = { done: 0, isQuiet: true };
  const task = new QuietTask({
    clock,
    task: () => {
      world.done += 1;
    },
    isQuiet: () => world.isQuiet,
  });
  const work = (passes: number): void => {
    for (let i = 0; i < passes; i += 1) task.passed();
    task.quiet();
  };
  return { clock, world, task, work };
}

it('is done after much work, when it is quiet', () => {
  const { world, work } = aTask();
  work(499);
  expect(world.done).toBe(0);
  work(1);
  expect(world.done).toBe(1);
});

it('is done once a minute at the most, and not again for nothing', async () => {
  const { clock, world, work } = aTask();
  work(1_000);
  await clock.advance(seconds(10));
  work(1_000);
  work(1_000);
  await clock.advance(seconds(49));
  expect(world.done).toBe(1);
  await clock.advance(seconds(1));
  expect(world.done).toBe(2);
  await clock.advance(minutes(60));
  work(0);
  expect(world.done).toBe(2);
});

it('waits for the next quiet moment when the minute is over in the middle of work', async () => {
  const { clock, world, work } = aTask();
  work(1_000);
  work(1_000);
  world.isQuiet = false;
  await clock.advance(minutes(2));
  expect(world.done).toBe(1);
  work(0);
  expect(world.done).toBe(2);
});

it('leaves no timer behind', async () => {
  const { clock, world, task, work } = aTask();
  work(1_000);
  work(1_000);
  task.stop();
  await clock.advance(minutes(2));
  expect(world.done).toBe(1);
});
