/**
 * Calls that block this thread: going on with them after a signal, and limiting how long they take.
 *
 * @module
 */

import { errors } from "../ffi/constants.ts";
import type { Calls } from "../ffi/backend.ts";
import { openLibc, whenOpened } from "../ffi/calls.ts";
import { timerPrototypes } from "../ffi/symbols.ts";
import {
  enable,
  handlesSignals,
  isMainThread,
  SIGURG,
  threadNumber,
  unblock,
} from "./interrupt.ts";
import { gateOfThread, startGate } from "./gate.ts";

// A Worker may have to be interrupted in the first call that blocks it.
whenOpened(startGate);

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
function disarm(): void {
  arm(0, 0n);
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
 * millisecond from then on, because the first signal may come before the call. The keeper of a Worker does
 * the same, as the kernel would keep the timer of one that is terminated.
 */
export function limited(call: () => number, timeout: number): number {
  const deadline = performance.now() + timeout;
  const timed = () => {
    const result = call();
    return result === -errors.EINTR && performance.now() >= deadline ? -errors.ETIMEDOUT : result;
  };
  unblock();
  enable();
  const gate = gateOfThread();
  const isKept = gate?.isUp() === true;
  if (isKept) gate!.interruptAfter(Math.max(deadline - performance.now(), 1));
  else arm(timeout, 1_000_000n);
  try {
    const result = timed();
    return result === -errors.EINTR ? resume(timed) : result;
  } finally {
    if (isKept) gate!.interruptAfter(0);
    else disarm();
  }
}
