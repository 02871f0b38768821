import { Realm, type RealmRepresentation } from './realm.ts';

/** The realms by name; names are case-sensitive, as in Keycloak. */
export class Realms {
  readonly #byName = new Map<string, Realm>();
  readonly #clock: () => number;

  constructor(clock: () => number) {
    this.#clock = clock;
  }

  /** Creates a realm from a Keycloak realm export or a part of it. Replaces a realm of the same name. */
  add(representation: RealmRepresentation): Realm {
    const realm = new Realm(representation, this.#clock);
    this.#byName.set(realm.name, realm);
    return realm;
  }

  find(name: string): Realm | undefined {
    return this.#byName.get(name);
  }

  /** @throws when there is no realm of that name */
  get(name: string): Realm {
    const realm = this.find(name);
    if (!realm) throw new Error(`no realm ${name}`);
    return realm;
  }

  remove(name: string): void {
    this.#byName.delete(name);
  }
}
