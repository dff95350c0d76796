/**
 * Descriptors as poll takes and returns them.
 *
 * @module
 */

// The events of poll, <poll.h>; epoll has the same.
export const POLLIN = 0x1;
export const POLLPRI = 0x2;
export const POLLOUT = 0x4;
export const POLLERR = 0x8;
export const POLLHUP = 0x10;
export const POLLNVAL = 0x20;

/** An array of struct pollfd, <poll.h>, 8 bytes each: int fd at 0, short events at 4, short revents at 6. */
export class PollFds {
  readonly count: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly #fds: Int32Array<ArrayBuffer>;
  readonly #events: Int16Array<ArrayBuffer>;

  constructor(count: number) {
    const memory = new ArrayBuffer(8 * count);
    this.count = count;
    this.bytes = new Uint8Array(memory);
    this.#fds = new Int32Array(memory);
    this.#events = new Int16Array(memory);
  }

  set(i: number, fd: number, events: number): void {
    this.#fds[2 * i] = fd;
    this.#events[4 * i + 2] = events;
  }

  fd(i: number): number {
    return this.#fds[2 * i]!;
  }

  /** What is waited for. */
  events(i: number): number {
    return this.#events[4 * i + 2]!;
  }

  /** What has happened. */
  happened(i: number): number {
    return this.#events[4 * i + 3]!;
  }
}
