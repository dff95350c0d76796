/**
 * Signals between processes: {@linkcode signals}, {@linkcode sigwait}, {@linkcode kill},
 * {@linkcode alarm}.
 *
 * @module
 */

import { checkArray, checkInteger, described, numberError } from "../ffi/check.ts";
import { timeoutError, type WaitOptions } from "../wait/options.ts";
import { follow, unfollow } from "../wait/cancel.ts";
import { Iteration } from "../wait/iteration.ts";
import { at } from "../wait/timer.ts";
import { kill as killCall } from "../ffi/calls.ts";
import { runtime } from "../ffi/memory.ts";
import { handlerOf, isMainThread, SIG_IGN } from "../wait/interrupt.ts";
import { turn } from "../wait/turn.ts";
import { setitimer } from "../ffi/unix_calls.ts";
import { done } from "./errors.ts";
import { limitsOf } from "./limits.ts";

/** The name of a signal, such as `"SIGUSR1"`. */
export type SignalName = `SIG${string}`;

/** Signals that no program can listen to, and why. */
const refused: Readonly<Record<string, string>> = {
  SIGKILL: "no program can catch it",
  SIGSTOP: "no program can catch it",
  SIGSEGV: "the runtime detects crashes by it",
  SIGBUS: "the runtime detects crashes by it",
  SIGFPE: "the runtime detects crashes by it",
  SIGILL: "the runtime detects crashes by it",
  SIGURG: "this module ends its waits by it",
  SIGPWR: "Bun keeps it for itself",
  SIGSTKFLT: "no runtime reports it",
  SIGPOLL: "it is SIGIO by another name",
};

function numberOf(signal: string): number {
  if (typeof signal !== "string") {
    throw new TypeError(`Cannot use ${described(signal)} as a signal: expected its name`);
  }
  const numbers: Readonly<Record<string, number>> =
    process.getBuiltinModule("node:os").constants.signals;
  if (Object.hasOwn(numbers, signal)) return numbers[signal]!;
  throw new RangeError(`Cannot use "${signal}": this system has no such signal`);
}

function checkCatchable(signal: string): void {
  numberOf(signal);
  if (!Object.hasOwn(refused, signal)) return;
  throw new RangeError(`Cannot wait for "${signal}": ${refused[signal]}`);
}

/** Keeps a signal ignored that was ignored before, and would end the program afterwards. */
function ignore(): void {}

/** Called when a signal arrives. */
type Hearer = () => void;

/** The functions to call for each signal, behind one listener: runtimes warn of many. */
const listening = new Map<SignalName, { hearers: Set<Hearer>; listener: () => void }>();

function listen(name: SignalName, hearer: Hearer): void {
  const known = listening.get(name);
  if (known !== undefined) {
    known.hearers.add(hearer);
    return;
  }
  const signal = name as NodeJS.Signals;
  if (!runtime().tellsWorkersOfSignals && !isMainThread()) {
    throw new Error(
      `Cannot wait for "${name}" in this Worker as the runtime delivers none to Workers: listen on the main thread`,
    );
  }
  const before = handlerOf(numberOf(name));
  const hearers = new Set([hearer]);
  const listener = () => [...hearers].forEach((hear) => hear());
  process.on(signal, listener);
  if (before === SIG_IGN) process.on(signal, ignore);
  listening.set(name, { hearers, listener });
}

function endListening(name: SignalName, hearer: Hearer): void {
  const { hearers, listener } = listening.get(name)!;
  hearers.delete(hearer);
  if (hearers.size > 0) return;
  process.off(name, listener);
  listening.delete(name);
}

/**
 * Listens to signals from its creation until it is disposed, and keeps those that arrive until they are
 * asked for.
 *
 * @example
 * ```ts
 * import { kill, SignalWatcher } from "@sysv/ipc/unix";
 * import { assertEquals } from "@std/assert";
 * import process from "node:process";
 *
 * using watcher = new SignalWatcher(["SIGUSR2"]); // the same as signals("SIGUSR2")
 * assertEquals(watcher.tryNext(), undefined);
 * kill(process.pid, "SIGUSR2");
 * for await (const name of watcher) {
 *   assertEquals(name, "SIGUSR2");
 *   break;
 * }
 * ```
 */
