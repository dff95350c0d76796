/**
 * Assertions on how calls and waits end.
 *
 * @module
 */

import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { IpcError } from "@sysv/ipc";

/** Asserts that a system call fails, and how; returns the error to look closer. */
export function assertIpcError(run: () => unknown, code: string, syscall: string): IpcError {
  const error: IpcError = assertThrows(run, IpcError);
  assertEquals({ code: error.code, syscall: error.syscall }, { code, syscall });
  return error;
}

/** Asserts that a call times out. */
export function assertTimeout(run: () => unknown): void {
  const error: DOMException = assertThrows(run, DOMException);
  assertEquals(error.name, "TimeoutError");
}

/** Asserts that a promise rejects with an error of that code. */
export async function assertRejectsWith(code: string, wait: Promise<unknown>): Promise<IpcError> {
  const error: IpcError = await assertRejects(() => wait, Error);
  assertEquals(error.code, code, String(error));
  return error;
}

/** Asserts that a wait times out. */
export async function assertTimesOut(
  wait: Promise<unknown> | (() => unknown),
): Promise<void> {
  const settled = async () => await (typeof wait === "function" ? wait() : wait);
  const error: DOMException = await assertRejects(settled, DOMException);
  assertEquals(error.name, "TimeoutError");
}

/** Passes values that TypeScript refuses and JavaScript does not. */
export function wrong(...values: unknown[]): never[] {
  return values as never[];
}
