/**
 * Semaphores of tests.
 *
 * @module
 */

import type { Semaphore } from "@sysv/ipc";

/** Removes a semaphore, and gives the handle that is left. */
export function removed(semaphore: Semaphore): Semaphore {
  semaphore.remove();
  return semaphore;
}
