/** `namespace/name` of a ConvercusCredential. */
export type Key = string;

export const keyOf = ({ namespace, name }: ObjectName): Key => `${namespace}/${name}`;

/** The namespace and the name in a key. */
export function splitKey(key: Key): ObjectName {
  const at = key.indexOf('/');
  return { namespace: key.slice(0, at), name: key.slice(at + 1) };
}

export interface ObjectName {
  readonly namespace: string;
  readonly name: string;
}
