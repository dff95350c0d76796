/**
 * Operations on a semaphore set, packed for semop.
 *
 * @module
 */

import { SEM_UNDO, SEMVMX } from "../ffi/constants.ts";
import { type Packed, packMany, packOne, put } from "../ffi/sembuf.ts";
import { checkFlag, checkInteger, described } from "../ffi/check.ts";
import type { Handle } from "./handle.ts";

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

/** Packs one operation, until the next is packed. */
export function packSingle(handle: Handle, index: number, delta: number, flags: number): Packed {
  if (handle.state !== "open") throw handle.refusal();
  return packOne(index, delta, flags);
}

/** Packs the test for a value of at least so much, which changes nothing, until others are packed. */
export function packTest(handle: Handle, index: number, least: number, flags: number): Packed {
  if (handle.state !== "open") throw handle.refusal();
  const packed = packMany(2);
  put(packed, 0, index, -least, flags);
  put(packed, 1, index, least, flags);
  return packed;
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
  const packed = packMany(operations.length);
  for (let i = 0; i < operations.length; i++) {
    const operation = operations[i];
    if (typeof operation !== "object" || operation === null) refuseOperation(handle, operation, i);
    const { index = 0, delta, undo } = operation!;
    if (undo !== undefined && typeof undo !== "boolean") checkFlag(undo, "undo");
    if (!(Number.isInteger(index) && index >= 0 && index < size)) {
      checkInteger(index, 0, size - 1, `operate on semaphore ${index} of ${handle.name}`);
    }
    if (!(Number.isInteger(delta) && delta >= -SEMVMX && delta <= SEMVMX)) {
      const doing = `add ${delta} to semaphore ${index} of ${handle.name}`;
      checkInteger(delta, -SEMVMX, SEMVMX, doing);
    }
    put(packed, i, index, delta, undo === true ? flags | SEM_UNDO : flags);
  }
  if (handle.state !== "open") throw handle.refusal();
  return packed;
}

function refuseOperation(handle: Handle, operation: unknown, i: number): never {
  throw new TypeError(
    `Cannot operate on ${handle.name}: expected an object as operation ${i}, got ${
      described(operation)
    }`,
  );
}
