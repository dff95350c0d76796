/**
 * Errors of calls on descriptors.
 *
 * @module
 */

import { checkInteger } from "../ffi/check.ts";
import { ipcError } from "../ffi/error.ts";

/** Returns the result of a call, and throws if it is the negative number of an error. */
export function done(result: number, syscall: string, doing: string): number {
  if (result >= 0) return result;
  throw ipcError(-result, doing, { syscall });
}

/** Checks a file descriptor. */
export function checkFd(fd: number): void {
  checkInteger(fd, -0x80000000, 0x7fffffff, `use ${String(fd)} as a file descriptor`);
}
