import { describe, expect, it } from '@jest/globals';
import { OwnWrites } from '../../../src/adapters/kubernetes/own-writes.ts';

const uid = '6c1bb3de-2ac5-4c92-8f5b-94d1cbb62b51';

/** As the API server writes them: metadata in the order of its type, custom resources in that of their names. */
const ofSecret = (resourceVersion: string, annotations: object = {}): object => ({
  kind: 'PartialObjectMetadata',
  apiVersion: 'meta.k8s.io/v1',
  metadata: { name: 'a-token', namespace: 'shop', uid, resourceVersion, annotations },
});

const ofCredential = (resourceVersion: string, annotations: object = {}): object => ({
  apiVersion: 'convercus.io/v1alpha1',
  kind: 'ConvercusCredential',
  metadata: { annotations, name: 'a', namespace: 'shop', resourceVersion, uid },
  spec: {},
  status: { target: { resourceVersion: '7' } },
});

const line = (object: object, type = 'MODIFIED'): Buffer =>
  Buffer.from(JSON.stringify({ type, object }));

function writesOf(...versions: string[]): OwnWrites {
  const own = new OwnWrites();
  for (const version of versions) own.add(version);
  return own;
}

describe.each([
  ['a Secret', ofSecret],
  ['a credential', ofCredential],
])('an event of %s', (_, object) => {
  it('is known as our own write once', () => {
    const own = writesOf('11', '12');
    expect(own.shown(line(object('12')))).toBe(true);
    expect(own.shown(line(object('12')))).toBe(false);
    expect(own.shown(line(object('11')))).toBe(true);
  });

  it('of another version is not', () => {
    expect(writesOf('12', '7').shown(line(object('13')))).toBe(false);
  });

  it('does not pass for it by what somebody writes into annotations', () => {
    const texts = ['"resourceVersion":"12"', '","resourceVersion":"12","uid":"x"},"spec":{', '"}'];
    for (const text of texts) {
      const annotations = { a: text, resourceVersion: '12', uid: '"},"spec":{' };
      expect(writesOf('12').shown(line(object('13', annotations)))).toBe(false);
    }
  });

  it('of an end is always news', () => {
    expect(writesOf('12').shown(line(object('12'), 'DELETED'))).toBe(false);
  });
});

it('is not mistaken in what has no such form', () => {
  const own = writesOf('12');
  for (const text of [
    '',
    'x',
    '{"type":"BOOKMARK"}',
    '{"type":"MODIFIED","object":{"apiVersion":"convercus.io/',
  ]) {
    expect(own.shown(Buffer.from(text))).toBe(false);
  }
});

it('forgets the oldest versions when their events do not come', () => {
  const own = writesOf('1', ...Array.from({ length: 1_000 }, (_, i) => String(i + 2)));
  expect(own.shown(line(ofSecret('1')))).toBe(false);
  expect(own.shown(line(ofSecret('2')))).toBe(true);
});
