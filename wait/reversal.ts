/**
 * What a waiter thread does for an owner that is no more. A Worker of the program that is terminated
 * can tell nobody, and some runtimes leave its threads alone: what such a thread has taken since would
 * be lost.
 *
 * @module
 */

import type { ThreadSettings } from "./worker.ts";

/**
 * Looks whether the owner of this thread has ended, and gives back what was taken for it. With the
 * first thread of the program, whose number is the process's, the process ends.
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
