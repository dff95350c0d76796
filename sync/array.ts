/**
 * The semaphores that primitives are made of: {@linkcode SemaphoreArray}.
 *
 * @module
 */

import { checkFunction, checkInteger, checkObject } from "../ffi/check.ts";
import type { WaitOptions } from "../wait/options.ts";
import type { SemaphoreOperation } from "../ipc/semop.ts";

/**
 * Several semaphores that change in one atomic step. {@linkcode SemaphoreSet} is one, in the kernel of this
 * machine. Semaphores elsewhere that implement this interface work with all that returns a promise:
 *
 * - `lock` and `recover` of a {@linkcode Mutex}, `read` and `write` of an {@linkcode RwLock};
 * - `campaign` and `every` of a {@linkcode Leader}, `acquire` and `run` of a {@linkcode Bulkhead};
 * - `wait` of a {@linkcode Latch} and an {@linkcode Event}, and the waits of a {@linkcode Gauge};
 * - `remove`, disposing, and releasing what was taken.
 *
 * Everything else has to answer at once, as only the kernel does, and throws a TypeError with other semaphores:
 * counting down a latch, setting an event, entering a gauge, joining a {@linkcode Barrier}.
 *
 * Nothing waits for the promise of `remove` and of a release. If it rejects with the code EIDRM, nothing is left
 * to give back, and the rejection is dropped: so semaphores that are lost, with all that was held of them, must
 * reject with it too. Any other rejection is unhandled, and ends a program that does not listen to such: its
 * end gives back what the release could not, while others would wait for ever if it went on.
 */
export interface SemaphoreArray {
  /** The number of semaphores. */
  readonly size: number;
  /** Performs operations in one atomic step, waiting until all can happen. */
  operate(operations: readonly SemaphoreOperation[], options?: WaitOptions): Promise<void>;
  /** Performs operations in one atomic step if all can happen at once, and returns whether they did. */
  tryOperate(operations: readonly SemaphoreOperation[]): boolean | Promise<boolean>;
  /** Reads all values at one moment. */
  read(): number[] | Promise<number[]>;
  /** Removes the semaphores: pending waits reject with an error of code EIDRM. */
  remove(): void | Promise<void>;
}

const methods = ["operate", "tryOperate", "read", "remove"] as const;

/** Checks for semaphores of any engine. */
export function checkSemaphores(array: unknown): void {
  checkObject(array, "the semaphores of a primitive");
  const given = array as Partial<SemaphoreArray>;
  for (const method of methods) checkFunction(given[method], `${method}() of semaphores`);
  checkInteger(given.size as number, 1, Infinity, "use semaphores without a size");
}
