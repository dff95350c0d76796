/**
 * Objects of tests: names that nobody uses, and removal at the end of a block.
 *
 * @module
 */

import { assert } from "@std/assert";
import { readFileSync } from "node:fs";
import process from "node:process";
import { IpcError, type Removable } from "@sysv/ipc";

let names = 0;

/** How many segments and sets of semaphores there are, and how many segments this process has attached. */
export function objectsLeft(): { segments: number; sets: number; attached: number } {
  const lines = (file: string) => readFileSync(file, "utf8").split("\n");
  return {
    segments: lines("/proc/sysvipc/shm").length,
    sets: lines("/proc/sysvipc/sem").length,
    attached: lines("/proc/self/maps").filter((line) => line.includes("/SYSV")).length,
  };
}

/** Returns a name that no other test and no other process uses. */
export function freshName(): string {
  return `test ${process.pid} ${Date.now()} ${names++}`;
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
