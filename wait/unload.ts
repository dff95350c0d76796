/**
 * The end of a program, or of a Worker.
 *
 * @module
 */

import { runtime } from "../ffi/memory.ts";
import { isMainThread } from "./interrupt.ts";

/**
 * Runs a function when the program ends and its process may not, after all listeners of the program. The ends of
 * Workers do not count.
 *
 * Deno starts a program again in the same process, as `--watch` does, so the kernel undoes nothing. Deno fires
 * "unload" and then "exit" before.
 */
export function onUnload(end: () => void): void {
  if (!isMainThread()) return;
  // A program that is ended by process.exit() has its process end, too: there "exit" comes first.
  const listener = () => void process.on("exit", end);
  (globalThis as Partial<EventTarget>).addEventListener?.("unload", listener);
}

/**
 * Runs a function before the runtime waits for the threads of this one, where it does. It is the first to run, as
 * a listener of the program that throws or exits keeps the others from being called.
 */
export function beforeThreadsJoin(end: () => void): void {
  if (runtime().joinsThreads) process.prependListener("exit", end);
}
