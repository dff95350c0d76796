/**
 * Operations on a semaphore set: packed for semop, then performed at once, blocking, or in line.
 *
 * @module
 */

import { errors, IPC_NOWAIT, SEM_UNDO, SEMVMX } from "./ffi/abi.ts";
import { addressOf, pointerTo, semop, semtimedop, timespec } from "./ffi/calls.ts";
import type { Pointer } from "./ffi/backend.ts";
import { resume } from "./ffi/interrupt.ts";
import {
  anyWaiting,
  type Ending,
  isWaiting,
  type Operation,
  wait,
  type WaitRequest,
} from "./ffi/waiter.ts";
import { checkInteger, checkTimeout, timeoutError, type WaitOptions } from "./check.ts";
import { type Handle, ipcError } from "./object.ts";

/** One operation of several that happen together or not at all. */
export interface SemaphoreOperation {
  /**
   * The index of the semaphore.
   *
   * @default {0}
   */
  index?: number | undefined;
  /** What to add: a negative amount waits until the value is large enough, 0 waits until the value is 0. */
  delta: number;
  /**
   * Whether the kernel reverses the operation when this process ends.
   *
   * @default {false}
   */
  undo?: boolean | undefined;
}

/**
 * Operations as semop takes them: an array of struct sembuf, <sys/sem.h>, 6 bytes each: unsigned
 * short sem_num at 0, short sem_op at 2, short sem_flg at 4.
 */
export interface Packed {
  readonly numbers: Int16Array<ArrayBuffer>;
  readonly bytes: Uint8Array<ArrayBuffer>;
  pointer: Pointer | undefined;
  count: number;
}

/** In memory of its own, which no collector moves, as addresses of it travel. */
function reserve(count: number): Packed {
  const memory = new ArrayBuffer(6 * count);
  const bytes = new Uint8Array(memory);
  return { numbers: new Int16Array(memory), bytes, pointer: undefined, count };
}

/** What was pointed to last: a pointer alone does not keep memory from the collector. */
let pointed: Packed | undefined;

/** Tells where it stands; asked at the first use, as importing needs no permission. */
function point(packed: Packed): Pointer {
  pointed = packed;
  return packed.pointer = pointerTo(pointed.bytes);
}

/** Packs numbers as they are: index, delta and flags of each operation. */
export function pack(numbers: readonly number[]): Packed {
  const packed = reserve(numbers.length / 3);
  packed.numbers.set(numbers);
  return packed;
}

// One buffer serves every single operation and one every array, as a call is over before the next begins.
const single = reserve(1);
let several = reserve(16);

/** Packs one operation, until the next is packed. */
export function packSingle(handle: Handle, index: number, delta: number, flags: number): Packed {
  if (handle.state !== "open") throw handle.refusal();
  const { numbers } = single;
  numbers[0] = index;
  numbers[1] = delta;
  numbers[2] = flags;
  return single;
}

/** Packs operations, until the next are packed. */
export function packSeveral(
  handle: Handle,
  operations: readonly SemaphoreOperation[],
  size: number,
  flags: number,
): Packed {
  if (!Array.isArray(operations) || operations.length === 0) {
    throw new TypeError(
      `Cannot operate on ${handle.name}: expected an array of at least one operation`,
    );
  }
  if (several.numbers.length < 3 * operations.length) {
    several = reserve(Math.max(operations.length, 16));
  }
  const { numbers } = several;
  for (let i = 0; i < operations.length; i++) {
    const { index = 0, delta, undo } = operations[i]!;
    if (!(Number.isInteger(index) && index >= 0 && index < size)) {
      checkInteger(index, 0, size - 1, `operate on semaphore ${index} of ${handle.name}`);
    }
    if (!(Number.isInteger(delta) && delta >= -SEMVMX && delta <= SEMVMX)) {
      const doing = `add ${delta} to semaphore ${index} of ${handle.name}`;
      checkInteger(delta, -SEMVMX, SEMVMX, doing);
    }
    numbers[3 * i] = index;
    numbers[3 * i + 1] = delta;
    numbers[3 * i + 2] = undo === true ? flags | SEM_UNDO : flags;
  }
  several.count = operations.length;
  if (handle.state !== "open") throw handle.refusal();
  return several;
}

/** Makes an error of a failed semop. */
export function semopError(handle: Handle, errno: number, doing: string): Error {
  if (errno === errors.ERANGE) {
    const reason = `a value or an undo would leave its range, 0 to ${SEMVMX}`;
    return ipcError(errno, "semop", doing, handle, reason);
  }
  if (errno === errors.E2BIG) {
    const reason = "one semop takes no more operations (SEMOPM)";
    return ipcError(errno, "semop", doing, handle, reason);
  }
  return handle.error(errno, "semop", doing);
}

