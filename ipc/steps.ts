/**
 * Several operations on a set in one atomic step, for the set itself and for what is made of sets:
 * each says what it does, for messages.
 *
 * @module
 */

import { errors, IPC_NOWAIT, SEM_UNDO } from "../ffi/constants.ts";
import { attempt } from "../ffi/attempt.ts";
import { pack, type Packed } from "../ffi/sembuf.ts";
import {
  readWaitOptions,
  timeoutError,
  type TimeoutOptions,
  type WaitOptions,
} from "../wait/options.ts";
import type { Wait } from "../wait/waiter.ts";
import type { Handle } from "./handle.ts";
import { packSeveral, type SemaphoreOperation } from "./semop.ts";
import { block, keyOf, perform, SemopWait } from "./semop_waits.ts";
import type { FoundSet } from "./set_handle.ts";
import { readAll } from "./set_tag.ts";

/** Says what is done to an object of this name, as in "lock mutex 7". */
export type Action = (name: string) => string;

/** A step that was packed once, to be tried again and again. */
export type PackedStep = Packed;

function nothing(): void {}

/** Performs a step, waiting until it is possible; returns no promise if it is at once. */
export function operate(
  { handle, shape }: FoundSet,
  operations: readonly SemaphoreOperation[],
  options: WaitOptions | undefined,
  action: Action,
): void | Promise<void> {
  const limits = readWaitOptions(options);
  const packed = packSeveral(handle, operations, shape.size, IPC_NOWAIT);
  return perform(handle, packed, limits, {
    take: nothing,
    action: () => action(handle.name),
  });
}

/** Makes a wait for a step, to begin again and again; `take` is called as soon as the step has happened. */
export function waitOf(
  { handle }: FoundSet,
  operations: readonly SemaphoreOperation[],
  signal: AbortSignal,
  action: Action,
  take: () => void,
): Wait<void> {
  const packed = packStep(operations);
  const outcome = { take, action: () => action(handle.name) };
  const key = keyOf(handle, packed);
  return new SemopWait(key, undefined, handle, packed, Infinity, signal, outcome);
}

/** Performs a step, blocking the thread until it is possible. */
export function operateSync(
  { handle, shape }: FoundSet,
  operations: readonly SemaphoreOperation[],
  options: TimeoutOptions | undefined,
  action: Action,
): void {
  const { timeout } = readWaitOptions(options);
  const packed = packSeveral(handle, operations, shape.size, 0);
  const result = block(handle.id, packed, timeout);
  if (result >= 0) return;
  if (result === -errors.EAGAIN) throw timeoutError(action(handle.name), timeout);
  throw handle.error(-result, "semop", action(handle.name));
}

/** Performs a step if it is possible now, and returns whether it was. */
export function tryOperate(
  { handle, shape }: FoundSet,
  operations: readonly SemaphoreOperation[],
  action: Action,
): boolean {
  const packed = packSeveral(handle, operations, shape.size, IPC_NOWAIT);
  return succeeded(handle, attempt(handle.id, packed), action);
}

/** Packs a step that will be tried often. */
export function packStep(operations: readonly SemaphoreOperation[]): PackedStep {
  return pack(operations.flatMap(({ index = 0, delta, undo }) => [
    index,
    delta,
    undo === true ? IPC_NOWAIT | SEM_UNDO : IPC_NOWAIT,
  ]));
}

/** Performs a packed step if it is possible now, and returns whether it was. */
export function tryPacked({ handle }: FoundSet, step: PackedStep, action: Action): boolean {
  if (handle.state !== "open") throw handle.refusal();
  return succeeded(handle, attempt(handle.id, step), action);
}

/**
 * Performs a packed step that gives or takes back, if it is possible now, and returns whether it was:
 * even through a handle that is disposed.
 */
export function tryLate({ handle }: FoundSet, step: PackedStep, action: Action): boolean {
  return succeeded(handle, attempt(handle.id, step), action);
}

/** Reads all values that are the user's, at one moment. */
export function readValues({ handle, shape: { size, tag } }: FoundSet): number[] {
  handle.check();
  return [...readAll(handle, tag === undefined ? size : size + 1).subarray(0, size)];
}

function succeeded(handle: Handle, result: number, action: Action): boolean {
  if (result >= 0) return true;
  if (result === -errors.EAGAIN) return false;
  throw handle.error(-result, "semop", action(handle.name));
}
