/**
 * What the primitives ask of semaphores.
 *
 * @module
 */

import type { WaitOptions } from "../check.ts";
import type { SemaphoreOperation } from "../operations.ts";

/**
 * Several semaphores that change in one atomic step. {@linkcode SemaphoreSet} is one, in the kernel
 * of this machine; anything else that keeps the same promises will do for the forms without `Sync`
 * and `try`.
 */
export interface SemaphoreArray {
  /** The number of semaphores. */
  readonly size: number;
  /** Performs operations in one atomic step, waiting until all can happen. */
  operate(operations: readonly SemaphoreOperation[], options?: WaitOptions): Promise<void>;
  /** Performs operations in one atomic step if all can happen at once, and tells whether they did. */
  tryOperate(operations: readonly SemaphoreOperation[]): boolean | Promise<boolean>;
  /** Reads all values at one moment. */
  read(): number[] | Promise<number[]>;
  /** Removes the semaphores: whoever waits gets an error with the code EIDRM. */
  remove(): void;
}
