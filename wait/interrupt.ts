/**
 * How a blocked call is ended: by SIGURG to its thread.
 *
 * The System V calls end with EINTR when a signal is handled, and SIGURG is ignored by default, so a
 * stray one harms nothing. It only needs a handler. If there is none, libc's `abs` becomes it: a function
 * that takes an int and does nothing. It stays, because no thread can know whether another still needs it.
 *
 * @module
 */

import { errors } from "../ffi/constants.ts";
import { abi } from "../ffi/platforms.ts";
import type { Calls } from "../ffi/backend.ts";
import { getpid, openLibc, signal } from "../ffi/calls.ts";
import { runtime } from "../ffi/memory.ts";
import { interruptPrototypes, timerPrototypes } from "../ffi/symbols.ts";

const { SIGURG } = abi.signals;
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

let timers: Calls<typeof timerPrototypes> | undefined;
let timer: number | undefined;

/** A kernel timer that sends SIGURG to this thread. */
function createTimer(): number {
  const { timer_create } = timers ??= openLibc(timerPrototypes);
  // struct sigevent, <bits/types/sigevent_t.h>, 64 bytes: sigev_signo at 8, sigev_notify at 12,
  // sigev_notify_thread_id at 16; SIGEV_THREAD_ID is 4
  const event = new Int32Array(16);
  event[2] = SIGURG;
  event[3] = 4;
  event[4] = threadNumber();
  const id = new BigUint64Array(1);
  const CLOCK_MONOTONIC = 1;
  const result = timer_create(
    CLOCK_MONOTONIC,
    new Uint8Array(event.buffer),
    new Uint8Array(id.buffer),
  );
  if (result !== 0) {
    throw new Error("Cannot create a timer: the system has none left for this process");
  }
  return Number(id[0]);
}

/** The main thread keeps its timer. A worker's would stay when the worker has ended, until the process does. */
function deleteTimer(): void {
  if (isMainThread() || timer === undefined) return;
  timers!.timer_delete(timer);
  timer = undefined;
}

// struct itimerspec, <bits/types/struct_itimerspec.h>, 32 bytes: it_interval at 0, it_value at 16,
// each long tv_sec, long tv_nsec
const span = new BigInt64Array(4);
const spanBytes = new Uint8Array(span.buffer);

function arm(milliseconds: number, interval: bigint): void {
  timer ??= createTimer();
  const nanoseconds = BigInt(Math.ceil(Math.min(milliseconds, 2 ** 50) * 1e6));
  span[1] = interval;
  span[2] = nanoseconds / 1_000_000_000n;
  span[3] = nanoseconds % 1_000_000_000n;
  timers!.timer_settime(timer, 0, spanBytes, null);
}

/**
 * Goes on with a call that was interrupted, unless the program handles signals: its listeners cannot
 * run before the thread is free.
 */
export function resume(call: () => number): number {
  let result = -errors.EINTR;
  while (result === -errors.EINTR && !handlesSignals()) result = call();
  return result;
}

/**
 * Makes a call that blocks this thread, for no longer than the timeout: ETIMEDOUT then. The kernel
 * limits no call on queues, so a kernel timer interrupts the thread when the timeout expires, and every
 * millisecond from then on, because the first signal may come before the call.
 */
export function limited(call: () => number, timeout: number): number {
  const deadline = performance.now() + timeout;
  const timed = () => {
    const result = call();
    return result === -errors.EINTR && performance.now() >= deadline ? -errors.ETIMEDOUT : result;
  };
  unblock();
  enable();
  arm(timeout, 1_000_000n);
  try {
    const result = timed();
    return result === -errors.EINTR ? resume(timed) : result;
  } finally {
    arm(0, 0n);
    deleteTimer();
  }
}
