/**
 * Waits, and the places that they have in a line.
 *
 * @module
 */

import { type Cancellable, follow, unfollow } from "./cancel.ts";
import type { BlockingCall, ThreadMemory, ThreadRequest } from "./thread.ts";
import { at, type Timer } from "./timer.ts";

/** A wait: a call that blocks, for how long, and what to do with its result. */
export interface Wait<Result> {
  /** Equal for waits that can take each other's results. */
  readonly key: string;
  /** Whether the call of one serves the first in line, whichever that is; otherwise each has its own. */
  readonly shared: boolean;
  /** Whether the call changes nothing: then its result is for all in line. */
  readonly readOnly: boolean;
  /** The maximum time to wait, in milliseconds. */
  readonly timeout: number;
  readonly signal: AbortSignal | undefined;
  /** The waits that the handle cancels when it ends. */
  readonly dependents: Set<Cancellable>;

  /** Makes the call without waiting: a result, or the negative number of an error. */
  attempt(): number;
  /** The call that blocks. */
  readonly call: BlockingCall;
  /** Writes what the call needs into the memory of the thread that makes it, and says what to pass. */
  request(memory: ThreadMemory): ThreadRequest;
  /** Takes what the call has left there. */
  received?(memory: ThreadMemory, result: number): void;
  /** Reverses what happened, and returns whether that was possible. */
  reverse?(): boolean;
  /** Makes room for a result that was too large, and returns whether that was possible. */
  grow?(): boolean;

  /** Makes the value of the promise; called at once, before the call is made again. */
  take(result: number): Result;
  /** Makes the reason of the promise. */
  error(errno: number): Error;
  timeoutError(): Error;
}

/** A line, as its waits see it. */
export interface Place {
  giveUp(waiter: Waiter, reason: unknown): void;
}

/** A wait that has a place in a line until its promise is settled. */
// deno-lint-ignore no-explicit-any -- one line holds waits for values of any type
export class Waiter<Result = any> implements Cancellable {
  readonly wait: Wait<Result>;
  /** Its number among all that joined the line, modulo 2^32. */
  readonly number: number;
  /** Its neighbours, as long as it is listed. */
  list: Waiters | undefined;
  before: Waiter | undefined;
  after: Waiter | undefined;
  readonly #place: Place;
  readonly #resolve: (result: Result) => void;
  readonly #reject: (reason: unknown) => void;
  #timer: Timer | undefined;

  constructor(
    wait: Wait<Result>,
    number: number,
    place: Place,
    resolve: (result: Result) => void,
    reject: (reason: unknown) => void,
  ) {
    this.wait = wait;
    this.number = number;
    this.#place = place;
    this.#resolve = resolve;
    this.#reject = reject;
    const { signal, timeout, dependents } = wait;
    if (signal !== undefined) follow(signal, this);
    dependents.add(this);
    if (timeout < Infinity) {
      this.#timer = at(performance.now() + timeout, () => this.cancel(wait.timeoutError()));
    }
  }

  cancel(reason: unknown): void {
    this.#place.giveUp(this, reason);
  }

  resolve(result: number): void {
    this.#settle();
    try {
      this.#resolve(this.wait.take(result));
    } catch (error) {
      this.#reject(error);
    }
  }

  reject(reason: unknown): void {
    this.#settle();
    this.#reject(reason);
  }

  fail(errno: number): void {
    this.reject(this.wait.error(errno));
  }

  #settle(): void {
    const { signal, dependents } = this.wait;
    if (signal !== undefined) unfollow(signal, this);
    dependents.delete(this);
    this.#timer?.clear();
  }
}

/** Waits in the order in which they came. The first is found at once, which a `Set` does not do. */
export class Waiters implements Iterable<Waiter> {
  first: Waiter | undefined;
  #last: Waiter | undefined;

  get isEmpty(): boolean {
    return this.first === undefined;
  }

  add(waiter: Waiter): void {
    waiter.list = this;
    waiter.before = this.#last;
    if (this.#last === undefined) this.first = waiter;
    else this.#last.after = waiter;
    this.#last = waiter;
  }

  /** Takes one out, and returns whether it was there. */
  delete(waiter: Waiter): boolean {
    if (waiter.list !== this) return false;
    const { before, after } = waiter;
    if (before === undefined) this.first = after;
    else before.after = after;
    if (after === undefined) this.#last = before;
    else after.before = before;
    waiter.list = waiter.before = waiter.after = undefined;
    return true;
  }

  /** Iterates over all that are there when they are reached; the one just given may be taken out. */
  *[Symbol.iterator](): Iterator<Waiter> {
    for (let waiter = this.first; waiter !== undefined;) {
      const { after } = waiter;
      yield waiter;
      waiter = after;
    }
  }
}
