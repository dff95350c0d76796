/**
 * Errors of calls on descriptors.
 *
 * @module
 */

import { IpcError, reasonOf } from "../ffi/error.ts";

/** Gives the result of a call back, and throws if it is the negative number of an error. */
export function done(result: number, syscall: string, doing: string): number {
  if (result >= 0) return result;
  throw new IpcError(`Cannot ${doing} as ${reasonOf(-result)}`, -result, { syscall });
}

/** Checks a file descriptor. */
export function checkFd(fd: number): void {
  if (Number.isInteger(fd) && fd >= -0x80000000 && fd <= 0x7fffffff) return;
  throw new TypeError(`Cannot use ${fd} as a file descriptor: expected a whole number`);
}
