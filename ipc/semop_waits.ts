/**
 * Operations of semop that block the thread, or wait in line.
 *
 * @module
 */

import { errors, IPC_NOWAIT, SEM_UNDO } from "../ffi/constants.ts";
import { semtimedop, timespec } from "../ffi/calls.ts";
import { attempt, attemptAgain } from "../ffi/attempt.ts";
import { pack, type Packed, point, reserve, textOf } from "../ffi/sembuf.ts";
import { resume } from "../wait/block.ts";
import { anyWaiting, equalWait, wait } from "../wait/line.ts";
import { timeoutError, type WaitLimits } from "../wait/options.ts";
import { turn } from "../wait/turn.ts";
import type { Cancellable } from "../wait/cancel.ts";
import type { ThreadMemory, ThreadRequest } from "../wait/thread.ts";
import type { Wait } from "../wait/waiter.ts";
import type { Handle } from "./handle.ts";

/** Goes on with the single operation that a signal interrupted. */
export function resumeSingle(id: number): number {
  return resume(() => attemptAgain(id));
}

/** Performs packed operations, blocking the thread; returns the negative number of an error. */
export function block(id: number, packed: Packed, timeout: number): number {
  if (timeout === Infinity) {
    const result = attempt(id, packed);
    return result === -errors.EINTR ? resume(() => attempt(id, packed)) : result;
  }
  const { pointer = point(packed), count } = packed;
  const deadline = performance.now() + timeout;
  const rest = () => timespec(Math.max(deadline - performance.now(), 0));
  const result = semtimedop(id, pointer, count, timespec(timeout));
  return result === -errors.EINTR ? resume(() => semtimedop(id, pointer, count, rest())) : result;
}

/** What comes of operations: the value of a promise, or an error that says what was tried. */
export interface Outcome<Result> {
  take(): Result;
  /** Says what was tried, as in "acquire semaphore 0". */
  action(): string;
}

/**
 * Makes a promise of what is done at once, waits, or throws. An async function would do the same, but
 * keep its frame for as long as it waits.
 */
export function promised<Result>(run: () => Result | Promise<Result>): Promise<Result> {
  try {
    return Promise.resolve(run()) as Promise<Result>;
  } catch (error) {
    return Promise.reject(error);
  }
}

/**
 * Performs packed operations: at once if they can happen and no equal ones wait here, else in line.
 * They are packed with IPC_NOWAIT. Gives no promise if it is done and the event loop is not due.
 */
export function perform<Result>(
  handle: Handle,
  packed: Packed,
  { timeout, signal }: WaitLimits,
  outcome: Outcome<Result>,
): Result | Promise<Result> {
  signal?.throwIfAborted();
  const key = anyWaiting() ? keyOf(handle, packed) : undefined;
  const equal = key === undefined ? undefined : equalWait(key);
  if (timeout === 0 || equal === undefined) {
    const result = attempt(handle.id, packed);
    if (result !== -errors.EAGAIN || timeout === 0) {
      const due = turn();
      if (due === undefined) return conclude(handle, result, outcome);
      return due.then(() => conclude(handle, result, outcome));
    }
  }
  return wait(
    new SemopWait(
      equal?.key ?? key ?? keyOf(handle, packed),
      equal,
      handle,
      packed,
      timeout,
      signal,
      outcome,
    ),
  );
}

/** Makes a value or an error of what a try without waiting gave. */
function conclude<Result>(handle: Handle, result: number, outcome: Outcome<Result>): Result {
  if (result >= 0) return outcome.take();
  if (result === -errors.EAGAIN) throw timeoutError(outcome.action(), 0);
  throw handle.error(-result, "semop", outcome.action());
}

/** The line of a set's equal operations. */
export function keyOf(handle: Handle, packed: Packed): string {
  return `semop ${handle.id}: ${textOf(packed)}`;
}

/** Packed operations that wait in line. What is packed is only read as they join it. */
export class SemopWait<Result> implements Wait<Result> {
  readonly semop: Semop;
  readonly key: string;
  readonly handle: Handle;
  readonly timeout: number;
  readonly signal: AbortSignal | undefined;
  readonly outcome: Outcome<Result>;

