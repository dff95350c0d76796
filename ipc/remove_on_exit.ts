/**
 * Removing objects at the end of the program: {@linkcode removeOnExit}.
 *
 * @module
 */

import { getpid, kill, signal } from "../ffi/calls.ts";
import { described } from "../ffi/check.ts";
import { handlerOf, SIG_DFL, SIG_IGN } from "../wait/interrupt.ts";

/** What can be removed from the kernel: semaphores, sets, queues, shared memory, primitives. */
export interface Removable {
  /** Removes it. */
  remove(): void;
}

/** What all copies of this module in a program share: the first of them listens for all. */
interface Shared {
  readonly registered: Set<readonly Removable[]>;
  listening: boolean;
}

/** Not every runtime has listeners of the whole program, nor do all types. */
const globalTarget: Partial<EventTarget> = globalThis as Partial<EventTarget>;

// A second copy comes with another version among the dependencies, and with each reload of bun --hot.
const SHARED = Symbol.for("@sysv/ipc: removeOnExit");

// SIGTERM first: with the first listener Deno takes over all three, and ignores none of them any more.
const signals = { SIGTERM: 15, SIGINT: 2, SIGHUP: 1 } as const;
type Signal = keyof typeof signals;

/** Made at the first use, as importing leaves no trace. */
function shared(): Shared {
  const holder = globalThis as { [SHARED]?: Shared };
  return holder[SHARED] ??= { registered: new Set(), listening: false };
}

/**
 * Removes objects when the program ends: at its normal end, by `process.exit()`, at an uncaught error
 * or an unhandled rejection, and on SIGINT, SIGTERM and SIGHUP.
 *
 * - **Exit status:** as without this. The signal is raised again and ends the program; where it cannot, in the
 *   first process of a container, the program exits with 128 + its number.
 * - **Nothing is removed** on SIGKILL, on other signals, by `process.abort()`, or when the runtime
 *   crashes.
 * - **Signals that the program handles** with `process.on` or `process.once`, before the call or
 *   after it, are left to it: the objects are removed when it exits. Listeners added otherwise are not seen.
 *   A listener that counts the others first, as signal-exit (execa) uses, handles nothing itself: it
 *   gets its turn, and then the signal ends the program.
 * - **Signals ignored from the start**, as SIGHUP under `nohup`, stay so in Bun. In Deno and Node they end
 *   the program, and the objects are removed.
 * - **Errors that the program handles** remove nothing. In Deno a listener of "error" has to be added
 *   before the call for that.
 * - **At exit:** the objects are removed before the listeners of "exit" are called. What needs them at the normal
 *   end belongs into a listener of "beforeExit".
 * - **Tests:** `bun test` fires no exit event, so it removes nothing.
 *
 * Objects that are disposed or removed by then are left alone, so `using` and `removeOnExit` go
 * together. An object that is registered twice is removed unless both are called off. Call it on the main
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
 * @returns A handle; disposing it calls this off.
 */
export function removeOnExit(...removables: Removable[]): Disposable {
  for (const removable of removables) checkRemovable(removable);
  const common = shared();
  common.registered.add(removables);
  if (!common.listening) listen(common);
  return { [Symbol.dispose]: () => void common.registered.delete(removables) };
}

function checkRemovable(removable: unknown): void {
  if (
    typeof removable === "object" && removable !== null && "remove" in removable &&
    typeof removable.remove === "function"
  ) return;
  throw new TypeError(
    `Cannot use ${described(removable)} as what to remove: expected an object with remove()`,
  );
}

function removeAll(): void {
  const { registered } = shared();
  for (const object of new Set([...registered].flat())) {
    try {
      object.remove();
    } catch {
      // It is removed already, or this user may not remove it any more.
    }
  }
  registered.clear();
}

function listen(common: Shared): void {
  common.listening = true;
  // First: a listener of the program that throws or exits keeps the others from being called.
  process.prependListener("exit", removeAll);
  // Ending the program by the runtime's own exit function fires this one alone.
  globalTarget.addEventListener?.("unload", removeAll);
  listenToErrors();
  listenToSignals();
}

/** Deno ends a program for an error without "exit" and "unload". */
function listenToErrors(): void {
  process.on("uncaughtExceptionMonitor", (_error, origin) => {
    const handled = process.listenerCount("uncaughtException") > 0 ||
      process.hasUncaughtExceptionCaptureCallback();
    // Other errors may still be handled by a listener of "error".
    if (origin === "unhandledRejection" && !handled) removeAll();
  });
  globalTarget.addEventListener?.("error", (event) => {
    const { defaultPrevented, error } = event as Event & { readonly error: unknown };
    // The event of a Worker has no error, and an unhandled rejection follows.
    if (!defaultPrevented && error !== null) removeAll();
  });
}

function listenToSignals(): void {
  const listeners = new Map<string | symbol, () => void>();
  const leaving = new Set<string | symbol>();
  for (const [name, number] of Object.entries(signals) as [Signal, number][]) {
    if (handlerOf(number) === SIG_IGN) continue;
    const listener = () => {
      if (leaving.has(name) || isHandled(name, listener)) return;
      removeAll();
      process.off(name, listener);
      end(name, number);
    };
    process.prependListener(name, listener);
    listeners.set(name, listener);
  }
  // A listener of `once`, which removes itself when it is called, counts too. Bun calls prepended listeners first,
  // before any is removed; Deno calls all in the order in which they came, and reports removals.
  process.on("newListener", (name, added) => {
    const listener = listeners.get(name);
    // Another polite one, such as the listener of another version of this module, may want to be first, too.
    if (listener === undefined || countsListeners(added)) return;
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

/**
 * Whether the program handles a signal: by a listener that is not polite. A polite one, as in
 * signal-exit, leaves the signal to any other, so two of them would leave it to each other for ever. It can
 * be recognised: it counts the listeners.
 */
function isHandled(name: Signal, own: () => void): boolean {
  const others = process.listeners(name).filter((listener) => listener !== own);
  return others.length > signalExits() && !others.every(countsListeners);
}

function countsListeners(listener: unknown): boolean {
  return /\.(listeners|listenerCount)\b/.test(String(listener));
}

/** How many copies of signal-exit listen: versions 3 and 4 count theirs where others can see it. */
function signalExits(): number {
  const places = [
    Reflect.get(process, "__signal_exit_emitter__"),
    Reflect.get(globalThis, Symbol.for("signal-exit emitter")),
  ];
  return places.reduce(
    (sum, place) => sum + (typeof place?.count === "number" ? place.count : 0),
    0,
  );
}

/** Ends the program by a signal on which its objects were removed. */
function end(name: Signal, number: number): void {
  signal(number, SIG_DFL);
  if (process.listenerCount(name) === 0) raise(number);
  // The polite ones see no other now, but those that were called before did.
  queueMicrotask(() => {
    signal(number, SIG_DFL);
    // Deno's types know fewer events to emit.
    const emitter: { emit(name: string, ...given: unknown[]): boolean } = process;
    emitter.emit(name, name, number);
    raise(number);
  });
}

function raise(number: number): never {
  signal(number, SIG_DFL);
  kill(getpid(), number);
  // Only the first process of a container gets here: no signal ends it by default.
  process.exit(128 + number);
}
