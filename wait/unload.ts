/**
 * The end of a program whose process goes on: Deno starts a program again in the same process, as `--watch`
 * does, so the kernel undoes nothing. Deno fires "unload" before.
 *
 * @module
 */

import { isMainThread } from "./interrupt.ts";

/** Runs a function when the program ends, where a runtime says so. The ends of Workers do not count. */
export function onUnload(end: () => void): void {
  if (!isMainThread()) return;
  (globalThis as Partial<EventTarget>).addEventListener?.("unload", end);
}