  /** Waits for what an equal one waits for that stands in line, if there is one. */
  constructor(
    key: string,
    equal: Wait<unknown> | undefined,
    handle: Handle,
    packed: Packed,
    timeout: number,
    signal: AbortSignal | undefined,
    outcome: Outcome<Result>,
  ) {
    this.key = key;
    this.handle = handle;
    this.timeout = timeout;
    this.signal = signal;
    this.outcome = outcome;
    this.semop = equal instanceof SemopWait ? equal.semop : semopOf(key, handle.id, packed);
  }

  get shared(): boolean {
    return true;
  }

  get readOnly(): boolean {
    return this.semop.readOnly;
  }

  get dependents(): Set<Cancellable> {
    return this.handle.dependents;
  }

  get call(): "semop" {
    return "semop";
  }

  attempt(): number {
    return this.semop.attempt();
  }

  request(memory: ThreadMemory): ThreadRequest {
    return this.semop.request(memory);
  }

  reverse(): boolean {
    return this.semop.reverse();
  }

  take(): Result {
    return this.outcome.take();
  }

  error(errno: number): Error {
    return this.handle.error(errno, "semop", this.outcome.action());
  }

  timeoutError(): Error {
    return timeoutError(this.outcome.action(), this.timeout);
  }
}

/** The operations of the line that began last. */
let last: Semop | undefined;

/** Returns operations to wait for. Who waits for the same again and again uses the same memory. */
function semopOf(key: string, id: number, packed: Packed): Semop {
  return last?.key === key ? last : last = new Semop(key, id, packed);
}

/** Operations in memory of their own, as long as there are equal waits. */
class Semop {
  readonly key: string;
  /** Whether they change nothing, all in all. */
  readonly readOnly: boolean;
  readonly #id: number;
  readonly #waiting: Packed;
  readonly #trying: Packed;
  readonly #reversed: Packed | undefined;
  /** The last request, and the address for which it was made: mostly the next is the same. */
  #request: ThreadRequest | undefined;
  #address = 0;

  constructor(key: string, id: number, { numbers, count }: Packed) {
    this.key = key;
    this.#id = id;
    this.#waiting = reserve(count);
    this.#trying = reserve(count);
    for (let i = 0; i < 3 * count; i++) {
      this.#trying.numbers[i] = numbers[i]!;
      this.#waiting.numbers[i] = i % 3 === 2 ? numbers[i]! & ~IPC_NOWAIT : numbers[i]!;
    }
    this.#reversed = reversed(this.#trying);
    this.readOnly = isReadOnly(this.#trying);
  }

  attempt(): number {
    return attempt(this.#id, this.#trying);
  }

  request(memory: ThreadMemory): ThreadRequest {
    const { bytes, count } = this.#waiting;
    const back = this.#reversed;
    const { address } = memory.reserve(2 * bytes.length);
    memory.bytes.set(bytes);
    if (back !== undefined) memory.bytes.set(back.bytes, bytes.length);
    if (address !== this.#address) {
      this.#address = address;
      const reversal = back && {
        call: "semop" as const,
        arguments: [this.#id, address + bytes.length, back.count],
      };
      this.#request = { arguments: [this.#id, address, count], reversal };
    }
    return this.#request!;
  }

  reverse(): boolean {
    const back = this.#reversed;
    if (back === undefined) return false;
    if (back.count === 0) return true;
    const result = attempt(this.#id, back);
    // With the set, all that happened to it is gone.
    return result >= 0 || result === -errors.EINVAL || result === -errors.EIDRM;
  }
}

/** Whether operations change nothing, all in all: no semaphore, and nothing that is to be undone. */
function isReadOnly({ numbers, count }: Packed): boolean {
  const sums = new Map<number, number>();
  for (let i = 0; i < 3 * count; i += 3) {
    const [index, delta, flags] = [numbers[i]!, numbers[i + 1]!, numbers[i + 2]!];
    if (delta !== 0 && (flags & SEM_UNDO) !== 0) return false;
    sums.set(index, (sums.get(index) ?? 0) + delta);
  }
  return [...sums.values()].every((sum) => sum === 0);
}

/** The operations that give back what others have taken; undefined if those added anything. */
function reversed({ numbers, count }: Packed): Packed | undefined {
  const operations: number[] = [];
  for (let i = 0; i < 3 * count; i += 3) {
    const [index, delta, flags] = [numbers[i]!, numbers[i + 1]!, numbers[i + 2]!];
    if (delta > 0) return undefined;
    if (delta < 0) operations.push(index, -delta, flags);
  }
  return pack(operations);
}
