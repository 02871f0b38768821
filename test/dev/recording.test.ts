import { expect, it } from '@jest/globals';
import { Recording } from '../../dev/demo/recording.ts';

/** A recording whose clock goes on by these milliseconds before each look at it. */
function recorded(play: (recording: Recording, wait: (ms: number) => void) => void): string {
  let now = 0;
  const recording = new Recording(() => now);
  play(recording, (ms) => {
    now += ms;
  });
  return recording.svg();
}

it('shows lines for good, and pictures in place of each other', () => {
  const svg = recorded((recording, wait) => {
    recording.line('$ command');
    wait(1_000);
    recording.show('first <picture>\nsecond line');
    wait(1_000);
    recording.show('other');
    wait(1_000);
    recording.line('end');
  });
  const yOf = (text: string) => new RegExp(`y="(\\d+)"[^>]*>${text}`).exec(svg)?.[1];
  expect(svg).toContain('first &lt;picture&gt;');
  expect(yOf('other')).toBe(yOf('first'));
  expect(Number(yOf('end'))).toBeGreaterThan(Number(yOf('other')));
  // 3 s are played and 5 s waited: the first picture is seen from 1 s to 2 s of 8 s.
  expect(svg).toContain(
    'k1 { 0% { visibility: hidden } 12.50% { visibility: visible } 25.00% { visibility: hidden } }',
  );
});

it('cuts long pauses', () => {
  const svg = recorded((recording, wait) => {
    recording.line('$ command');
    wait(60_000);
    recording.line('end');
  });
  expect(svg).toContain('animation: 6500ms');
});

it('names no folder of this machine', () => {
  const svg = recorded((recording) => {
    recording.line('/var/folders/x/convercus-demo-AbC123/loyalty/token');
    recording.line(`${process.env['HOME']}/.cache`);
  });
  expect(svg).toContain('>/tmp/convercus-demo/loyalty/token<');
  expect(svg).toContain('>~/.cache<');
});
