import type { Scene } from './rule.ts';

/** Each secret of the simulation contains the first text; each token is a JWT and starts with the second. */
const SECRET = /CaNaRy|(?<![\w-])eyJ[\w-]{24,}/;

/** No secret occurs outside of Secrets and requests. */
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
