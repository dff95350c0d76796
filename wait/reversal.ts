/**
 * What a waiter thread does when its owner has ended. A Worker that is terminated cannot end its threads, and
 * some runtimes leave them running: what such a thread took since would be lost.
 *
 * @module
 */

import type { ThreadSettings } from "./worker.ts";

/**
 * Looks whether the owner of this thread has ended, and gives back what was taken for it. If the owner is the
 * first thread of the program, the process ends with it.
 *
 * It is a part of the text of a thread, so it names nothing outside itself.
 *
 * @returns Whether the owner is gone.
 */
export function giveBackIfLost(
  owner: number,
  pid: number,
  calls: Record<string, (...given: number[]) => number>,
  errno: Int32Array,
  integers: Int32Array,
  floats: Float64Array,
  { mailbox, orders, callNames, tgkill, esrch, eintr }: ThreadSettings,
): boolean {
  // Another process's thread does not count, and no signal is sent.
  const asks = calls.syscall !== undefined;
  if (!asks || calls.syscall!(tgkill, pid, owner, 0) !== -1 || errno[0] !== esrch) return false;
  const at = mailbox.integers;
  // The owner's last act may have been to take it.
  const reversal = Atomics.load(integers, at.reversal);
  if (reversal === orders.none) return true;
  const first = mailbox.floats.reversal;
  const given = [...floats.subarray(first, first + integers[at.reversalCount]!)];
  const passed = given.map((value) => Number.isNaN(value) ? integers[at.result]! : value);
  while (calls[callNames[reversal]!]!(...passed) === -1 && errno[0] === eintr);
  return true;
}
