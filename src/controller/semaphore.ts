/** So many may work at once. Whoever comes back from a wait sits down before anybody new. */
export class Semaphore {
  #free: number;
  readonly #returning: (() => void)[] = [];
  readonly #onFree: () => void;

  constructor(count: number, onFree: () => void) {
    this.#free = count;
    this.#onFree = onFree;
  }

  get hasFree(): boolean {
    return this.#free > 0;
  }

  /** Call it only while one is free. */
  acquire(): Permit {
    this.#free -= 1;
    return new Permit(this);
  }

  /** Resolves when there is a seat again. */
  regain(): Promise<void> {
    if (this.#free > 0) {
      this.#free -= 1;
      return Promise.resolve();
    }
    return new Promise((resolve) => this.#returning.push(resolve));
  }

  release(): void {
    const upgradeManagedFields = this.#returning.shift();
    if (upgradeManagedFields !== undefined) return upgradeManagedFields();
    this.#free += 1;
    this.#onFree();
  }
}

/** One worker's place, given back while it only waits. */
export class Permit {
  readonly #semaphore: Semaphore;
  #isTaken = true;
  #hasLeft = false;

  constructor(semaphore: Semaphore) {
    this.#semaphore = semaphore;
  }

  /** A wait within a wait gives nothing back a second time. */
  readonly parked = async <T>(wait: () => Promise<T>): Promise<T> => {
    if (!this.#isTaken) return wait();
    this.#isTaken = false;
    this.#semaphore.release();
    try {
      return await wait();
    } finally {
      await this.#comeBack();
    }
  };

  release(): void {
    this.#hasLeft = true;
    if (this.#isTaken) this.#semaphore.release();
    this.#isTaken = false;
  }

  /** Somebody may have left without waiting for the end of its wait: then the seat goes on to the next. */
  async #comeBack(): Promise<void> {
    await this.#semaphore.regain();
    if (this.#hasLeft) this.#semaphore.release();
    else this.#isTaken = true;
  }
}
