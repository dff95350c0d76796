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

/** Marks the listeners of all copies of this module, of which any may be first. */
const FIRST = Symbol.for("@sysv/ipc: first to end");

/**
 * Runs a function before the runtime waits for the threads of this one, where it does. It is the first to run,
 * also when the program prepends others, as one that throws or exits keeps the rest from being called.
 */
export function beforeThreadsJoin(end: () => void): void {
  if (!runtime().joinsThreads) return;
  const listener = Object.assign(() => end(), { [FIRST]: true });
  process.prependListener("exit", listener);
  process.on("newListener", (name) => {
    if (name === "exit") queueMicrotask(() => goFirst(listener));
  });
}

function goFirst(listener: () => void): void {
  for (const other of process.listeners("exit")) {
    if (other === listener) return;
    if (!(FIRST in other)) break;
  }
  process.off("exit", listener);
  process.prependListener("exit", listener);
}
