/**
 * Which descriptors are ready: {@linkcode poll}.
 *
 * @module
 */

import { checkArray, checkObject, described } from "../ffi/check.ts";
import { timeoutError, type TimeoutOptions, type WaitOptions } from "../wait/options.ts";
import { follow, unfollow } from "../wait/cancel.ts";
import { at, type Timer } from "../wait/timer.ts";
import { errors } from "../ffi/constants.ts";
import { type IpcError, ipcError } from "../ffi/error.ts";
import { resume } from "../wait/block.ts";
import { turn } from "../wait/turn.ts";
import { POLLERR, PollFds, POLLHUP, POLLIN, POLLNVAL, POLLOUT, POLLPRI } from "../ffi/pollfd.ts";
import { poll as pollCall } from "../ffi/unix_calls.ts";
import { checkFd, done } from "./errors.ts";
import { limitsOf } from "./limits.ts";
import { watch } from "./readiness.ts";
import { sleep } from "./sleep.ts";

/** An event to wait for. */
export type PollInterest = "readable" | "writable" | "priority";

/** An event that is reported: `"error"` and `"hangup"` always are. */
export type PollEvent = PollInterest | "error" | "hangup";

/** A descriptor to wait for. */
export interface PollRequest {
  /** The file descriptor: of a pipe, a socket, a terminal, a file, anything. */
  fd: number;
  /**
   * The events to wait for.
   *
   * @default {["readable"]}
   */
  events?: PollInterest | readonly PollInterest[] | undefined;
}

/** A descriptor that is ready. */
export interface PollResult {
  /** The file descriptor. */
  readonly fd: number;
  /** The events that happened. */
  readonly events: readonly PollEvent[];
}

/** The bits of poll and epoll, which are the same. */
const bits: Readonly<Record<PollEvent, number>> = {
  readable: POLLIN,
  priority: POLLPRI,
  writable: POLLOUT,
  error: POLLERR,
  hangup: POLLHUP,
};

/** Returns the bits of the events to wait for. */
export function bitsOf(events: PollInterest | readonly PollInterest[] = "readable"): number {
  let sum = 0;
  if (typeof events !== "string") checkArray(events, "events");
  for (const event of typeof events === "string" ? [events] : events) {
    if (event !== "readable" && event !== "writable" && event !== "priority") {
      throw new TypeError(
        `Cannot wait for ${described(event)}: expected "readable", "writable" or "priority"`,
      );
    }
    sum |= bits[event];
  }
  return sum;
}

/** Returns the events of bits. */
export function eventsOf(sum: number): PollEvent[] {
  return (Object.keys(bits) as PollEvent[]).filter((event) => (sum & bits[event]) !== 0);
}

function notOpen(fd: number): IpcError {
  return ipcError("EBADF", `poll descriptor ${fd}`, { syscall: "poll", reason: "it is not open" });
}

/** The descriptors to wait for, with their events. */
class PollDescriptors extends PollFds {
  constructor(requests: readonly PollRequest[]) {
    checkArray(requests, "the requests");
    super(requests.length);
    // Array.from() sees holes, which forEach() skips.
    Array.from(requests).forEach((request, i) => {
      checkObject(request, `request ${i}`);
      const { fd, events } = request;
      checkFd(fd);
      // The kernel would skip it.
      if (fd < 0) throw notOpen(fd);
      this.set(i, fd, bitsOf(events));
    });
  }

  /** Asks which are ready, without waiting. */
  look(): PollResult[] {
    return this.results(pollCall(this.bytes, this.count, 0));
  }

  results(count: number): PollResult[] {
    done(count, "poll", `poll ${this.count} descriptors`);
    const results: PollResult[] = [];
    for (let i = 0; i < this.count && results.length < count; i++) {
      const happened = this.happened(i);
      if (happened === 0) continue;
      if ((happened & POLLNVAL) !== 0) throw notOpen(this.fd(i));
      results.push({ fd: this.fd(i), events: eventsOf(happened) });
    }
    return results;
  }
}

/** Whether a descriptor is ready, or would fail at once. */
export function isReady(fd: number, events: PollInterest): boolean {
  const { bytes, count } = new PollDescriptors([{ fd, events }]);
  return done(pollCall(bytes, count, 0), "poll", `poll descriptor ${fd}`) > 0;
}

