/**
 * What a waiter thread does when its owner ends. A Worker that is terminated cannot end its threads, and
 * some runtimes leave them running: what such a thread took since would be lost. So would be what threads
 * take while Deno ends a program but not its process.
 *
 * The functions are parts of the text of a thread, so they name nothing outside themselves.
 *
 * @module
 */

import type { ThreadSettings } from "./worker.ts";

/** What both are given of their thread. */
export interface Insides {
  readonly calls: Record<string, (...given: number[]) => number>;
  readonly errno: Int32Array;
  readonly integers: Int32Array;
  readonly floats: Float64Array;
  readonly settings: ThreadSettings;
}

/** Whether the owner of a thread has ended. If that is the first thread of the program, the process ends with it. */
export function isGone(owner: number, pid: number, { calls, errno, settings }: Insides): boolean {
  // Another process's thread does not count, and no signal is sent.
  const asks = calls.syscall !== undefined;
  return asks && calls.syscall!(settings.tgkill, pid, owner, 0) === -1 &&
    errno[0] === settings.esrch;
}

/** Gives back what the last call took, unless its owner has it. */
export function giveBack({ calls, errno, integers, floats, settings }: Insides): void {
  const { mailbox, orders, cancels, callNames, eintr } = settings;
  const at = mailbox.integers;
  // The owner's last act may have been to take it.
  const reversal = Atomics.load(integers, at.reversal);
  if (reversal === orders.none) return;
  const first = mailbox.floats.reversal;
  const given = [...floats.subarray(first, first + integers[at.reversalCount]!)];
  const passed = given.map((value) => Number.isNaN(value) ? integers[at.result]! : value);
  while (calls[callNames[reversal]!]!(...passed) === -1 && errno[0] === eintr) {
    if (Atomics.load(integers, at.cancel) === cancels.reversal) return;
  }
}
