import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { FAILURES } from '../../dev/failures/failures.ts';
import { sanitize } from '../../dev/failures/sanitize.ts';
import { MESSAGES } from '../../src/oauth/token-errors.ts';

const ROOT = join(import.meta.dirname, '../..');
const docs = (name: string): Promise<string> => readFile(join(ROOT, 'docs', name), 'utf8');

/** The part of the page below a title. */
async function section(title: string): Promise<string> {
  const sections = (await docs('failures.md')).split('\n## ');
  return sections.find((text) => text.startsWith(`${title}\n`)) ?? '';
}

describe('docs/failures.md', () => {
  it.each(FAILURES)('shows in each view: $title', async ({ title, reason, ready, story }) => {
    const text = await section(title);
    expect(text).toContain(story);
    const row = text.split('\n').find((line) => line.startsWith('loyalty ')) ?? '';
    expect(row.split(/\s+/).slice(3, 6)).toEqual([expect.anything(), ready, reason]);
    expect(text).toMatch(new RegExp(`^ +Reason: +${reason}$`, 'm'));
    expect(text).toMatch(new RegExp(`^  Warning +${reason} +<age>`, 'm'));
    expect(text).toMatch(new RegExp(`"level":"warn".*"reason":"${reason}"`));
    expect(text).toMatch(
      new RegExp(`^convercus_credential_failure_info\\{.*reason="${reason}"\\} 1$`, 'm'),
    );
  });

  it.each(FAILURES)('has the words of today: $title', async ({ title, reason }) => {
    const [, words] = Object.entries(MESSAGES).find(([kind]) => kind === reason) ?? [];
    for (const word of words ?? []) expect(await section(title)).toContain(word);
  });

  it('names metrics that docs/metrics.md explains', async () => {
    const [page, metrics] = [await docs('failures.md'), await docs('metrics.md')];
    const names = new Set(page.match(/^convercus_\w+/gm));
    expect(names.size).toBeGreaterThan(3);
    for (const name of names) expect(metrics).toContain(`\`${name}\``);
  });

  it('has no time, id or address of the run that wrote it', async () => {
    const page = await docs('failures.md');
    expect(sanitize(page, {})).toBe(page);
    expect(page).not.toContain('127.0.0.1');
  });
});
