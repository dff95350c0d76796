/**
 * The end of a program: kernel objects outlive it unless somebody removes them.
 *
 * @module
 */

import { getpid, kill, signal } from "../ffi/calls.ts";
import { handlerOf, SIG_DFL, SIG_IGN } from "../wait/interrupt.ts";

/** What can be removed from the kernel, as semaphores, sets, queues and shared memory can. */
export interface Removable {
  /** Removes it. */
  remove(): void;
}

const registered = new Set<readonly Removable[]>();
let listening = false;

// SIGTERM first, as Deno takes all three with the first of them, and ignores none any more.
const signals = { SIGTERM: 15, SIGINT: 2, SIGHUP: 1 } as const;
type Signal = keyof typeof signals;

/**
 * Removes objects when the program ends: at its normal end, by `process.exit()`, at an uncaught error
 * or an unhandled rejection, and on SIGINT, SIGTERM and SIGHUP.
 *
 * - **Exit status:** as without this. A signal that was removed on is raised again and ends the
 *   program; where it does not, in the first process of a container, that exits with 128 + its number.
 * - **Nothing is removed** on SIGKILL, on other signals, by `process.abort()`, or when the runtime
 *   crashes.
 * - **Signals that the program handles** with `process.on` or `process.once`, before the call or
 *   after it, are left to it: the objects go when it exits. Listeners added otherwise are not seen.
 * - **Signals ignored from the start**, as SIGHUP under `nohup`, stay so in Bun. Deno itself lets them
 *   end the program, and then the objects go.
 * - **Errors that the program handles** remove nothing. In Deno a listener of "error" has to be added
 *   before the call for that.
 * - **At exit:** the objects go before the listeners of "exit" are called. Who needs them at the
 *   normal end listens to "beforeExit".
 *
 * Objects that are disposed or removed by then are left alone, so `using` and `removeOnExit` go
 * together. Whatever is registered twice is removed unless both are called off. Call it on the main
 * thread.
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
  registered.add(removables);
  if (!listening) listen();
  return { [Symbol.dispose]: () => void registered.delete(removables) };
}

function removeAll(): void {
  for (const object of new Set([...registered].flat())) {
    try {
      object.remove();
    } catch {
      // It is gone already, or no longer ours to remove.
    }
  }
  registered.clear();
}

function listen(): void {
  listening = true;
  // First, as a listener of the program that throws or exits keeps the others from being called.
  process.prependListener("exit", removeAll);
  // Ending the program by the runtime's own exit function fires this one alone.
  globalThis.addEventListener?.("unload", removeAll);
  listenToErrors();
  listenToSignals();
}

/** Deno ends a program for an error without "exit" and "unload". */
function listenToErrors(): void {
  process.on("uncaughtExceptionMonitor", (_error, origin) => {
    const handled = process.listenerCount("uncaughtException") > 0 ||
      process.hasUncaughtExceptionCaptureCallback();
    // Other errors may still be handled by who listens to "error".
    if (origin === "unhandledRejection" && !handled) removeAll();
  });
  globalThis.addEventListener?.("error", ({ defaultPrevented, error }) => {
    // That of a Worker has no error, and becomes an unhandled rejection next.
    if (!defaultPrevented && error !== null) removeAll();
  });
}

function listenToSignals(): void {
  const listeners = new Map<string | symbol, () => void>();
  const leaving = new Set<string | symbol>();
  for (const [name, number] of Object.entries(signals) as [Signal, number][]) {
    if (handlerOf(number) === SIG_IGN) continue;
    const listener = () => {
      if (process.listenerCount(name) > 1 || leaving.has(name)) return;
      removeAll();
      signal(number, SIG_DFL);
      kill(getpid(), number);
      // Only the first process of a container gets here: no signal ends it by default.
      process.exit(128 + number);
    };
    process.prependListener(name, listener);
    listeners.set(name, listener);
  }
  // A listener that takes itself away when it is called, as those of `once` do, counts too. Bun calls
  // the prepended first, before any is away; Deno calls all in the order they came, and tells who leaves.
  process.on("newListener", (name) => {
    const listener = listeners.get(name);
    if (listener === undefined) return;
    queueMicrotask(() => {
      if (process.listeners(name as Signal)[0] === listener) return;
      process.off(name, listener);
      process.prependListener(name, listener);
    });
  });
  process.on("removeListener", (name) => {
    leaving.add(name);
    queueMicrotask(() => leaving.delete(name));
  });
}
