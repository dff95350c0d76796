/**
 * What the primitives ask of semaphores.
 *
 * @module
 */

import type { WaitOptions } from "../wait/options.ts";
import type { SemaphoreOperation } from "../ipc/semop.ts";

/**
 * Several semaphores that change in one atomic step. {@linkcode SemaphoreSet} is one, in the kernel
 * of this machine; anything else that keeps the same promises will do for what gives a promise:
 *
 * - `lock` and `recover` of a {@linkcode Mutex}, `read` and `write` of an {@linkcode RwLock};
 * - `campaign` and `every` of a {@linkcode Leader}, `acquire` and `run` of a {@linkcode Bulkhead};
 * - `wait` of a {@linkcode Latch} and an {@linkcode Event}, and the waits of a {@linkcode Gauge};
 * - `remove`, disposing, and the release of all that was taken.
 *
 * Everything else has to answer at once, as only the kernel does: with other semaphores it throws a
 * TypeError. So nothing else can count down a latch, set an event, enter a gauge, or join a
 * {@linkcode Barrier}.
 *
 * What `remove` and a release ask for cannot be waited for. Where it fails with the code EIDRM, there
 * is nothing to give back any more, and nobody is told: whoever has lost the semaphores, and with
 * them all that was held, has to say so too. Any other failure is an unhandled rejection, which ends
 * a program that does not listen to these: what it could not give back comes back with its end, while
 * others would wait for ever if it lived on.
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
  remove(): void | Promise<void>;
}
