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
  /** Waits until it is removed or the signal is aborted; undefined where the kernel has to be asked. */
  readonly untilRemoved?: ((signal: AbortSignal) => Promise<void>) | undefined;
  /** Makes the reason for which the signals fire. */
  lostError(): Error;
}

/**
 * Watches one object for all that were asked for their `lost` signal. It asks the kernel at an interval, which
 * takes no thread, needs no permission, and does not keep the program alive.
 */
export class RemovalWatch {
  readonly #asking = new Set<AbortController>();
  #stop: (() => void) | undefined;

  /** Aborts the controller when the object is removed, until it is deleted. */
  add(object: Watched, controller: AbortController): void {
    this.#asking.add(controller);
    const { untilRemoved } = object;
    this.#stop ??= untilRemoved === undefined ? this.#poll(object) : this.#await(untilRemoved);
    this.look(object);
  }

  /** Looks now, as when a handle of this thread has removed the object. */
  look(object: Watched): void {
    if (this.#asking.size === 0 || object.untilRemoved !== undefined || object.exists) return;
    this.#tell(object.lostError());
  }

  /** Stops watching for a controller. */
  delete(controller: AbortController): void {
    if (this.#asking.delete(controller) && this.#asking.size === 0) this.#end();
  }

  #poll(object: Watched): () => void {
    const { clearInterval, setInterval } = process.getBuiltinModule("node:timers");
    const timer = setInterval(() => this.look(object), INTERVAL).unref();
    return () => clearInterval(timer);
  }

  #await(untilRemoved: (signal: AbortSignal) => Promise<void>): () => void {
    const ended = new AbortController();
    untilRemoved(ended.signal).catch((error) => {
      if (!ended.signal.aborted) this.#tell(error);
    });
    return () => ended.abort();
  }

  #tell(reason: unknown): void {
    const asking = [...this.#asking];
    this.#asking.clear();
    this.#end();
    for (const controller of asking) controller.abort(reason);
  }

  #end(): void {
    this.#stop?.();
    this.#stop = undefined;
  }
}
