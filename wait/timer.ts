/**
 * Timers that are never early and have no maximum: the timers of the runtimes can be early, and end at 2^31 ms.
 *
 * @module
 */

/** setTimeout takes no more milliseconds. */
const MAX_DELAY = 0x7fffffff;

/** A timer that rings once, unless it is cleared. */
export interface Timer {
  clear(): void;
}

/** Runs a function as soon as the clock of `performance` has reached a time. Infinity never comes. */
export function at(time: number, ring: () => void): Timer {
  return new Deadline(time, ring);
}

class Deadline implements Timer {
  readonly #time: number;
  readonly #ring: () => void;
  #timeout: ReturnType<typeof setTimeout> | undefined;

  constructor(time: number, ring: () => void) {
    this.#time = time;
    this.#ring = ring;
    this.#set();
  }

  #set(): void {
    const rest = Math.max(Math.ceil(this.#time - performance.now()), 0);
    this.#timeout = setTimeout(() => {
      if (performance.now() < this.#time) this.#set();
      else this.#ring();
    }, Math.min(rest, MAX_DELAY));
  }

  clear(): void {
    clearTimeout(this.#timeout);
  }
}

/** Repeats some work until it is done, at an interval that grows by a millisecond each time. */
export function repeat(work: () => boolean, longest: number, interval = 1): void {
  setTimeout(() => {
    if (work()) repeat(work, longest, Math.min(interval + 1, longest));
  }, interval);
}
