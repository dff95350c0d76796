/**
 * Operations as semop takes them, in memory that no collector moves.
 *
 * @module
 */

import type { Pointer } from "./backend.ts";
import { pointerTo } from "./memory.ts";

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

/** Makes room in memory of its own, which no collector moves, as addresses of it travel. */
export function reserve(count: number): Packed {
  const memory = new ArrayBuffer(6 * count);
  const bytes = new Uint8Array(memory);
  return { numbers: new Int16Array(memory), bytes, pointer: undefined, count };
}

/** What was pointed to last: a pointer alone does not keep memory from the collector. */
let pointed: Packed | undefined;

/** Returns where it stands; asked at the first use, as importing needs no permission. */
export function point(packed: Packed): Pointer {
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
/** The operation that was packed last as a single one. */
export const single: Packed = reserve(1);
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

/** Returns a text that is equal for equal operations. */
export function textOf({ numbers, count }: Packed): string {
  const first = `${numbers[0]},${numbers[1]},${numbers[2]}`;
  return count === 1 ? first : `${first},${numbers.subarray(3, 3 * count).join()}`;
}
