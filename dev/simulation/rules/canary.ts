import type { Scene } from './rule.ts';

/** Every secret of the simulation holds the first; every token is a JWT and begins like the second. */
const SECRET = /CaNaRy|(?<![\w-])eyJ[\w-]{24,}/;

/** No secret outside Secrets and requests. */
export class Canary {
  readonly #scene: Scene;

  constructor(scene: Scene) {
    this.#scene = scene;
  }

  look(where: string, text: string): void {
    const found = SECRET.exec(text);
    if (found === null) return;
    const around = text.slice(Math.max(found.index - 60, 0), found.index + 20);
    this.#scene.violated('no secret outside Secrets and requests', `${where}: …${around}…`);
  }
}
