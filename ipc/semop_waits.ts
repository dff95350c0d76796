/**
 * Operations of semop that block the thread, or wait in line.
 *
 * @module
 */

import { errors, IPC_NOWAIT, SEM_UNDO } from "../ffi/constants.ts";
import { abi } from "../ffi/platforms.ts";
import { semctl, semtimedop, timespec } from "../ffi/calls.ts";
import { attempt, attemptAgain } from "../ffi/attempt.ts";
import { pack, type Packed, point, reserve } from "../ffi/sembuf.ts";
import { resume } from "../wait/interrupt.ts";
import type { Operation } from "../wait/line.ts";
import type { ThreadMemory, ThreadRequest } from "../wait/pool.ts";

const { GETNCNT, GETZCNT } = abi.constants;

/** Goes on with the single operation that a signal interrupted. */
export function resumeSingle(id: number): number {
  return resume(() => attemptAgain(id));
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
