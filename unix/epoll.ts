/**
 * Many descriptors at once: {@linkcode Epoll}.
 *
 * @module
 */

import { checkInteger, checkOptions, checkWord } from "../ffi/check.ts";
import { timeoutError, type TimeoutOptions, type WaitOptions } from "../wait/options.ts";
import { errors } from "../ffi/constants.ts";
import { abi } from "../ffi/platforms.ts";
import {
  EPOLL_CTL_ADD,
  EPOLL_CTL_DEL,
  EPOLL_CTL_MOD,
  EPOLLET,
  EpollEvents,
} from "../ffi/epoll_events.ts";
import { resume } from "../wait/block.ts";
import { Iteration } from "../wait/iteration.ts";
import { turn } from "../wait/turn.ts";
import { close, epollControl, epollCreate, epollWait } from "../ffi/unix_calls.ts";
import { checkFd, done } from "./errors.ts";
import { limitsOf } from "./limits.ts";
import { bitsOf, eventsOf, type PollInterest, type PollResult, pollUntil, restOf } from "./poll.ts";
import { closing } from "./readiness.ts";

/** Options of {@linkcode Epoll.add} and {@linkcode Epoll.modify}. */
export interface EpollOptions {
  /**
   * The events to watch for.
   *
   * @default {["readable"]}
   */
  events?: PollInterest | readonly PollInterest[] | undefined;
  /**
   * `"level"` reports the descriptor as long as it is ready. `"edge"` reports it once each time something
   * new arrives: then read or write until there is no more.
   *
   * @default {"level"}
   */
  trigger?: "level" | "edge" | undefined;
}

/** Options of {@linkcode Epoll.wait}. */
export interface EpollWaitOptions extends WaitOptions {
  /**
   * The maximum number of descriptors to report at once.
   *
   * @default {64}
   */
  max?: number | undefined;
}

/** Options of {@linkcode Epoll.waitSync}. */
export interface EpollWaitSyncOptions extends TimeoutOptions {
  /**
   * The maximum number of descriptors to report at once.
   *
   * @default {64}
   */
  max?: number | undefined;
}

/**
 * A set of descriptors that the kernel watches, at a cost that does not grow with their number (Linux).
 *
 * - **Waiting:** does not block the event loop. A wait that is aborted or times out loses no event.
 * - **Closing:** closing a descriptor removes it from the set, unless another process has it open too.
 * - **Threads:** all waits share one.
 *
 * @example
 * ```ts
 * import { Epoll, pipe } from "@sysv/ipc/unix";
 * import { assertEquals } from "@std/assert";
 *
 * using ends = pipe();
 * using epoll = new Epoll();
 * epoll.add(ends.reader.fd);
 * ends.writer.writeSync("now");
 * assertEquals(await epoll.wait(), [{ fd: ends.reader.fd, events: ["readable"] }]);
 * ```
 *
 * @see https://man7.org/linux/man-pages/man7/epoll.7.html
 */
export class Epoll implements AsyncIterable<PollResult>, Disposable {
  readonly #fd: number;
  readonly #closing = new AbortController();
  #events = new EpollEvents(64);

