/**
 * Sleeping until a descriptor may be ready, so that every signal ends it.
 *
 * @module
 */

import { errors } from "../ffi/constants.ts";
import { abi } from "../ffi/platforms.ts";
import { EPOLL_CTL_ADD, EpollEvents } from "../ffi/epoll_events.ts";
import type { PollFds } from "../ffi/pollfd.ts";
import { close, epollControl, epollCreate, epollWait, poll } from "../ffi/unix_calls.ts";
import { handlesSignals } from "../wait/interrupt.ts";

let ignored: EpollEvents | undefined;

/**
 * Blocks until one of the descriptors is ready, a signal is handled or the time is up, and returns what poll
 * does.
 *
 * If another thread of the runtime handled the signal that woke this one, as happens when two arrive at once,
 * Linux goes on with poll, but ends epoll_wait. So a program that handles signals sleeps in that.
 */
export function sleep(descriptors: PollFds, timeout: number): number {
  const { bytes, count } = descriptors;
  if (!abi.isLinux || timeout === 0 || !handlesSignals()) return poll(bytes, count, timeout);
  const ready = poll(bytes, count, 0);
  if (ready !== 0) return ready;
  const epoll = epollCreate();
  // There is no descriptor left.
  if (epoll < 0) return poll(bytes, count, timeout);
  try {
    if (!watchAll(epoll, descriptors)) return poll(bytes, count, timeout);
    const woken = epollWait(epoll, (ignored ??= new EpollEvents(1)).bytes, 1, timeout);
    return woken < 0 ? woken : poll(bytes, count, 0);
  } finally {
    close(epoll);
  }
}

/** Adds all descriptors to an epoll, none of which was ready; returns whether it takes them all. */
function watchAll(epoll: number, descriptors: PollFds): boolean {
  const wanted = new Map<number, number>();
  for (let i = 0; i < descriptors.count; i++) {
    const fd = descriptors.fd(i);
    wanted.set(fd, (wanted.get(fd) ?? 0) | descriptors.events(i));
  }
  for (const [fd, events] of wanted) {
    const result = epollControl(epoll, EPOLL_CTL_ADD, fd, events);
    // A file is always ready, or never for these events.
    if (result < 0 && result !== -errors.EPERM) return false;
  }
  return true;
}
