/**
 * The end of a program: kernel objects outlive it unless somebody removes them.
 *
 * @module
 */

import { getpid, kill, signal } from "./ffi/calls.ts";

/** What can be removed from the kernel, as semaphores, sets, queues and shared memory can. */
export interface Removable {
  /** Removes it. */
  remove(): void;
}

const objects = new Set<Removable>();
let listening = false;

const SIG_DFL = 0;
const signals = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const;

/**
 * Removes objects when the program ends: at its normal end, at an uncaught error, and on SIGINT,
 * SIGTERM and SIGHUP, which then end the program as they do without this. Nothing is removed on
 * SIGKILL.
 *
 * Objects that are disposed or removed by then are left alone, so `using` and `removeOnExit` go
 * together. A program that listens to one of the signals with `process.on` decides itself what
 * becomes of it: the objects go when it exits. Call it on the main thread.
 *
 * While a `...Sync` call blocks the thread no listener can run: the call ends with EINTR, and the
 * program with that error, unless it catches it and returns to its event loop.
 *
 * @example
 * ```ts
 * import { MessageQueue, removeOnExit } from "@sysv/ipc";
 *
 * const queue = MessageQueue.create();
 * removeOnExit(queue);
 * ```
 *
 * @param removables The objects.
 * @returns What calls it off when disposed.
 */
export function removeOnExit(...removables: Removable[]): Disposable {
  for (const removable of removables) objects.add(removable);
  if (!listening) listen();
  return {
    [Symbol.dispose]: () => {
      for (const removable of removables) objects.delete(removable);
    },
  };
}

function removeAll(): void {
  for (const object of objects) {
    try {
      object.remove();
    } catch {
      // It is gone already, or no longer ours to remove.
    }
  }
  objects.clear();
}

function listen(): void {
  listening = true;
  process.on("exit", removeAll);
  // Ending the program by the runtime's own exit function fires this one alone.
  globalThis.addEventListener?.("unload", removeAll);
  process.on("uncaughtExceptionMonitor", () => {
    if (process.listenerCount("uncaughtException") === 0) removeAll();
  });
  for (const [name, number] of Object.entries(signals) as [keyof typeof signals, number][]) {
    process.on(name, () => {
      if (process.listenerCount(name) > 1) return;
      removeAll();
      signal(number, SIG_DFL);
      kill(getpid(), number);
    });
  }
}
