import { describe, expect, it } from '@jest/globals';
import { ErrorReporter, unexpectedError } from '../../src/controller/error-reporter.ts';
import { Failure } from '../../src/lib/failure.ts';

const refused = new Failure('ClusterUnavailable', 'refused');
const down = new Failure('ClusterUnavailable', 'down');

describe('problems', () => {
  it('are passed on once per change of their message, and once when they are over', () => {
    const told: (string | undefined)[] = [];
    const problems = new ErrorReporter((failure) => told.push(failure?.message));
    problems.clear();
    for (const failure of [refused, refused, down, refused]) problems.add(failure);
    problems.clear();
    problems.clear();
    problems.add(refused);
    expect(told).toEqual(['refused', 'down', 'refused', undefined, 'refused']);
  });

  it.each<[unknown, string]>([
    [new TypeError('radioactive'), 'TypeError'],
    ['radioactive', 'string'],
  ])('keep nothing of an unexpected error but its name: %s', (error, code) => {
    const failure = unexpectedError('The watch', error);
    expect(failure).toMatchObject({ kind: 'InternalError', code });
    expect(JSON.stringify(failure)).not.toContain('radioactive');
  });
});
