/**
 * Timers that are never early and have no maximum: the timers of the runtimes can be early, and end at 2^31 ms.
 *
 * @module
 */

import { type Cancellable, follow, unfollow } from "./cancel.ts";

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

/** Waits until the clock of `performance` has reached a time, or rejects once the signal is aborted. */
export function until(time: number, signal: AbortSignal | undefined): Promise<void> {
  if (signal?.aborted) return Promise.reject(signal.reason);
  return new Promise((resolve, reject) => {
    const waiting: Cancellable = {
      cancel(reason) {
        timer.clear();
        reject(reason);
      },
    };
    const timer = at(time, () => {
      if (signal !== undefined) unfollow(signal, waiting);
      resolve();
    });
    if (signal !== undefined) follow(signal, waiting);
  });
}
