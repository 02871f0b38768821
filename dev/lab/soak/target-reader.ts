import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ControlPlane } from '../../envtest/control-plane.ts';
import { expiryOf } from '../../objects.ts';
import { NAMESPACE } from './accounts.ts';

/** What a target held, from the moment at which everybody could read it. */
export interface Held {
  readonly since: number;
  readonly token: string;
  readonly expiresAt: number;
  /** What the operator has noted: when it wants to renew. */
  readonly renewAt: number;
}

interface SecretObject {
  readonly type: string;
  readonly metadata: { readonly name: string; readonly annotations?: Record<string, string> };
  readonly data?: Record<string, string>;
}

/**
 * A reader that has nothing in common with the operator: `kubectl get secrets --watch`. It knows every state of every
 * target, and what the session Secrets held.
 */
export class TargetReader {
  /** By name of the target, oldest first. */
  readonly targets = new Map<string, Held[]>();
  /** Everything in session Secrets. */
  readonly sessionValues = new Set<string>();
  /** States of a target that were no token. */
  unreadable = 0;
  readonly #controlPlane: ControlPlane;
  #watch: ChildProcess | undefined;
  #closed = false;
  #ended: Promise<void> = Promise.resolve();

  constructor(controlPlane: ControlPlane) {
    this.#controlPlane = controlPlane;
  }

  start(): void {
    this.#ended = this.#run();
  }

  async stop(): Promise<void> {
    this.#closed = true;
    this.#watch?.kill();
    await this.#ended;
  }

  /** The API server ends a watch after half an hour or more; the next one begins with all Secrets as they are. */
  async #run(): Promise<void> {
    while (!this.#closed) {
      const { binaries, adminKubeconfig } = this.#controlPlane;
      const args = ['get', 'secrets', '--watch', '-o', 'json', '-n', NAMESPACE];
      this.#watch = spawn(binaries.kubectl, [`--kubeconfig=${adminKubeconfig}`, ...args], {
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      await this.#read(this.#watch);
      if (!this.#closed) await sleep(200);
    }
  }

  /** kubectl writes one object after the other, each over many lines, and only the last one is a bare brace. */
  async #read({ stdout }: ChildProcess): Promise<void> {
    if (stdout === null) return;
    let lines: string[] = [];
    for await (const line of createInterface({ input: stdout })) {
      lines.push(line);
      if (line !== '}') continue;
      this.#note(JSON.parse(lines.join('')), Date.now());
      lines = [];
    }
  }

  #note({ type, metadata, data = {} }: SecretObject, since: number): void {
    const values = Object.values(data).map((value) => Buffer.from(value, 'base64').toString());
    if (type === 'convercus.io/session') for (const value of values) this.sessionValues.add(value);
    if (type !== 'convercus.io/token') return;
    const states = this.targets.get(metadata.name) ?? [];
    const [token = ''] = values;
    const expiresAt = expiryOf(token);
    if (Number.isNaN(expiresAt)) this.unreadable += 1;
    if (Number.isNaN(expiresAt) || token === states.at(-1)?.token) return;
    const renewAt = Date.parse(metadata.annotations?.['convercus.io/renew-at'] ?? '');
    this.targets.set(metadata.name, [...states, { since, token, expiresAt, renewAt }]);
  }
}
