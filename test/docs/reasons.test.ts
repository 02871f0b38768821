import { expect, it } from '@jest/globals';
import { FAILURE_KINDS } from '../../src/lib/failure.ts';
import { codeSpans, pagesIn, readPage } from './markdown.ts';

/** Where a reader looks for the reason that a condition names. */
const PAGES = ['docs/grants.md', 'docs/troubleshooting.md', ...(await pagesIn('docs/runbooks'))];

it('names every reason of a failure, with what to do', async () => {
  const spans = await Promise.all(PAGES.map(async (page) => codeSpans(await readPage(page))));
  const named = new Set(spans.flat());
  expect(Object.keys(FAILURE_KINDS).filter((kind) => !named.has(kind))).toEqual([]);
});