/** Performs packed operations once; gives the negative number of what went wrong. */
export function attempt(id: number, packed: Packed): number {
  const { pointer, count } = packed;
  return semop(id, pointer ?? point(packed), count);
}

/** Performs one operation once; gives the negative number of what went wrong. */
export function attemptSingle(id: number, index: number, delta: number, flags: number): number {
  const { numbers } = single;
  numbers[0] = index;
  numbers[1] = delta;
  numbers[2] = flags;
  return semop(id, single.pointer ?? point(single), 1);
}

/** Goes on with the single operation that a signal interrupted. */
export function resumeSingle(id: number): number {
  return resume(() => attempt(id, single));
}

/** Performs packed operations, blocking the thread; gives the negative number of what went wrong. */
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

/**
 * Performs packed operations: at once if they can happen and no equal ones wait here, else in line.
 * They are packed with IPC_NOWAIT.
 */
export function perform<Result>(
  handle: Handle,
  packed: Packed,
  options: WaitOptions | undefined,
  doing: () => string,
  take: () => Result,
): Result | Promise<Result> {
  const timeout = options?.timeout === undefined ? Infinity : checkTimeout(options.timeout);
  options?.signal?.throwIfAborted();
  if (timeout === 0 || !anyWaiting() || !isWaiting(lineOf(handle, packed))) {
    const result = attempt(handle.id, packed);
    if (result >= 0) return take();
    if (result !== -errors.EAGAIN) throw semopError(handle, -result, doing());
    if (timeout === 0) throw timeoutError(doing(), 0);
  }
  return wait(new SemopRequest(handle, packed, timeout, options?.signal, doing, take));
}

/** The line of a set's equal operations. */
function lineOf(handle: Handle, { numbers, count }: Packed): string {
  const first = `semop ${handle.id}: ${numbers[0]},${numbers[1]},${numbers[2]}`;
  return count === 1 ? first : `${first},${numbers.subarray(3, 3 * count).join()}`;
}

/** Packed operations that wait in line. What is packed is only read as they join it. */
class SemopRequest<Result> implements WaitRequest<Result, SemopOperation> {
  readonly key: string;
  readonly shared = true;

  constructor(
    readonly handle: Handle,
    readonly packed: Packed,
    readonly timeout: number,
    readonly signal: AbortSignal | undefined,
    readonly doing: () => string,
    readonly take: () => Result,
  ) {
    this.key = lineOf(handle, packed);
  }

  get endings(): Set<Ending> {
    return this.handle.endings;
  }

  operation(): SemopOperation {
    // Who waits for the same again and again uses the same memory.
    if (last?.key !== this.key) last = new SemopOperation(this.key, this.handle.id, this.packed);
    return last;
  }

  error(errno: number): Error {
    return semopError(this.handle, errno, this.doing());
  }

  timeoutError(): Error {
    return timeoutError(this.doing(), this.timeout);
  }
}

/** That of the line that began last: equal lines are never there at once. */
let last: SemopOperation | undefined;

/** Whether operations change no semaphore, all in all. */
function isTest({ numbers, count }: Packed): boolean {
  const sums = new Map<number, number>();
  for (let i = 0; i < 3 * count; i += 3) {
    sums.set(numbers[i]!, (sums.get(numbers[i]!) ?? 0) + numbers[i + 1]!);
  }
  return [...sums.values()].every((sum) => sum === 0);
}

/** Operations that a thread waits for. */
class SemopOperation implements Operation {
  readonly call = "semop";
  readonly #id: number;
  readonly #waiting: Packed;
  readonly #trying: Packed;
  readonly #arguments: readonly number[];
  readonly changesNothing: boolean;

  constructor(readonly key: string, id: number, { numbers, count }: Packed) {
    this.#id = id;
    this.#waiting = reserve(count);
    this.#trying = reserve(count);
    for (let i = 0; i < 3 * count; i++) {
      this.#trying.numbers[i] = numbers[i]!;
      this.#waiting.numbers[i] = i % 3 === 2 ? numbers[i]! & ~IPC_NOWAIT : numbers[i]!;
    }
    this.#arguments = [id, addressOf(this.#waiting.bytes), count];
    this.changesNothing = isTest(this.#trying);
  }

  attempt(): number {
    return attempt(this.#id, this.#trying);
  }

  arguments(): readonly number[] {
    return this.#arguments;
  }

  reverse(): boolean {
    const { numbers } = this.#trying;
    const reversed: number[] = [];
    for (let i = 0; i < numbers.length; i += 3) {
      if (numbers[i + 1]! > 0) return false;
      if (numbers[i + 1]! < 0) reversed.push(numbers[i]!, -numbers[i + 1]!, numbers[i + 2]!);
    }
    if (reversed.length === 0) return true;
    const result = attempt(this.#id, pack(reversed));
    // With the set, all that happened to it is gone.
    return result >= 0 || result === -errors.EINVAL || result === -errors.EIDRM;
  }
}