/**
 * Waits until one of several descriptors is ready. The event loop goes on, and nothing is read or
 * written.
 *
 * @example
 * ```ts
 * import { pipe, poll } from "@sysv/ipc/unix";
 * import { assertEquals } from "@std/assert";
 *
 * using ends = pipe();
 * setTimeout(() => ends.writer.writeSync("now"), 10);
 * const [ready] = await poll([{ fd: ends.reader.fd, events: "readable" }]);
 * assertEquals(ready?.events, ["readable"]);
 * ```
 *
 * @param requests The descriptors, any number of them, and their events, `"readable"` unless given.
 * @param options The signal and the timeout.
 * @returns A promise of the ready descriptors, at least one. It rejects with the reason of the signal,
 * with a DOMException "TimeoutError" if the timeout expires, and with IpcError EBADF if a descriptor is not
 * open, or belongs to an end of a pipe or an `Epoll` that is closed meanwhile. As in C, descriptors that are
 * closed in another way are not noticed.
 * @see https://man7.org/linux/man-pages/man2/poll.2.html
 */
export async function poll(
  requests: readonly PollRequest[],
  options?: WaitOptions,
): Promise<PollResult[]> {
  const { timeout, deadline, signal } = limitsOf(options);
  const results = await pollUntil(requests, deadline, signal);
  return results ?? timeIsUp(requests.length, timeout);
}

/** Waits until one of several descriptors is ready; undefined once the timeout has expired. */
export async function pollUntil(
  requests: readonly PollRequest[],
  deadline: number,
  signal?: AbortSignal,
): Promise<PollResult[] | undefined> {
  const descriptors = new PollDescriptors(requests);
  for (;;) {
    // It can be aborted between the report and this line.
    signal?.throwIfAborted();
    const results = descriptors.look();
    if (results.length > 0 || performance.now() >= deadline) {
      await turn();
      return results.length > 0 ? results : undefined;
    }
    await readiness(descriptors, deadline, signal);
  }
}

/** Throws the error of a wait that timed out. */
export function timeIsUp(count: number, timeout: number): never {
  throw timeoutError(`see one of ${count} descriptors ready`, timeout);
}

/** Waits until one of the descriptors may be ready, or the timeout may have expired. */
function readiness(
  descriptors: PollDescriptors,
  deadline: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const watches: (() => void)[] = [];
    let timer: Timer | undefined;
    const finish = (settle: () => void) => {
      for (const callOff of watches.splice(0)) callOff();
      timer?.clear();
      if (signal !== undefined) unfollow(signal, waiting);
      settle();
    };
    const ready = () => finish(resolve);
    const fail = (error: unknown) => finish(() => reject(error));
    const waiting = { cancel: fail };
    try {
      for (let i = 0; i < descriptors.count; i++) {
        const callOff = watch(descriptors.fd(i), descriptors.events(i), ready, fail);
        // Files are always readable and writable, and never anything else.
        if (callOff !== undefined) watches.push(callOff);
      }
    } catch (error) {
      return fail(error);
    }
    if (signal !== undefined) follow(signal, waiting);
    // Where nothing is watched, only a timer keeps the process alive.
    if (deadline < Infinity || watches.length === 0) timer = at(deadline, ready);
  });
}

/**
 * Waits until one of several descriptors is ready, blocking the thread.
 *
 * @example
 * ```ts
 * import { pipe, pollSync } from "@sysv/ipc/unix";
 * import { assertEquals } from "@std/assert";
 *
 * using ends = pipe();
 * const fd = ends.writer.fd;
 * assertEquals(pollSync([{ fd, events: "writable" }]), [{ fd, events: ["writable"] }]);
 * ```
 *
 * @param requests The descriptors and their events, `"readable"` unless given.
 * @param options The timeout.
 * @returns The ready descriptors, at least one.
 * @throws {DOMException} "TimeoutError" if the timeout expires.
 * @throws {IpcError} EBADF if one is not open, EINTR if the program, or its runtime, handled a signal:
 * Deno handles some for itself half a second after its start.
 */
export function pollSync(requests: readonly PollRequest[], options?: TimeoutOptions): PollResult[] {
  const { timeout, deadline } = limitsOf(options);
  const results = pollSyncUntil(requests, deadline);
  return results ?? timeIsUp(requests.length, timeout);
}

/** Waits until one of several descriptors is ready, blocking the thread; undefined once the timeout has expired. */
export function pollSyncUntil(
  requests: readonly PollRequest[],
  deadline: number,
): PollResult[] | undefined {
  const descriptors = new PollDescriptors(requests);
  const call = () => sleep(descriptors, restOf(deadline));
  for (;;) {
    const result = call();
    const results = descriptors.results(result === -errors.EINTR ? resume(call) : result);
    if (results.length > 0) return results;
    if (performance.now() >= deadline) return undefined;
  }
}

/** Returns the time that is left, as poll and epoll_wait take it: whole milliseconds, -1 for ever. */
export function restOf(deadline: number): number {
  if (deadline === Infinity) return -1;
  return Math.min(Math.ceil(Math.max(deadline - performance.now(), 0)), 0x7fffffff);
}
