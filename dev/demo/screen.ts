import type { WriteStream } from 'node:tty';

/** Text that is redrawn in place on a terminal; elsewhere it is printed when it changes. */
export class Screen {
  readonly #out: WriteStream;
  #height = 0;
  #last = '';

  constructor(out: WriteStream) {
    this.#out = out;
  }

  line(text: string): void {
    this.#height = 0;
    this.#out.write(`${text}\n`);
  }

  show(picture: string): void {
    if (picture === this.#last) return;
    this.#last = picture;
    if (this.#out.isTTY && this.#height > 0) this.#out.write(`\u001B[${this.#height}A\u001B[0J`);
    this.#out.write(`${picture}\n${this.#out.isTTY ? '' : '\n'}`);
    this.#height = picture.split('\n').length;
  }
}
