import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A mounted Secret as kubelet writes it: the files are links through `..data`, which is replaced as a whole. */
export class TokenFile implements Disposable {
  readonly #dir = mkdtempSync(join(tmpdir(), 'token-file-'));
  #version = 0;

  constructor() {
    this.replace(-1);
    symlinkSync('..data/token', this.path);
  }

  get path(): string {
    return join(this.#dir, 'token');
  }

  /** Puts another token into the file, which expires after so many milliseconds. */
  replace(lifetime: number): void {
    this.#version += 1;
    const folder = `..version-${this.#version}`;
    mkdirSync(join(this.#dir, folder));
    writeFileSync(join(this.#dir, folder, 'token'), jwt(`token-${this.#version}`, lifetime));
    symlinkSync(folder, join(this.#dir, '..data_tmp'));
    renameSync(join(this.#dir, '..data_tmp'), join(this.#dir, '..data'));
  }

  [Symbol.dispose](): void {
    rmSync(this.#dir, { recursive: true, force: true });
  }
}

function jwt(id: string, lifetime: number): string {
  const part = (claims: object): string =>
    Buffer.from(JSON.stringify(claims)).toString('base64url');
  const expiry = (Date.now() + lifetime) / 1_000;
  return `${part({ alg: 'none' })}.${part({ jti: id, exp: expiry })}.signature`;
}
