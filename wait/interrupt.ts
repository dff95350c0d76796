/**
 * How a blocked call is ended: by SIGURG to its thread.
 *
 * The System V calls end with EINTR when a signal is handled, and SIGURG is ignored by default, so a
 * stray one harms nothing. It only needs a handler. If there is none, libc's `abs` becomes it: a function
 * that takes an int and does nothing. It stays, because no thread can know whether another still needs it.
 *
 * @module
 */

import { abi } from "../ffi/platforms.ts";
import type { Calls } from "../ffi/backend.ts";
import { getpid, openLibc, signal } from "../ffi/calls.ts";
import { runtime } from "../ffi/memory.ts";
import { interruptPrototypes } from "../ffi/symbols.ts";

export const { SIGURG } = abi.signals;
/** The handlers of signals that are left to the system, and of those that are ignored, <signal.h>. */
export const SIG_DFL = 0;
export const SIG_IGN = 1;

let libc: Calls<typeof interruptPrototypes> | undefined;
/** The address of a handler that does nothing. */
let noop = 0;

function load(): Calls<typeof interruptPrototypes> {
  libc = openLibc(interruptPrototypes);
  noop = libc.dlsym(abi.defaultSymbols, new TextEncoder().encode("abs\0"));
  return libc;
}

// struct sigaction, <signal.h>, at most 152 bytes: sa_handler at 0
const action = new Uint8Array(152);
const actionNumbers = new BigUint64Array(action.buffer);

/** Returns the handler of a signal as a number: 0 by default, 1 if it is ignored. */
export function handlerOf(signal: number): number {
  (libc ?? load()).sigaction(signal, null, action);
  return Number(actionNumbers[0]);
}

let number: number | undefined;

/** Returns the number of this thread. */
export function threadNumber(): number {
  return number ??= (libc ?? load()).gettid();
}

/** Whether this is the first thread of the process, which has its number. */
export function isMainThread(): boolean {
  return isMain ??= threadNumber() === getpid();
}

let isMain: boolean | undefined;

// sigset_t, <signal.h>, at most 128 bytes: signal n at bit n - 1
const signals = new Uint8Array(128);
signals[(SIGURG - 1) >> 3] = 1 << ((SIGURG - 1) & 7);

/** Lets SIGURG through to this thread, and to those that it starts: the program's parent may have blocked it. */
export function unblock(): void {
  (libc ?? load()).pthread_sigmask(abi.SIG_UNBLOCK, signals, null);
}

/**
 * Sees to it that SIGURG ends blocked calls. Asked each time, as a runtime resets the handler when a
 * listener goes.
 */
export function enable(): void {
  if (handlerOf(SIGURG) <= SIG_IGN) signal(SIGURG, noop);
}

/** Interrupts what a thread is blocked in. It may not be there yet: repeat until it answers. */
export function interrupt(pthread: number): void {
  (libc ?? load()).pthread_kill(pthread, SIGURG);
}

/**
 * Whether the program, or its runtime on its behalf, handles signals that a blocking call should let
 * through. What a runtime handles for itself alone, to suspend threads or on crashes, does not count.
 */
export function handlesSignals(): boolean {
  return runtime().listensToSignals?.() ??
    abi.programSignals.some((signal) => handlerOf(signal) > SIG_IGN);
}
