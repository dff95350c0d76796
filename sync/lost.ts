/**
 * The signals that fire when a hold is lost, because its object is removed.
 *
 * @module
 */

import type { Engine } from "./engine.ts";

/** How often the kernel is asked whether an object is there, in milliseconds. */
const INTERVAL = 50;

/**
 * Watches one primitive for all guards of this thread that were asked for `lost`. It asks the kernel at an
 * interval, which takes no thread, needs no permission, and does not keep the program alive.
 */
export class Watch {
  readonly #asking = new Set<AbortController>();
  #stop: (() => void) | undefined;

  /** Aborts the controller when the primitive is removed, until it is deleted. */
  add(engine: Engine, controller: AbortController): void {
    this.#asking.add(controller);
    this.#stop ??= engine.isKernel ? this.#poll(engine) : this.#await(engine);
    if (engine.isKernel) this.#look(engine);
  }

  /** Looks now: a handle of this thread has removed the primitive. */
  look(engine: Engine): void {
    if (this.#asking.size > 0 && engine.isKernel) this.#look(engine);
  }

  /** Stops watching for a controller. */
  delete(controller: AbortController): void {
    if (this.#asking.delete(controller) && this.#asking.size === 0) this.#end();
  }

  #poll(engine: Engine): () => void {
    const { clearInterval, setInterval } = process.getBuiltinModule("node:timers");
    const timer = setInterval(() => this.#look(engine), INTERVAL).unref();
    return () => clearInterval(timer);
  }

  #look(engine: Engine): void {
    if (!engine.exists) this.#tell(engine.lostError());
  }

  /** Waits for semaphores of another engine: only they can say that they are gone. */
  #await(engine: Engine): () => void {
    const ended = new AbortController();
    engine.untilRemoved(ended.signal).catch((error) => {
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
