/**
 * Operations as semop takes them, in memory that no collector moves.
 *
 * @module
 */

import { abi, errors, IPC_NOWAIT, SEM_UNDO } from "./abi.ts";
import type { Pointer } from "./backend.ts";
import { pointerTo, semctl, semop, semtimedop, timespec } from "./calls.ts";
import { resume } from "./interrupt.ts";
import type { ThreadMemory, ThreadRequest } from "./pool.ts";
import type { Operation } from "./waiter.ts";

const { GETNCNT, GETZCNT } = abi.constants;

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
export function packOne(index: number, delta: number, flags: number): Packed {
  const { numbers } = single;
  numbers[0] = index;
  numbers[1] = delta;
  numbers[2] = flags;
  return single;
}

/** Makes room for several operations, until the next are packed. */
export function packMany(count: number): Packed {
  if (several.numbers.length < 3 * count) several = reserve(Math.max(count, 16));
  several.count = count;
  return several;
}

/** Puts an operation among several. */
export function put(packed: Packed, i: number, index: number, delta: number, flags: number): void {
  const { numbers } = packed;
  numbers[3 * i] = index;
  numbers[3 * i + 1] = delta;
  numbers[3 * i + 2] = flags;
}

/** Tells packed operations from others. */
export function textOf({ numbers, count }: Packed): string {
  const first = `${numbers[0]},${numbers[1]},${numbers[2]}`;
  return count === 1 ? first : `${first},${numbers.subarray(3, 3 * count).join()}`;
}

/** Performs packed operations once; gives the negative number of what went wrong. */
export function attempt(id: number, packed: Packed): number {
  const { pointer, count } = packed;
  return semop(id, pointer ?? point(packed), count);
}

/** Performs one operation once; gives the negative number of what went wrong. */
export function attemptSingle(id: number, index: number, delta: number, flags: number): number {
  packOne(index, delta, flags);
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

/** That of the line that began last: equal lines are never there at once. */
let last: SemopOperation | undefined;

/** Gives operations to wait for. Who waits for the same again and again uses the same memory. */
export function operationOf(key: string, id: number, packed: Packed): SemopOperation {
  if (last?.key !== key) last = new SemopOperation(key, id, packed);
  return last;
}

/** Whether operations change nothing, all in all: no semaphore, and nothing that is to be undone. */
function isTest({ numbers, count }: Packed): boolean {
  const sums = new Map<number, number>();
  for (let i = 0; i < 3 * count; i += 3) {
    const [index, delta, flags] = [numbers[i]!, numbers[i + 1]!, numbers[i + 2]!];
    if (delta !== 0 && (flags & SEM_UNDO) !== 0) return false;
    sums.set(index, (sums.get(index) ?? 0) + delta);
  }
  return [...sums.values()].every((sum) => sum === 0);
}

/** What gives back what operations have taken; undefined if they have added anything. */
function reversed({ numbers, count }: Packed): Packed | undefined {
  const operations: number[] = [];
  for (let i = 0; i < 3 * count; i += 3) {
    const [index, delta, flags] = [numbers[i]!, numbers[i + 1]!, numbers[i + 2]!];
    if (delta > 0) return undefined;
    if (delta < 0) operations.push(index, -delta, flags);
  }
  return pack(operations);
}

/** Operations that a thread waits for. */
export class SemopOperation implements Operation {
  readonly call = "semop";
  readonly #id: number;
  readonly #waiting: Packed;
  readonly #trying: Packed;
  readonly #reversed: Packed | undefined;
  /** The last request, and the address for which it was made: mostly the next is the same. */
  #request: ThreadRequest | undefined;
  #address = 0;
  readonly changesNothing: boolean;

  constructor(readonly key: string, id: number, { numbers, count }: Packed) {
    this.#id = id;
    this.#waiting = reserve(count);
    this.#trying = reserve(count);
    for (let i = 0; i < 3 * count; i++) {
      this.#trying.numbers[i] = numbers[i]!;
      this.#waiting.numbers[i] = i % 3 === 2 ? numbers[i]! & ~IPC_NOWAIT : numbers[i]!;
    }
    this.#reversed = reversed(this.#trying);
    this.changesNothing = isTest(this.#trying);
  }

  attempt(): number {
    return attempt(this.#id, this.#trying);
  }

  isAwaited(): boolean {
    const { numbers, count } = this.#trying;
    for (let i = 0; i < 3 * count; i += 3) {
      const [index, delta] = [numbers[i]!, numbers[i + 1]!];
      if (delta > 0) continue;
      // Who may not ask takes it that somebody does.
      if (semctl(this.#id, index, delta === 0 ? GETZCNT : GETNCNT, 0) !== 0) return true;
    }
    return false;
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
