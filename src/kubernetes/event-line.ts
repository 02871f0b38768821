/** Metadata only: the names and the version come first. */
const OF_METADATA =
  /^\{"type":"(?:ADDED|MODIFIED)","object":\{"kind":"PartialObjectMetadata","apiVersion":"meta\.k8s\.io\/v1","metadata":\{"name":"([^"]*)",(?:"generateName":"[^"]*",)?"namespace":"([^"]*)","uid":"[^"]*","resourceVersion":"(\d+)"/;
const LONGEST_BEGINNING = 800;

/** A custom resource: its members are sorted, so that names, version and uid end the metadata. */
const CUSTOM = '{"type":"MODIFIED","object":{"apiVersion":"convercus.io/';
const END_OF_METADATA = '"},"spec":{';
const AT_ITS_END = /"name":"([^"]*)","namespace":"([^"]*)","resourceVersion":"(\d+)","uid":"[^"]*$/;
const LONGEST_END = 500;

/** Which version of which object an event shows. */
export interface SeenVersion {
  readonly namespace: string;
  readonly name: string;
  readonly version: string;
}

/**
 * What a line of a watch shows, without reading all of it, which is the larger part of what watching costs. Quotes in
 * the values of annotations are escaped, so nobody can write an object that is mistaken for another version.
 * Undefined for the end of an object, and for a line of an unusual form.
 */
export function seenVersionIn(line: Buffer): SeenVersion | undefined {
  const beginning = line.toString('latin1', 0, LONGEST_BEGINNING);
  if (!beginning.startsWith(CUSTOM)) return shownIn(OF_METADATA.exec(beginning));
  const end = line.indexOf(END_OF_METADATA);
  return shownIn(AT_ITS_END.exec(line.toString('latin1', Math.max(end - LONGEST_END, 0), end)));
}

function shownIn(match: RegExpExecArray | null): SeenVersion | undefined {
  const [, name, namespace, version] = match ?? [];
  if (name === undefined || namespace === undefined || version === undefined) return undefined;
  return { namespace, name, version };
}
