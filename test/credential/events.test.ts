import { describe, expect, it } from '@jest/globals';
import { eventFor } from '../../src/credential/events.ts';
import type { Status } from '../../src/credential/status.ts';

type Brief = `${'True' | 'False' | 'Unknown'} ${string}`;

/** A status with these two conditions; the message is the reason, in words. */
const aStatus = (ready: Brief, renewed: Brief, message = ''): Status => ({
  conditions: [['Ready', ready] as const, ['Renewed', renewed] as const].map(([type, brief]) => {
    const [status = '', reason = ''] = brief.split(' ');
    return {
      type,
      status: status === 'True' || status === 'False' ? status : 'Unknown',
      reason,
      message: `${type}: ${reason}${message}`,
      lastTransitionTime: '2026-09-21T12:00:00Z',
    };
  }),
});

const GOOD = aStatus('True TokenValid', 'True RenewedOnSchedule');
const FAILING = aStatus('True TokenValid', 'False NetworkError');
const EXPIRED = aStatus('False TokenExpired', 'False NetworkError');
const NOTHING = aStatus('False InputMissing', 'False InputMissing');
const SUSPENDED = aStatus('True Suspended', 'Unknown Suspended');
const WAITING = aStatus('False Throttled', 'False Throttled');
const renewedFor = (reason: string) => aStatus('True TokenValid', `True ${reason}`);

describe('the event', () => {
  it.each<[string, Status | undefined, Status, boolean, string | undefined]>([
    ['the first token', undefined, renewedFor('Issued'), true, 'Normal TokenIssued'],
    ['a token found after a wiped status', undefined, GOOD, false, 'Normal TokenIssued'],
    ['a first failure', undefined, NOTHING, false, 'Warning InputMissing'],
    ['a token after a failure', NOTHING, renewedFor('Issued'), true, 'Normal Recovered'],
    ['a routine renewal', GOOD, GOOD, true, undefined],
    ['the first routine renewal', renewedFor('Issued'), GOOD, true, undefined],
    ['a renewal on request', GOOD, renewedFor('RenewRequested'), true, 'Normal RenewRequested'],
    [
      'a second one',
      renewedFor('RenewRequested'),
      renewedFor('RenewRequested'),
      true,
      'Normal RenewRequested',
    ],
    ['a restored target', GOOD, renewedFor('TargetRepaired'), true, 'Normal TargetRepaired'],
    ['a deleted target that came back', GOOD, renewedFor('Issued'), true, 'Normal Issued'],
    [
      'a status that changes though nothing was published',
      renewedFor('Issued'),
      renewedFor('Issued'),
      false,
      undefined,
    ],
    ['a failing renewal', GOOD, FAILING, false, 'Warning NetworkError'],
    ['the same failure again', FAILING, FAILING, false, undefined],
    [
      'the same kind with another message',
      FAILING,
      aStatus('True TokenValid', 'False NetworkError', ' (other)'),
      false,
      'Warning NetworkError',
    ],
    [
      'another failure',
      FAILING,
      aStatus('True TokenValid', 'False RealmNotFound'),
      false,
      'Warning RealmNotFound',
    ],
    ['an expiry while failing', FAILING, EXPIRED, false, 'Warning TokenExpired'],
    ['an expiry that goes on', EXPIRED, EXPIRED, false, undefined],
    ['an expiry at once', GOOD, EXPIRED, false, 'Warning TokenExpired'],
    ['a recovery', FAILING, GOOD, true, 'Normal Recovered'],
    ['a recovery after expiry', EXPIRED, GOOD, true, 'Normal Recovered'],
    ['a suspension', GOOD, SUSPENDED, false, undefined],
    [
      'an expiry while suspended',
      SUSPENDED,
      aStatus('False TokenExpired', 'Unknown Suspended'),
      false,
      'Warning TokenExpired',
    ],
    ['the end of a suspension', SUSPENDED, GOOD, false, undefined],
    [
      'the end of a suspension without a token',
      aStatus('False Suspended', 'Unknown Suspended'),
      renewedFor('Issued'),
      true,
      'Normal TokenIssued',
    ],
    ['a wait for a turn', GOOD, aStatus('True TokenValid', 'False Throttled'), false, undefined],
    ['a wait before the first token', undefined, WAITING, false, undefined],
    [
      'an expiry while waiting',
      GOOD,
      aStatus('False TokenExpired', 'False Throttled'),
      false,
      'Warning TokenExpired',
    ],
  ])('after %s', (...row) => {
    const [, before, after, isTargetWritten, expected] = row;
    const event = eventFor(before, after, isTargetWritten);
    expect(event && `${event.type} ${event.reason}`).toBe(expected);
  });

  it('says what the condition says', () => {
    expect(eventFor(GOOD, FAILING, false)?.message).toBe('Renewed: NetworkError');
    expect(eventFor(FAILING, EXPIRED, false)?.message).toBe('Ready: TokenExpired');
    expect(eventFor(undefined, GOOD, true)?.message).toBe('Ready: TokenValid');
  });

  it('is none for a status without conditions', () => {
    expect(eventFor(undefined, {}, true)).toBeUndefined();
    expect(
      eventFor(GOOD, { conditions: (GOOD.conditions ?? []).slice(0, 1) }, true),
    ).toBeUndefined();
  });
});
