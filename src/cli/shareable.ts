import { isObject, type JsonObject, listAt, member, objectOf, textAt } from '../lib/json.ts';
import { sanitize } from '../lib/sensitive.ts';

/** Objects as they may be sent to others: what a person can have written a secret into is left out. */

const OUR_ANNOTATION = /^convercus\.io\//;

function metadataOf(object: unknown): object {
  const metadata = objectOf(member(object, 'metadata'));
  const { namespace, name, uid, generation, creationTimestamp, deletionTimestamp } = metadata;
  const annotations = Object.fromEntries(
    Object.entries(objectOf(metadata['annotations'])).filter(([key]) => OUR_ANNOTATION.test(key)),
  );
  const kept = { namespace, name, uid, generation, creationTimestamp, deletionTimestamp };
  return { ...kept, labels: metadata['labels'], annotations };
}

/** Metadata, and one part of the object. */
export const shareable = (object: unknown, part: 'spec' | 'status'): object => ({
  metadata: metadataOf(object),
  [part]: texts(member(object, part)),
});

export const shareableCredential = (object: unknown): object => ({
  metadata: metadataOf(object),
  spec: {
    ...objectOf(texts(member(object, 'spec'))),
    target: shareableTarget(objectOf(member(object, 'spec', 'target'))),
  },
  status: texts(member(object, 'status')),
});

/** Of templates only the placeholders, of labels and annotations only the names. */
function shareableTarget({ name, creationPolicy, deletionPolicy, ...more }: JsonObject): object {
  const data = Object.entries(objectOf(more['data'])).map(([key, template]) => [
    key,
    placeholdersIn(template),
  ]);
  return {
    name,
    creationPolicy,
    deletionPolicy,
    labels: Object.keys(objectOf(more['labels'])),
    annotations: Object.keys(objectOf(more['annotations'])),
    data: Object.fromEntries(data),
  };
}

const placeholdersIn = (template: unknown): string =>
  String(template)
    .split(/(\{\{[^{}]*\}\})/)
    .map((part) => (part === '' || part.startsWith('{{') ? sanitize(part, []) : '…'))
    .join('');

/** Undefined for events about other kinds. */
export function shareableEvent(event: unknown): object | undefined {
  const kind = textAt(event, 'involvedObject', 'kind');
  if (kind !== 'ConvercusCredential' && kind !== 'ClusterConvercusCredential') return undefined;
  const { type, reason, message, count, eventTime, lastTimestamp, series } = objectOf(event);
  const { namespace, name } = objectOf(member(event, 'involvedObject'));
  return objectOf(
    texts({ namespace, name, type, reason, message, count, eventTime, lastTimestamp, series }),
  );
}

/** Without environment variables and arguments. */
export const shareablePod = (pod: unknown): object => ({
  metadata: metadataOf(pod),
  spec: {
    nodeName: member(pod, 'spec', 'nodeName'),
    containers: listAt(pod, 'spec', 'containers').map((each) => ({
      name: member(each, 'name'),
      image: member(each, 'image'),
      resources: member(each, 'resources'),
    })),
  },
  status: texts(member(pod, 'status')),
});

/** Texts anywhere inside, without what looks like a token. */
function texts(value: unknown): unknown {
  if (typeof value === 'string') return withoutTokens(value);
  if (Array.isArray(value)) return value.map(texts);
  if (!isObject(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, texts(each)]));
}

/** Word by word, for `sanitize` cuts long texts. */
export const withoutTokens = (text: string): string =>
  text
    .split(' ')
    .map((word) => sanitize(word, []))
    .join(' ');
