/**
 * Operations on a semaphore set, packed for semop.
 *
 * @module
 */

import { SEM_UNDO, SEMVMX } from "../ffi/constants.ts";
import { type Packed, packMany, packOne, put, reserve } from "../ffi/sembuf.ts";
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
  const packed = room(2);
  put(packed, 0, index, -least, flags);
  put(packed, 1, index, least, flags);
  return packed;
}

/** Whether operations are being packed: their getters may do anything meanwhile. */
let packing = false;

/** Where to pack operations: the memory that serves all, unless it is in use. */
function room(count: number): Packed {
  return packing ? reserve(count) : packMany(count);
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
  const packed = room(operations.length);
  const target = { handle, size, flags };
  const outer = packing;
  packing = true;
  try {
    for (let i = 0; i < operations.length; i++) packOperation(packed, i, operations[i], target);
  } finally {
    packing = outer;
  }
  if (handle.state !== "open") throw handle.refusal();
  return packed;
}

/** Packs one of several operations, and checks it. */
function packOperation(
  packed: Packed,
  i: number,
  operation: unknown,
  { handle, size, flags }: { handle: Handle; size: number; flags: number },
): void {
  if (typeof operation !== "object" || operation === null) {
    return refuseOperation(handle, operation, i);
  }
  const { index = 0, delta, undo } = operation as SemaphoreOperation;
  if (undo !== undefined && typeof undo !== "boolean") checkFlag(undo, "undo");
  if (!(Number.isInteger(index) && index >= 0 && index < size)) {
    checkInteger(index, 0, size - 1, `operate on semaphore ${index} of ${handle.name}`);
  }
  if (!(Number.isInteger(delta) && delta >= -SEMVMX && delta <= SEMVMX)) {
    checkInteger(delta, -SEMVMX, SEMVMX, `add ${delta} to semaphore ${index} of ${handle.name}`);
  }
  put(packed, i, index, delta, undo === true ? flags | SEM_UNDO : flags);
}

function refuseOperation(handle: Handle, operation: unknown, i: number): never {
  throw new TypeError(
    `Cannot operate on ${handle.name}: expected an object as operation ${i}, got ${
      described(operation)
    }`,
  );
}