  /**
   * Creates an empty set.
   *
   * @throws {IpcError} ENOSYS where there is no epoll, EMFILE if this process has too many open files.
   */
  constructor() {
    this.#fd = done(
      Epoll.available ? epollCreate() : -errors.ENOSYS,
      "epoll_create1",
      "make an epoll",
    );
  }

  /** Whether this system has epoll. */
  static get available(): boolean {
    return abi.isLinux;
  }

  /** The file descriptor of the set, which is itself readable when one of its descriptors is ready. */
  get fd(): number {
    if (!this.#closing.signal.aborted) return this.#fd;
    throw new ReferenceError(`Cannot use epoll ${this.#fd}: it is closed`);
  }

  /**
   * Adds a descriptor to the set.
   *
   * @param fd The file descriptor.
   * @param options The events, and how they are reported.
   * @throws {IpcError} EEXIST if it is watched already, EPERM if it is a file, which is always ready, EBADF.
   */
  add(fd: number, options?: EpollOptions): void {
    this.#control(EPOLL_CTL_ADD, fd, maskOf(options), `watch descriptor ${fd}`);
  }

  /**
   * Changes how a descriptor is watched.
   *
   * @param fd The file descriptor.
   * @param options The events, and how they are reported.
   * @throws {IpcError} ENOENT if it is not watched, EBADF.
   */
  modify(fd: number, options?: EpollOptions): void {
    this.#control(EPOLL_CTL_MOD, fd, maskOf(options), `watch descriptor ${fd} otherwise`);
  }

  /**
   * Removes a descriptor from the set.
   *
   * @param fd The file descriptor.
   * @throws {IpcError} ENOENT if it is not watched, EBADF.
   */
  remove(fd: number): void {
    this.#control(EPOLL_CTL_DEL, fd, 0, `end watching descriptor ${fd}`);
  }

  /**
   * Waits until one of the descriptors is ready.
   *
   * @param options The signal, the timeout, and the maximum number to report.
   * @returns A promise of the ready descriptors, at least one. It rejects with the reason of the signal, with a
   * DOMException "TimeoutError" if the timeout expires, with a ReferenceError if the set is closed.
   */
  async wait(options?: EpollWaitOptions): Promise<PollResult[]> {
    const { timeout, deadline, signal } = limitsOf(options);
    const max = maxOf(options);
    signal?.throwIfAborted();
    let ends: AbortSignal | undefined;
    for (;;) {
      const results = this.tryWait(max);
      if (results !== undefined) {
        await turn();
        return results;
      }
      if (performance.now() >= deadline) this.#timeIsUp(timeout);
      ends ??= signal === undefined
        ? this.#closing.signal
        : AbortSignal.any([signal, this.#closing.signal]);
      await pollUntil([{ fd: this.fd }], deadline, ends);
    }
  }

  /**
   * Waits until one of the descriptors is ready, blocking the thread.
   *
   * @param options The timeout, and the maximum number to report.
   * @returns The ready descriptors, at least one.
   * @throws {DOMException} "TimeoutError" if the timeout expires.
   * @throws {IpcError} EINTR if the program, or its runtime, handled a signal.
   */
  waitSync(options?: EpollWaitSyncOptions): PollResult[] {
    const { timeout, deadline } = limitsOf(options);
    const max = maxOf(options);
    for (;;) {
      const results = this.#wait(max, () => restOf(deadline));
      if (results.length > 0) return results;
      if (performance.now() >= deadline) this.#timeIsUp(timeout);
    }
  }

  /**
   * Returns the descriptors that are ready, without waiting.
   *
   * @param max The maximum number to report, 64 unless given.
   * @returns The ready descriptors, at least one, or undefined if none is ready.
   */
  tryWait(max?: number): PollResult[] | undefined {
    const results = this.#wait(maxOf({ max }), () => 0);
    return results.length > 0 ? results : undefined;
  }

  /**
   * Iterates over the descriptors as they become ready, until the set is closed. Each step asks the kernel
   * for one: leaving the loop loses nothing, and a descriptor that was removed is not reported.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<PollResult> {
    return new Iteration({
      next: async (options) => (await this.wait({ max: 1, ...options }))[0]!,
      isEnd: () => this.#closing.signal.aborted,
    });
  }

  /** Closes the set, but not its descriptors. Pending waits reject. Does nothing the second time. */
  close(): void {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort(new ReferenceError(`Cannot use epoll ${this.#fd}: it is closed`));
    closing(this.#fd);
    done(close(this.#fd), "close", `close epoll ${this.#fd}`);
  }

  /** Closes the set, so that `using` does. */
  [Symbol.dispose](): void {
    this.close();
  }

  #timeIsUp(timeout: number): never {
    throw timeoutError(`see a descriptor of epoll ${this.#fd} ready`, timeout);
  }

  #control(operation: number, fd: number, events: number, doing: string): void {
    checkFd(fd);
    done(epollControl(this.fd, operation, fd | 0, events), "epoll_ctl", doing);
  }

  #wait(max: number, timeout: () => number): PollResult[] {
    if (max > this.#events.capacity) this.#events = new EpollEvents(max);
    const events = this.#events;
    const call = () => epollWait(this.fd, events.bytes, max, timeout());
    const first = call();
    const result = first === -errors.EINTR ? resume(call) : first;
    const count = done(result, "epoll_wait", `wait for epoll ${this.#fd}`);
    return Array.from(
      { length: count },
      (_, i) => ({ fd: events.fd(i), events: eventsOf(events.events(i)) }),
    );
  }
}

/** Checks how many descriptors may be reported at once. */
function maxOf({ max = 64 }: { max?: number | undefined } = {}): number {
  checkInteger(max, 1, 65536, `report ${String(max)} descriptors`);
  return max;
}

function maskOf(options: EpollOptions = {}): number {
  checkOptions(options);
  const { events, trigger = "level" } = options;
  const edge = checkWord(trigger, ["level", "edge"], "trigger") === "edge";
  return edge ? bitsOf(events) | EPOLLET : bitsOf(events);
}
