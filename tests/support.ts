/**
 * What many tests need: names nobody uses, assertions on errors, removal at the end of a block.
 *
 * @module
 */

import { assert, assertEquals, assertThrows } from "@std/assert";
import process from "node:process";
import { IpcError, type Removable } from "@sysv/ipc";

let names = 0;

/** Gives a name that no other test and no other process uses. */
export function freshName(): string {
  return `test ${process.pid} ${Date.now()} ${names++}`;
}

/** Asserts that a system call fails, and how; gives the error to look closer. */
export function assertIpcError(run: () => unknown, code: string, syscall: string): IpcError {
  const error: IpcError = assertThrows(run, IpcError);
  assertEquals({ code: error.code, syscall: error.syscall }, { code, syscall });
  return error;
}

/** Asserts that a wait is given up. */
export function assertTimeout(run: () => unknown): void {
  const error: DOMException = assertThrows(run, DOMException);
  assertEquals(error.name, "TimeoutError");
}

/** Removes an object that nobody owns at the end of the block, if it is still there. */
export function removing(object: Removable): Disposable {
  return {
    [Symbol.dispose]() {
      try {
        object.remove();
      } catch (error) {
        assert(error instanceof IpcError && error.code === "EIDRM", String(error));
      }
    },
  };
}
