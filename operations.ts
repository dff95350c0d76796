/**
 * Operations on a semaphore set: packed for semop, then performed at once, blocking, or in line.
 *
 * @module
 */

import { errors, IPC_NOWAIT, SEM_UNDO, SEMVMX } from "./ffi/abi.ts";
import { addressOf, semop, semtimedop, timespec } from "./ffi/calls.ts";
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
  count: number;
}

/** In memory of its own, which no collector moves, as addresses of it travel. */
function reserve(count: number): Packed {
  const memory = new ArrayBuffer(6 * count);
  return { numbers: new Int16Array(memory), bytes: new Uint8Array(memory), count };
}

// One buffer serves every single operation and one every array, as a call is over before the next begins.
const single = reserve(1);
let several = reserve(16);

/** Packs one operation, until the next is packed. */
export function packSingle(handle: Handle, index: number, delta: number, flags: number): Packed {
  if (handle.state !== "open") throw handle.refusal();
  return repack(index, delta, flags);
}

/** Packs one operation of a handle that may be disposed, until the next is packed. */
export function repack(index: number, delta: number, flags: number): Packed {
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
  if (several.numbers.length < 3 * operations.length) several = reserve(operations.length);
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
export function attempt(id: number, { bytes, count }: Packed): number {
  return semop(id, bytes, count);
}

/** Performs packed operations, blocking the thread; gives the negative number of what went wrong. */
export function block(id: number, packed: Packed, timeout: number): number {
  const { bytes, count } = packed;
  if (timeout === Infinity) {
    const result = semop(id, bytes, count);
    return result === -errors.EINTR ? resume(() => semop(id, bytes, count)) : result;
  }
  const deadline = performance.now() + timeout;
  const rest = () => timespec(Math.max(deadline - performance.now(), 0));
  const result = semtimedop(id, bytes, count, timespec(timeout));
  return result === -errors.EINTR ? resume(() => semtimedop(id, bytes, count, rest())) : result;
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
    const result = semop(handle.id, packed.bytes, packed.count);
    if (result >= 0) return take();
    if (result !== -errors.EAGAIN) throw semopError(handle, -result, doing());
    if (timeout === 0) throw timeoutError(doing(), 0);
  }
  return wait(new SemopRequest(handle, packed, timeout, options?.signal, doing, take));
}

/** The line of a set's equal operations. */
function lineOf(handle: Handle, { numbers, count }: Packed): string {
  return `semop ${handle.id}: ${numbers.subarray(0, 3 * count).join()}`;
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
    return new SemopOperation(this.handle.id, this.packed);
  }

  error(errno: number): Error {
    return semopError(this.handle, errno, this.doing());
  }

  timeoutError(): Error {
    return timeoutError(this.doing(), this.timeout);
  }
}

/** Operations that a thread waits for. */
class SemopOperation implements Operation {
  readonly call = "semop";
  readonly #id: number;
  readonly #waiting: Packed;
  readonly #trying: Packed;

  constructor(id: number, { numbers, count }: Packed) {
    this.#id = id;
    this.#waiting = reserve(count);
    this.#trying = reserve(count);
    for (let i = 0; i < 3 * count; i++) {
      this.#trying.numbers[i] = numbers[i]!;
      this.#waiting.numbers[i] = i % 3 === 2 ? numbers[i]! & ~IPC_NOWAIT : numbers[i]!;
    }
  }

  attempt(): number {
    return attempt(this.#id, this.#trying);
  }

  arguments(): readonly number[] {
    return [this.#id, addressOf(this.#waiting.bytes), this.#waiting.count];
  }

  reverse(): boolean {
    const { numbers } = this.#trying;
    const reversed: number[] = [];
    for (let i = 0; i < numbers.length; i += 3) {
      if (numbers[i + 1]! > 0) return false;
      if (numbers[i + 1]! < 0) reversed.push(numbers[i]!, -numbers[i + 1]!, numbers[i + 2]!);
    }
    if (reversed.length === 0) return true;
    const packed = reserve(reversed.length / 3);
    packed.numbers.set(reversed);
    return attempt(this.#id, packed) >= 0;
  }
}
