/**
 * The signals that fire when an object is removed, for what is held of it.
 *
 * @module
 */

/** How often the kernel is asked whether an object is there, in milliseconds. */
const INTERVAL = 50;

/** An object that can be removed. */
export interface Watched {
  /** Whether it is still there. */
  readonly exists: boolean;
  /** Makes the reason for which the signals fire. */
  lostError(): Error;
}

/**
 * Watches one object for all that was asked for its `lost` signal. It asks the kernel at an interval, which
 * takes no thread, needs no permission, and does not keep the program alive.
 */
export class RemovalWatch {
  readonly #object: Watched;
  readonly #asking = new Set<AbortController>();
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(object: Watched) {
    this.#object = object;
  }

  /** Aborts the controller when the object is removed, until it is deleted. */
  add(controller: AbortController): void {
    this.#asking.add(controller);
    if (this.#timer === undefined) {
      const { setInterval } = process.getBuiltinModule("node:timers");
      this.#timer = setInterval(() => this.look(), INTERVAL).unref();
    }
    this.look();
  }

  /** Stops watching for a controller. */
  delete(controller: AbortController): void {
    if (this.#asking.delete(controller) && this.#asking.size === 0) this.#stop();
  }

  /** Looks now, as when a handle of this thread has removed the object. */
  look(): void {
    if (this.#asking.size === 0 || this.#object.exists) return;
    const asking = [...this.#asking];
    this.#asking.clear();
    this.#stop();
    const reason = this.#object.lostError();
    for (const controller of asking) controller.abort(reason);
  }

  #stop(): void {
    process.getBuiltinModule("node:timers").clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
