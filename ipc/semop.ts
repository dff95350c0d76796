/**
 * Operations on a semaphore set: packed for semop, then performed at once, blocking, or in line.
 *
 * @module
 */

import { errors, SEM_UNDO, SEMVMX } from "../ffi/constants.ts";
import { attempt } from "../ffi/attempt.ts";
import { type Packed, packMany, packOne, put, textOf } from "../ffi/sembuf.ts";
import { anyWaiting, type Ending, isWaiting, wait, type WaitRequest } from "../wait/line.ts";
import { checkFlag, checkInteger, described } from "../ffi/check.ts";
import { timeoutError, type WaitLimits } from "../wait/options.ts";
import { turn } from "../wait/turn.ts";
import type { Handle } from "./handle.ts";
import { operationOf, type SemopOperation } from "./semop_waits.ts";

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

/**
 * Performs packed operations: at once if they can happen and no equal ones wait here, else in line.
 * They are packed with IPC_NOWAIT.
 */
export function perform<Result>(
  handle: Handle,
  packed: Packed,
  { timeout, signal }: WaitLimits,
  doing: () => string,
  take: () => Result,
): Result | Promise<Result> {
  signal?.throwIfAborted();
  if (timeout === 0 || !anyWaiting() || !isWaiting(lineOf(handle, packed))) {
    const result = attempt(handle.id, packed);
    if (result !== -errors.EAGAIN || timeout === 0) {
      const due = turn();
      if (due === undefined) return conclude(handle, result, doing, take);
      return due.then(() => conclude(handle, result, doing, take));
    }
  }
  return wait(new SemopRequest(handle, packed, timeout, signal, doing, take));
}

/** Makes a value or an error of what a try without waiting gave. */
function conclude<Result>(
  handle: Handle,
  result: number,
  doing: () => string,
  take: () => Result,
): Result {
  if (result >= 0) return take();
  if (result === -errors.EAGAIN) throw timeoutError(doing(), 0);
  throw handle.error(-result, "semop", doing());
}

/** The line of a set's equal operations. */
function lineOf(handle: Handle, packed: Packed): string {
  return `semop ${handle.id}: ${textOf(packed)}`;
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
    return operationOf(this.key, this.handle.id, this.packed);
  }

  error(errno: number): Error {
    return this.handle.error(errno, "semop", this.doing());
  }

  timeoutError(): Error {
    return timeoutError(this.doing(), this.timeout);
  }
}