export class SignalWatcher implements AsyncIterable<SignalName>, Disposable {
  readonly #hearers = new Map<SignalName, Hearer>();
  readonly #came: SignalName[] = [];
  readonly #waiting: ((signal: SignalName) => void)[] = [];
  readonly #closing = new AbortController();

  /** Begins to listen: see {@linkcode signals}. */
  constructor(names: readonly SignalName[]) {
    checkArray(names, "the names of signals");
    if (names.length === 0) throw new TypeError("Cannot wait for no signal: expected at least one");
    Array.from(names).forEach(checkCatchable);
    try {
      for (const name of new Set(names)) this.#listen(name);
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  #listen(name: SignalName): void {
    const hearer = () => {
      const waiting = this.#waiting.shift();
      if (waiting === undefined) this.#came.push(name);
      else waiting(name);
    };
    listen(name, hearer);
    this.#hearers.set(name, hearer);
  }

  /**
   * Returns the oldest signal that was kept, or waits for the next one.
   *
   * @param options The signal and the timeout.
   * @returns A promise of its name. It rejects with the reason of the signal, with a DOMException
   * "TimeoutError" if the timeout expires, with a ReferenceError if the watcher is disposed. No signal is lost.
   */
  async next(options?: WaitOptions): Promise<SignalName> {
    const { timeout, deadline, signal } = limitsOf(options);
    signal?.throwIfAborted();
    this.#closing.signal.throwIfAborted();
    const came = this.#came.shift();
    if (came !== undefined) {
      await turn();
      return came;
    }
    return await new Promise((resolve, reject) => {
      const ends = [signal, this.#closing.signal].filter((end) => end !== undefined);
      const finish = () => {
        timer.clear();
        for (const end of ends) unfollow(end, waiting);
      };
      const give = (signal: SignalName) => {
        finish();
        resolve(signal);
      };
      const fail = (reason: unknown) => {
        finish();
        this.#waiting.splice(this.#waiting.indexOf(give), 1);
        reject(reason);
      };
      const waiting = { cancel: fail };
      // It also keeps the process alive, which a listener does not.
      const timer = at(deadline, () => {
        fail(timeoutError(`see ${[...this.#hearers.keys()].join(" or ")}`, timeout));
      });
      this.#waiting.push(give);
      for (const end of ends) follow(end, waiting);
    });
  }

  /**
   * Returns the oldest signal that was kept.
   *
   * @returns Its name, or undefined if there is none.
   */
  tryNext(): SignalName | undefined {
    this.#closing.signal.throwIfAborted();
    return this.#came.shift();
  }

  /** Iterates over the signals as they arrive, until the watcher is disposed. */
  [Symbol.asyncIterator](): AsyncIterableIterator<SignalName> {
    return new Iteration({
      next: (options) => this.next(options),
      isEnd: () => this.#closing.signal.aborted,
    });
  }

  /** Stops listening: the signals do what they did before. Does nothing the second time. */
  [Symbol.dispose](): void {
    for (const [name, hearer] of this.#hearers) endListening(name, hearer);
    this.#hearers.clear();
    if (this.#closing.signal.aborted) return;
    this.#closing.abort(new ReferenceError("Cannot wait for signals: the watcher is disposed"));
  }
}

/**
 * Listens to signals until it is disposed. A signal that arrives between two waits is kept.
 *
 * As POSIX has it, equal signals on their way are merged: many sent in a burst arrive at least once, and at
 * most as often as they were sent. Different signals can arrive in another order than they were sent. To
 * count, use a semaphore. A Deno that has run for half a second also opens its debugger on SIGUSR1, so
 * prefer SIGUSR2.
 *
 * Workers of Bun and Node receive no signals: listen on the main thread there.
 *
 * @example
 * ```ts
 * import { kill, signals } from "@sysv/ipc/unix";
 * import { assertEquals } from "@std/assert";
 * import process from "node:process";
 *
 * using watcher = signals("SIGUSR2");
 * kill(process.pid, "SIGUSR2");
 * assertEquals(await watcher.next(), "SIGUSR2");
 * ```
 *
 * @param names The signals.
 * @returns The watcher, to dispose with `using`.
 * @throws {RangeError} If a signal is unknown or cannot be caught: SIGKILL, SIGSTOP, the signals of crashes,
 * SIGURG, by which this module ends its waits, and a few that a runtime keeps for itself.
 * @throws {Error} In a Worker of Bun or Node, which receives no signals.
 */
export function signals(...names: SignalName[]): SignalWatcher {
  return new SignalWatcher(names);
}

/**
 * Waits for one of several signals. It listens from the call until the first one arrives: signals before
 * and after that do what they do without it. To wait several times, use {@linkcode signals}.
 *
 * @example
 * ```ts
 * import { alarm, sigwait } from "@sysv/ipc/unix";
 * import { assertEquals } from "@std/assert";
 *
 * const came = sigwait(["SIGALRM"], { timeout: 5000 });
 * alarm(0.01);
 * assertEquals(await came, "SIGALRM");
 * ```
 *
 * @param names The signals.
 * @param options The signal and the timeout.
 * @returns A promise of the name of the signal that arrived. It rejects with the reason of the abort signal,
 * with a DOMException "TimeoutError" if the timeout expires, with a RangeError if a signal cannot be caught,
 * and with an Error in a Worker of Bun or Node, which receives no signals.
 * @see https://man7.org/linux/man-pages/man3/sigwait.3.html
 */
export async function sigwait(
  names: readonly SignalName[],
  options?: WaitOptions,
): Promise<SignalName> {
  const { timeout, signal } = limitsOf(options);
  signal?.throwIfAborted();
  const watcher = new SignalWatcher(names);
  try {
    return await watcher.next({ timeout, signal });
  } finally {
    watcher[Symbol.dispose]();
  }
}

/**
 * Sends a signal to a process. Unlike `process.kill`, it needs no permission to run programs.
 *
 * @example
 * ```ts
 * import { kill } from "@sysv/ipc/unix";
 * import process from "node:process";
 *
 * kill(process.pid, 0); // throws ESRCH if there is no such process
 * ```
 *
 * @param pid The process; negative for a group of processes, 0 for the group of this one. -1, which is all
 * processes, is refused.
 * @param signal The name of the signal, "SIGTERM" unless given, or 0 to see whether the process exists.
 * @throws {IpcError} ESRCH if there is no such process, EPERM if this process is not allowed to.
 * @throws {RangeError} If there is no such signal.
 * @see https://man7.org/linux/man-pages/man2/kill.2.html
 */
export function kill(pid: number, signal: SignalName | 0 = "SIGTERM"): void {
  if (pid === -1) throw new RangeError("Cannot signal -1: it is all processes");
  checkInteger(pid, -0x7fffffff, 0x7fffffff, `signal ${String(pid)}`);
  done(killCall(pid, signal === 0 ? 0 : numberOf(signal)), "kill", `signal ${pid}`);
}

/**
 * Has the kernel send SIGALRM to this process after some time. There is one alarm: another call replaces
 * it. SIGALRM ends a program that does not listen to it.
 *
 * @example
 * ```ts
 * import { alarm } from "@sysv/ipc/unix";
 * import { assert } from "@std/assert";
 *
 * alarm(60);
 * const left = alarm(0); // cancels it
 * assert(left > 59);
 * ```
 *
 * @param seconds The time in seconds, with fractions; 0 cancels the alarm.
 * @returns The seconds that were left of the alarm before; 0 if there was none.
 * @throws {RangeError} If it is negative.
 * @see https://man7.org/linux/man-pages/man2/alarm.2.html
 */
export function alarm(seconds: number): number {
  if (typeof seconds !== "number" || !(seconds >= 0 && seconds <= 0x7fffffff)) {
    throw numberError(seconds, `Cannot set an alarm in ${String(seconds)} s: expected 0 or more`);
  }
  return done(setitimer(seconds), "setitimer", "set an alarm");
}
