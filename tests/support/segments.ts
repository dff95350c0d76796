/**
 * Segments of shared memory of tests.
 *
 * @module
 */

import { IPC_STAT, shmctl } from "@sysv/ipc/libc";

export const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

/** Whether a segment is still there. */
export function exists(id: number): boolean {
  try {
    shmctl(id, IPC_STAT);
    return true;
  } catch {
    return false;
  }
}
