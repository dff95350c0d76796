/**
 * Promises of one handle that wait for each other, or for the same bell.
 *
 * @module
 */

import { timeoutError, type WaitOptions } from "../wait/options.ts";

interface Sleeper {
  /** What it waits for. */
  readonly gate: number;
  /** Undefined once it is awake. */
  wake: ((error?: unknown) => void) | undefined;
}

/** Promises that wait, in the order in which they came. */
export class Sleepers {
  #sleepers: Sleeper[] = [];
  #awake = 0;

  /** How many there are. */
  get size(): number {
    return this.#sleepers.length - this.#awake;
  }

  /** Whether one waits for this. */
  has(gate: number): boolean {
    return this.#sleepers.some((sleeper) => sleeper.gate === gate && sleeper.wake !== undefined);
  }

  /** Waits to be woken. */
  add({ signal, timeout = Infinity }: WaitOptions, gate = 0, cancelled?: () => void): Promise<void> {
    return new Promise((resolve, reject) => {
      const sleeper: Sleeper = { gate, wake };
      const abort = () => cancel(signal!.reason);
      const timer = timeout === Infinity
        ? undefined
        : setTimeout(() => cancel(timeoutError("sleep", timeout)), Math.min(timeout, MAX_TIMER));
      signal?.addEventListener("abort", abort, { once: true });
      this.#sleepers.push(sleeper);
      const cancel = (reason: unknown) => {
        this.#awake++;
        wake.call(undefined, reason, true);
        cancelled?.();
      };
      function wake(error?: unknown, fails = error !== undefined): void {
        sleeper.wake = undefined;
        clearTimeout(timer);
        signal?.removeEventListener("abort", abort);
        if (fails) reject(error);
        else resolve();
      }
    });
  }

  /** Wakes the first; returns whether there was one. */
  wakeFirst(): boolean {
    while (this.#sleepers.length > 0) {
      const { wake } = this.#sleepers.shift()!;
      if (wake === undefined) this.#awake--;
      else {
        wake();
        return true;
      }
    }
    return false;
  }

  /** Wakes all, or has all fail. */
  wakeAll(error?: unknown): void {
    const sleepers = this.#sleepers;
    this.#sleepers = [];
    this.#awake = 0;
    for (const { wake } of sleepers) wake?.(error);
  }
}

/** The longest that a timer takes, after which the wait begins anew. */
const MAX_TIMER = 2 ** 31 - 1;

/** A place in line: one at a time, in the order in which they came. */
export class Line {
  readonly #sleepers = new Sleepers();
  #taken = false;

  /** Waits for its turn; gives no promise if that is now. */
  enter(options: WaitOptions): Promise<void> | undefined {
    if (this.#taken) return this.#sleepers.add(options);
    this.#taken = true;
    return undefined;
  }

  /** Lets the next one in. */
  leave(): void {
    if (!this.#sleepers.wakeFirst()) this.#taken = false;
  }

  /** Whether somebody is in it. */
  get taken(): boolean {
    return this.#taken;
  }
}
