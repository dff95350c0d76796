/**
 * Promises of one handle that wait for each other, or for the same bell.
 *
 * @module
 */

import { timeoutError, type WaitOptions } from "../wait/options.ts";
import { at } from "../wait/timer.ts";
import type { Failure } from "./flow.ts";

interface Sleeper {
  /** What it waits for. */
  readonly gate: number;
  /** Undefined once it is awake. */
  end: ((failure?: Failure) => void) | undefined;
}

/** Who waits, in the order in which they came. */
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

  /** Calls back, later, when it is woken, or with a failure as its time is up or its signal is aborted. */
  add(
    { signal, timeout = Infinity }: WaitOptions,
    then: (failure?: Failure) => void,
    gate = 0,
  ): void {
    const end = (failure?: Failure) => {
      sleeper.end = undefined;
      timer?.clear();
      signal?.removeEventListener("abort", abort);
      then(failure);
    };
    const list = this.#sleepers;
    const cancel = (reason: unknown) => {
      // Those that are just woken, one after the other, are not counted any more.
      if (list === this.#sleepers) this.#cancelled++;
      end({ reason });
    };
    const abort = () => cancel(signal!.reason);
    const sleeper: Sleeper = { gate, end };
    const timer = timeout === Infinity
      ? undefined
      : at(performance.now() + timeout, () => cancel(timeoutError("sleep", timeout)));
    list.push(sleeper);
    if (signal?.aborted) queueMicrotask(() => sleeper.end !== undefined && abort());
    else signal?.addEventListener("abort", abort, { once: true });
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

  /** Wakes all, or has all fail. */
  wakeAll(failure?: Failure): void {
    const sleepers = this.#sleepers;
    this.#sleepers = [];
    this.#cancelled = 0;
    for (const { end } of sleepers) end?.(failure);
  }
}

/** A place in line: one at a time, in the order in which they came. */
export class Line {
  readonly #sleepers = new Sleepers();
  #taken = false;

  /** Whether somebody is in it. */
  get taken(): boolean {
    return this.#taken;
  }

  /**
   * Performs something when it is its turn, and then lets the next one in. Rejects with what becomes of the
   * reason if that turn does not come.
   */
  through<Result>(
    options: WaitOptions,
    perform: () => Promise<Result>,
    retell: (reason: unknown) => unknown,
  ): Promise<Result> {
    if (this.#taken) return this.#wait(options, retell).then(() => this.#perform(perform));
    this.#taken = true;
    return this.#perform(perform);
  }

  #wait(options: WaitOptions, retell: (reason: unknown) => unknown): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#sleepers.add(options, (failure) => {
        if (failure === undefined) resolve();
        else reject(retell(failure.reason));
      });
    });
  }

  /** What is returned is the promise itself, as each that follows another takes its time. */
  #perform<Result>(perform: () => Promise<Result>): Promise<Result> {
    const result = perform();
    const leave = () => this.#leave();
    result.then(leave, leave);
    return result;
  }

  #leave(): void {
    if (!this.#sleepers.wakeFirst()) this.#taken = false;
  }
}
