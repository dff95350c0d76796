/**
 * Events as epoll takes and returns them.
 *
 * @module
 */

import { abi } from "./platforms.ts";

// The operations of epoll_ctl, <sys/epoll.h>.
export const EPOLL_CTL_ADD = 1;
export const EPOLL_CTL_DEL = 2;
export const EPOLL_CTL_MOD = 3;

// How epoll reports events; the events themselves have the bits of poll.
export const EPOLLONESHOT = 1 << 30;
export const EPOLLET = 1 << 31;

/** An array of struct epoll_event, <sys/epoll.h>: see {@linkcode Abi.epollEvent}. */
export class EpollEvents {
  readonly capacity: number;
  /** In memory that no collector moves, as its address travels. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly #memory: DataView<ArrayBuffer>;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.bytes = new Uint8Array(new ArrayBuffer(capacity * abi.epollEvent.size));
    this.#memory = new DataView(this.bytes.buffer);
  }

  events(index: number): number {
    return this.#memory.getUint32(index * abi.epollEvent.size, true);
  }

  fd(index: number): number {
    return this.#memory.getInt32(index * abi.epollEvent.size + abi.epollEvent.data, true);
  }

  set(index: number, events: number, fd: number): this {
    this.#memory.setUint32(index * abi.epollEvent.size, events, true);
    this.#memory.setInt32(index * abi.epollEvent.size + abi.epollEvent.data, fd, true);
    return this;
  }
}
