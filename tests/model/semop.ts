/**
 * The semaphores of the kernel, as a pure function of what was: for {@linkcode explore}.
 *
 * @module
 */

import type { Step } from "../../sync/protocols.ts";

/** The largest value, and the largest undo. */
const most = 32767;

/** What a step makes of the values, and of the undo of its process. */
export interface Change {
  readonly values: readonly number[];
  readonly undo: readonly number[];
}

/** Performs a step as semop with IPC_NOWAIT does: its operations in order, all or none. */
export function perform(
  values: readonly number[],
  undo: readonly number[],
  step: Step,
): Change | "EAGAIN" | "ERANGE" {
  const newValues = [...values];
  const newUndo = [...undo];
  for (const { index = 0, delta, undo: reversed } of step) {
    const value = newValues[index]!;
    if (delta === 0 ? value !== 0 : value + delta < 0) return "EAGAIN";
    if (value + delta > most) return "ERANGE";
    newValues[index] = value + delta;
    if (!reversed) continue;
    const reversal = newUndo[index]! - delta;
    if (reversal < -most - 1 || reversal > most) return "ERANGE";
    newUndo[index] = reversal;
  }
  return { values: newValues, undo: newUndo };
}

/** The values after the death of a process with this undo. */
export function die(values: readonly number[], undo: readonly number[]): number[] {
  return values.map((value, index) => Math.min(Math.max(value + undo[index]!, 0), most));
}

/**
 * The step that reverses one which happened though its wait was cancelled; undefined if it counts as
 * happened, as it added something.
 */
export function reverse(step: Step): Step | undefined {
  if (step.some(({ delta }) => delta > 0)) return undefined;
  return step.filter(({ delta }) => delta < 0).map((one) => ({ ...one, delta: -one.delta }));
}
