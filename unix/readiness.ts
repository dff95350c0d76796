/**
 * Waiting until descriptors are ready. One epoll watches all descriptors that this thread of the program waits
 * for, and one waiter thread waits in it, however many descriptors there are.
 *
 * A wait ends as soon as a descriptor is ready; the caller then reads or writes on its own thread, without
 * blocking. So a wait that ends early has changed nothing.
 *
 * @module
 */

import { errors } from "../ffi/constants.ts";
import { abi } from "../ffi/platforms.ts";
import {
  EPOLL_CTL_ADD,
  EPOLL_CTL_DEL,
  EPOLL_CTL_MOD,
  EpollEvents,
  EPOLLONESHOT,
} from "../ffi/epoll_events.ts";
import { IpcError, reasonOf } from "../ffi/error.ts";
import { isMainThread } from "../wait/interrupt.ts";
import { POLLERR, POLLHUP } from "../ffi/pollfd.ts";
import type { ThreadMemory, ThreadRequest } from "../wait/thread.ts";
import { close, epollControl, epollCreate, epollWait } from "../ffi/unix_calls.ts";
import type { Cancellable } from "../wait/cancel.ts";
import { wait } from "../wait/line.ts";
import type { Wait } from "../wait/waiter.ts";
import { done } from "./errors.ts";

/** The events that are always reported. */
const ALWAYS_REPORTED = POLLERR | POLLHUP;
const MAX_EVENTS = 256;

/** A wait for a descriptor. */
interface Watcher {
  readonly events: number;
  ready(): void;
  failed(error: unknown): void;
}

let epoll: number | undefined;
/** The waits, by descriptor. */
const watched = new Map<number, Set<Watcher>>();
/** Ends the wait of the thread once nothing is watched. */
const dependents = new Set<Cancellable>();
let waiting = false;

/**
 * Watches a descriptor until it is ready, once, or until that is called off.
 *
 * @returns A function that calls it off; undefined for files, which are always ready and never reported.
 */
export function watch(
  fd: number,
  events: number,
  ready: () => void,
  failed: (error: unknown) => void,
): (() => void) | undefined {
  if (!abi.isLinux) {
    throw new IpcError(`Cannot wait for descriptors: ${reasonOf(errors.ENOSYS)}`, errors.ENOSYS, {
      syscall: "epoll_create1",
    });
  }
  epoll ??= done(epollCreate(), "epoll_create1", "wait for descriptors");
  const watcher: Watcher = { events, ready, failed };
  const watchers = watched.get(fd) ?? new Set();
  watchers.add(watcher);
  const result = arm(fd, watchers);
  if (result < 0) {
    watchers.delete(watcher);
    closeUnused();
    if (result === -errors.EPERM) return undefined;
    done(result, "epoll_ctl", `wait for descriptor ${fd}`);
  }
  watched.set(fd, watchers);
  if (!waiting) waitWhileWatched();
  return () => {
    if (!watchers.delete(watcher)) return;
    if (watchers.size > 0) arm(fd, watchers);
    else if (watched.get(fd) === watchers) forget(fd);
  };
}

/** Ends all waits for a descriptor that is about to be closed. */
export function closing(fd: number): void {
  const watchers = watched.get(fd);
  if (watchers === undefined) return;
  const message = `Cannot wait for descriptor ${fd}: it was closed`;
  fail(fd, watchers, new IpcError(message, errors.EBADF, { syscall: "poll" }));
}

/** Has the kernel report the descriptor once, the next time it is ready for any of its waits. */
function arm(fd: number, watchers: ReadonlySet<Watcher>): number {
  let events = EPOLLONESHOT;
  for (const watcher of watchers) events |= watcher.events;
  const result = epollControl(epoll!, EPOLL_CTL_MOD, fd, events);
  return result === -errors.ENOENT ? epollControl(epoll!, EPOLL_CTL_ADD, fd, events) : result;
}

/** Stops watching a descriptor, which may be closed, or belong to another file, by now. */
function forget(fd: number): void {
  watched.delete(fd);
  epollControl(epoll!, EPOLL_CTL_DEL, fd, 0);
  if (watched.size === 0) { for (const dependent of dependents) dependent.cancel(undefined); }
}

/** Waits on a thread for as long as any descriptor is watched. */
async function waitWhileWatched(): Promise<void> {
  waiting = true;
  while (watched.size > 0) {
    try {
      await wait(new EpollWait());
    } catch (error) {
      if (error === undefined) continue;
      for (const [fd, watchers] of [...watched]) fail(fd, watchers, error);
    }
  }
  waiting = false;
  closeUnused();
}

/**
 * Closes the epoll if no thread is in it: its number may belong to another file at once. The main thread keeps
 * its own. The epoll of a Worker would stay until the process ends.
 */
function closeUnused(): void {
  if (waiting || epoll === undefined || isMainThread()) return;
  close(epoll);
  epoll = undefined;
}

/** Fails all waits for a descriptor. */
function fail(fd: number, watchers: Set<Watcher>, error: unknown): void {
  forget(fd);
  const failed = [...watchers];
  watchers.clear();
  for (const watcher of failed) watcher.failed(error);
}

class EpollWait implements Wait<void> {
  readonly key = "epoll_wait";
  readonly call = "epoll_wait";
  readonly shared = true;
  readonly readOnly = false;
  readonly timeout = Infinity;
  readonly signal = undefined;
  readonly dependents = dependents;
  readonly events = new EpollEvents(MAX_EVENTS);

  attempt(): number {
    const result = epollWait(epoll!, this.events.bytes, MAX_EVENTS, 0);
    return result === 0 ? -errors.EAGAIN : result;
  }

  request(memory: ThreadMemory): ThreadRequest {
    const { address } = memory.reserve(this.events.bytes.length);
    return { arguments: [epoll!, address, MAX_EVENTS, -1] };
  }

  received({ bytes }: ThreadMemory): void {
    this.events.bytes.set(bytes.subarray(0, this.events.bytes.length));
  }

  /** Ends the waits for what is ready, and arms what others wait for. */
  take(count: number): void {
    const { events } = this;
    for (let i = 0; i < count; i++) {
      const fd = events.fd(i);
      const watchers = watched.get(fd);
      if (watchers === undefined) continue;
      const happened = events.events(i);
      for (const watcher of [...watchers]) {
        if ((happened & (watcher.events | ALWAYS_REPORTED)) === 0) continue;
        watchers.delete(watcher);
        watcher.ready();
      }
      if (watchers.size > 0) arm(fd, watchers);
      else if (watched.get(fd) === watchers) forget(fd);
    }
  }

  error(errno: number): Error {
    return new IpcError(`Cannot wait for descriptors: ${reasonOf(errno)}`, errno, {
      syscall: "epoll_wait",
    });
  }

  timeoutError(): Error {
    throw new TypeError("Cannot time out a wait without a timeout");
  }
}
