/**
 * The end of a program whose process goes on: Deno starts a program again in the same process, as `--watch`
 * does, so the kernel undoes nothing. Deno fires "unload" and then "exit" before.
 *
 * @module
 */

import { isMainThread } from "./interrupt.ts";

/**
 * Runs a function when the program ends and its process may not, after all listeners of the program. The ends of
 * Workers do not count.
 */
export function onUnload(end: () => void): void {
  if (!isMainThread()) return;
  // A program that is ended by process.exit() has its process end, too: there "exit" comes first.
  const listener = () => void process.on("exit", end);
  (globalThis as Partial<EventTarget>).addEventListener?.("unload", listener);
}
