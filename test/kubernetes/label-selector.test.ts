import { describe, expect, it } from '@jest/globals';
import { selectorProblem } from '../../src/kubernetes/label-selector.ts';
import { BAD_SELECTORS, GOOD_SELECTORS } from '../support/selectors.ts';

/** `real-api-server.test.ts` asks the API server about the same selectors. */
describe('a label selector', () => {
  it.each(GOOD_SELECTORS)('may be %j', (selector) => {
    expect(selectorProblem(selector)).toBe(undefined);
  });

  it.each(BAD_SELECTORS)('may not be %j', (selector) => {
    expect(selectorProblem(selector)).toMatch(/ is expected | is no /);
  });

  it.each([
    ['team=shop,', 'a key is expected at the end'],
    ['team in (a b)', ') is expected before "b"'],
    ['team shop', 'an operator is expected before "shop"'],
    ['a_b/team', '"a_b/team" is no key of a label'],
    ['team=-1', '"-1" is no value of a label'],
    ['size>big', '"big" is no whole number to compare with'],
  ])('is told what is wrong: %s', (selector, problem) => {
    expect(selectorProblem(selector)).toBe(problem);
  });
});
