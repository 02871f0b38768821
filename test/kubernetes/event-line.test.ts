import { describe, expect, it } from '@jest/globals';
import { seenVersionIn } from '../../src/kubernetes/event-line.ts';

const uid = '6c1bb3de-2ac5-4c92-8f5b-94d1cbb62b51';

/** As the API server writes them: metadata in the order of its type, custom resources in that of their names. */
const ofSecret = (resourceVersion: string, annotations: object = {}, generateName?: string) => ({
  kind: 'PartialObjectMetadata',
  apiVersion: 'meta.k8s.io/v1',
  metadata: { name: 'a', generateName, namespace: 'shop', uid, resourceVersion, annotations },
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

const shown = { namespace: 'shop', name: 'a', version: '12' };

describe.each([
  ['a Secret', ofSecret],
  ['a credential', ofCredential],
])('an event of %s', (_, object) => {
  it('tells which version it shows', () => {
    expect(seenVersionIn(line(object('12')))).toEqual(shown);
  });

  it('tells no other because of what a user writes into annotations', () => {
    const texts = [
      '"resourceVersion":"13"',
      '","name":"b","namespace":"x","resourceVersion":"13","uid":"x"},"spec":{',
      '"}',
    ];
    for (const text of texts) {
      const annotations = { a: text, resourceVersion: '13', uid: '"},"spec":{' };
      expect(seenVersionIn(line(object('12', annotations)))).toEqual(shown);
    }
  });

  it('of an end is always read', () => {
    expect(seenVersionIn(line(object('12'), 'DELETED'))).toBeUndefined();
  });
});

it('may show a Secret whose name was generated, or that is new', () => {
  expect(seenVersionIn(line(ofSecret('12', {}, 'a-'), 'ADDED'))).toEqual(shown);
});

it.each([
  '',
  'x',
  '{"type":"BOOKMARK"}',
  '{"type":"MODIFIED","object":{"apiVersion":"convercus.io/',
])('is not mistaken in %j, which has no such form', (text) => {
  expect(seenVersionIn(Buffer.from(text))).toBeUndefined();
});
