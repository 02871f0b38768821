import { readFile } from 'node:fs/promises';

/** A realm representation of Keycloak's admin API, with its clients, users and their credentials. */
export interface Realm {
  realm: string;
  [setting: string]: unknown;
}

/**
 * Reads a Keycloak realm export, or an array of them, and replaces each `${NAME}` in it by a value.
 * @throws when a value is missing
 */
export async function readRealms(
  file: string,
  values: Readonly<Record<string, string | undefined>>,
): Promise<Realm[]> {
  const template = await readFile(file, 'utf8');
  const text = template.replaceAll(/\$\{(\w+)\}/g, (_, name: string) => {
    const value = values[name];
    if (value === undefined) throw new Error(`${file} needs a value for ${name}`);
    return JSON.stringify(value).slice(1, -1);
  });
  const realms: Realm | Realm[] = JSON.parse(text);
  return [realms].flat();
}
