/** Some events come before the answer to the write that they tell of: their versions are never asked for. */
const CAPACITY = 1_000;

/** Metadata only: the names and the version come first. */
const OF_METADATA =
  /^\{"type":"(?:ADDED|MODIFIED)","object":\{"kind":"PartialObjectMetadata","apiVersion":"meta\.k8s\.io\/v1","metadata":\{"name":"[^"]*",(?:"generateName":"[^"]*",)?"namespace":"[^"]*","uid":"[^"]*","resourceVersion":"(\d+)"/;
const LONGEST_BEGINNING = 600;

/** A custom resource: its members are sorted, so that version and uid end the metadata. */
const CUSTOM = '{"type":"MODIFIED","object":{"apiVersion":"convercus.io/';
const END_OF_METADATA = '"},"spec":{';
const AT_ITS_END = /"resourceVersion":"(\d+)","uid":"[^"]*$/;
const LONGEST_END = 120;

/**
 * The versions of objects as we have written them. The watch shows each of them once more, which is no news: to tell
 * so by the version saves reading the event, the larger part of what watching costs. Quotes in the values of
 * annotations are escaped, so nobody can write an object that is mistaken for another version.
 */
export class OwnWrites {
  readonly #versions = new Set<string>();

  add(version: string): void {
    const [oldest = ''] = this.#versions;
    if (this.#versions.size >= CAPACITY) this.#versions.delete(oldest);
    this.#versions.add(version);
  }

  /** @param event a line of a watch. Of an unusual form it counts as somebody else's. */
  shown(event: Buffer): boolean {
    const version = this.#versions.size === 0 ? undefined : versionIn(event);
    return version !== undefined && this.#versions.delete(version);
  }
}

function versionIn(event: Buffer): string | undefined {
  const beginning = event.toString('latin1', 0, LONGEST_BEGINNING);
  if (!beginning.startsWith(CUSTOM)) return OF_METADATA.exec(beginning)?.[1];
  const end = event.indexOf(END_OF_METADATA);
  return AT_ITS_END.exec(event.toString('latin1', Math.max(end - LONGEST_END, 0), end))?.[1];
}
