/**
 * Performing packed operations.
 *
 * @module
 */

import { semop } from "./calls.ts";
import { type Packed, packOne, point, single } from "./sembuf.ts";

/** Performs packed operations once; returns the negative number of what went wrong. */
export function attempt(id: number, packed: Packed): number {
  const { pointer, count } = packed;
  return semop(id, pointer ?? point(packed), count);
}

/** Performs one operation once; returns the negative number of what went wrong. */
export function attemptSingle(id: number, index: number, delta: number, flags: number): number {
  return attempt(id, packOne(index, delta, flags));
}

/** Performs the operation that was packed last as a single one, once more. */
export function attemptAgain(id: number): number {
  return attempt(id, single);
}
