/**
 * What both ends of a pipe share: {@linkcode setNonblocking} and {@linkcode End}.
 *
 * @module
 */

import { described } from "../ffi/check.ts";
import { errors } from "../ffi/constants.ts";
import { abi } from "../ffi/platforms.ts";
import * as calls from "../ffi/unix_calls.ts";
import { O_ACCMODE, O_RDWR } from "../ffi/unix_calls.ts";
import { resume } from "../wait/block.ts";
import { checkFd, done } from "./errors.ts";
import { type PollInterest, pollSyncUntil, pollUntil } from "./poll.ts";
import { closing } from "./readiness.ts";

const { O_NONBLOCK } = abi.flags;

/** Reads the flags of an open file. */
export function flagsOf(fd: number): number {
  checkFd(fd);
  return done(calls.getFlags(fd), "fcntl", `use descriptor ${fd}`);
}

/**
 * Makes an open file non-blocking, or blocking again: reading when there is nothing, or writing when there is
 * no room, then fails with EAGAIN instead of waiting. The flag belongs to the open file, so it holds for all
 * processes that share it, and any of them can change it: `spawn` of `node:child_process` clears it for what
 * it hands to a child, in all runtimes and for this process too. Set it in the child, or after `spawn`.
 *
 * @example
 * ```ts
 * import { pipe, setNonblocking } from "@sysv/ipc/unix";
 * import { assertEquals } from "@std/assert";
 *
 * using ends = pipe();
 * setNonblocking(ends.reader.fd, true); // a child that inherits it gets EAGAIN instead of waiting
 * assertEquals(ends.reader.tryRead(), undefined);
 * ```
 *
 * @param fd The file descriptor.
 * @param on Whether it is to be non-blocking.
 * @throws {IpcError} EBADF if it is not open.
 * @see https://man7.org/linux/man-pages/man2/fcntl.2.html
 */
export function setNonblocking(fd: number, on: boolean): void {
  checkOn(on);
  const flags = flagsOf(fd);
  const wanted = on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
  done(calls.setFlags(fd, wanted), "fcntl", `set the flags of descriptor ${fd}`);
}

function checkOn(on: boolean): void {
  if (typeof on === "boolean") return;
  throw new TypeError(`Cannot set non-blocking to ${described(on)}: expected a boolean`);
}

/** Repeats a call as long as only the runtime's own signals end it. */
export function restart(call: () => number): number {
  const result = call();
  return result === -errors.EINTR ? resume(call) : result;
}

/** What both ends of a pipe share: a descriptor, open until it is closed. */
export class End {
  readonly #closing = new AbortController();
  readonly #fd: number;
  closed = false;

  constructor(fd: number, access: number) {
    const has = flagsOf(fd) & O_ACCMODE;
    if (has !== access && has !== O_RDWR) done(-errors.EBADF, "fcntl", `use descriptor ${fd}`);
    this.#fd = fd;
  }

  get fd(): number {
    if (!this.closed) return this.#fd;
    throw new ReferenceError(`Cannot use descriptor ${this.#fd}: this end is closed`);
  }

  /** Waits until the descriptor is ready or closed; false if the timeout expired first. */
  async ready(interest: PollInterest, deadline: number, signal?: AbortSignal): Promise<boolean> {
    const closing = this.#closing.signal;
    const ends = signal === undefined ? closing : AbortSignal.any([signal, closing]);
    return await pollUntil([{ fd: this.fd, events: interest }], deadline, ends) !== undefined;
  }

  /** Waits until the descriptor is ready, blocking the thread; false if the timeout expired first. */
  readySync(interest: PollInterest, deadline: number): boolean {
    return pollSyncUntil([{ fd: this.fd, events: interest }], deadline) !== undefined;
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    const reason = new ReferenceError(`Cannot use descriptor ${this.#fd}: this end is closed`);
    this.#closing.abort(reason);
    closing(this.#fd);
    // Linux closes it even if a signal arrives.
    const result = calls.close(this.#fd);
    if (result !== -errors.EINTR) done(result, "close", `close descriptor ${this.#fd}`);
  }
}
