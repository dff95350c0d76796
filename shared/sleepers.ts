/**
 * Promises of one handle that wait for each other, or for the same bell.
 *
 * @module
 */

import { timeoutError, type WaitOptions } from "../wait/options.ts";
import { at } from "../wait/timer.ts";

interface Sleeper {
  /** What it waits for. */
  readonly gate: number;
  /** Undefined once it is awake. */
  end: ((error?: { reason: unknown }) => void) | undefined;
}

/** Promises that wait, in the order in which they came. */
export class Sleepers {
  #sleepers: Sleeper[] = [];
  /** How many of them are cancelled. */
  #cancelled = 0;

  /** How many there are. */
  get size(): number {
    return this.#sleepers.length - this.#cancelled;
  }

  /** Whether one waits for this. */
  has(gate: number): boolean {
    return this.#sleepers.some((sleeper) => sleeper.gate === gate && sleeper.end !== undefined);
  }

  /** Waits to be woken. `cancelled` is called if it is not, as the time is up or the signal aborts. */
  add({ signal, timeout = Infinity }: WaitOptions, gate = 0, cancelled = noop): Promise<void> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    return new Promise((resolve, reject) => {
      const end = (error?: { reason: unknown }) => {
        sleeper.end = undefined;
        timer?.clear();
        signal?.removeEventListener("abort", abort);
        if (error === undefined) resolve();
        else reject(error.reason);
      };
      const cancel = (reason: unknown) => {
        this.#cancelled++;
        end({ reason });
        cancelled();
      };
      const abort = () => cancel(signal!.reason);
      const sleeper: Sleeper = { gate, end };
      const timer = timeout === Infinity
        ? undefined
        : at(performance.now() + timeout, () => cancel(timeoutError("sleep", timeout)));
      signal?.addEventListener("abort", abort, { once: true });
      this.#sleepers.push(sleeper);
    });
  }

  /** Wakes the first; returns whether there was one. */
  wakeFirst(): boolean {
    while (this.#sleepers.length > 0) {
      const { end } = this.#sleepers.shift()!;
      if (end !== undefined) {
        end();
        return true;
      }
      this.#cancelled--;
    }
    return false;
  }

  /** Wakes all, or has all fail for a reason. */
  wakeAll(error?: { reason: unknown }): void {
    const sleepers = this.#sleepers;
    this.#sleepers = [];
    this.#cancelled = 0;
    for (const { end } of sleepers) end?.(error);
  }
}

function noop(): void {}

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
