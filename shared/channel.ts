/**
 * Messages between processes at the speed of memory: {@linkcode Channel}.
 *
 * @module
 */

import { bytesOf, copyOf } from "../ffi/bytes.ts";
import { internal } from "../ipc/internal.ts";
import { showAs, shownKey } from "../ipc/inspect.ts";
import type { Key } from "../ipc/key.ts";
import { promised } from "../ipc/semop_waits.ts";
import type { CreateOptions, OpenOrCreateOptions } from "../ipc/object.ts";
import {
  checkTimeoutOptions,
  readWaitOptions,
  type TimeoutOptions,
  type WaitOptions,
} from "../wait/options.ts";
import { Iteration } from "../wait/iteration.ts";
import { type Demand, readableOf, writableOf } from "../wait/streams.ts";
import { turn } from "../wait/turn.ts";
import type { Codec, CodecOptions } from "./codec.ts";
import { checkPowerOf2, type Coded, CodedKind, isPowerOf2 } from "./coded.ts";
import { Consumer, isEnd, Producer } from "./ends.ts";
import { Members } from "./members.ts";
import type { MembersOptions } from "./pair.ts";
import { BUSY, DONE, NOT_NOW, Ring } from "./ring.ts";
import { consumers, producers, ringSize } from "./ring_flows.ts";
import { SharedStructure, unmade } from "./structure.ts";

/** How much a channel holds. */
export interface ChannelSizeOptions {
  /**
   * The bytes that it holds, a power of 2 from 64 to 2^30. Each message takes 8 more than its own,
   * rounded up to a multiple of 8. No message can be longer than half of it, less 8.
   *
   * @default {65536}
   */
  capacity?: number | undefined;
}

/** Options of {@linkcode Channel.open} and {@linkcode Channel.fromId}. */
export interface ChannelOpenOptions<Item> extends CodecOptions<Item> {}

/** Options of {@linkcode Channel.create}. */
export interface ChannelCreateOptions<Item>
  extends CreateOptions, MembersOptions, ChannelSizeOptions, CodecOptions<Item> {}

/** Options of {@linkcode Channel.openOrCreate}. */
export interface ChannelOpenOrCreateOptions<Item>
  extends OpenOrCreateOptions, MembersOptions, ChannelSizeOptions, CodecOptions<Item> {}

/** How many died in the middle of it. */
export interface AbandonedMessages {
  /** How many died as they sent: the message of each was sent whole or not at all. */
  readonly sending: number;
  /** How many died as they received: the message of each is still there, or went with it. */
  readonly receiving: number;
}

const MIN_CAPACITY = 64;
const MAX_CAPACITY = 2 ** 30;

const kind = new CodedKind<ChannelSizeOptions>(
  {
    kind: "channel",
    size: ({ capacity, limit }) =>
      isPowerOf2(capacity, MIN_CAPACITY, MAX_CAPACITY) && limit === limitOf(capacity)
        ? ringSize(capacity)
        : undefined,
    describe: ({ capacity }) => `a capacity of ${capacity} bytes`,
  },
  ({ capacity = 65536 }) => {
    const action = `make a channel of ${capacity} bytes`;
    checkPowerOf2(capacity, MIN_CAPACITY, MAX_CAPACITY, action);
    return { capacity, limit: limitOf(capacity) };
  },
);

function limitOf(capacity: number): number {
  return capacity / 2 - 8;
}

/**
 * Messages in shared memory, from any number of producers to any number of consumers, in any process.
 *
 * - **Cost:** as long as there are messages and room, nobody makes a system call: a small message takes
 *   well under a microsecond. Who finds nothing looks for some microseconds more and then sleeps.
 * - **Order:** each producer's messages are received in the order in which it sent them.
 * - **Once:** each message goes to one consumer.
 * - **Bounded:** a full channel makes producers wait.
 * - **Death:** a process that is killed, at whatever moment, leaves nothing stuck and nothing doubled. The message
 *   that it was sending is sent as a whole or not at all, the one that it was receiving stays or is lost with it:
 *   `abandoned` counts these. Use a `WorkQueue` for what must not be lost with its consumer.
 * - **Lifetime:** messages stay as long as the channel does.
 *
 * @example
 * ```ts
 * import { Channel } from "@sysv/ipc/shared";
 * import { assertEquals } from "@std/assert";
 *
 * using channel = Channel.create<{ resize: string }>();
 * using same = Channel.fromId<{ resize: string }>(channel.id); // in another process
 * await channel.send({ resize: "cat.jpg" });
 * assertEquals(await same.receive(), { resize: "cat.jpg" });
 * ```
 */
export class Channel<Item = unknown> extends SharedStructure {
  /** The bytes that it holds. */
  readonly capacity: number;
  /** The bytes of the longest message. */
  readonly maxBytes: number;
  readonly #members: Members;
  readonly #ring: Ring;
  readonly #producer: Producer;
  readonly #consumer: Consumer;
  readonly #codec: Codec<Item>;
  #readable: ReadableStream<Item> | undefined;
  #writable: WritableStream<Item> | undefined;

  static {
    showAs<Channel>("Channel", this.prototype, (channel) => ({
      id: channel.id,
      key: shownKey(channel.key),
      used: () => channel.used,
      capacity: channel.capacity,
      closed: () => channel.closed,
    }));
  }

  private constructor({ pair, codec }: Coded<Item> = unmade()) {
    const members = new Members(pair, [producers, consumers]);
    super(internal, members);
    this.#members = members;
    this.#ring = new Ring(members);
    this.#producer = new Producer(members, this.#ring);
    this.#consumer = new Consumer(members, this.#ring);
    this.#codec = codec;
    this.capacity = members.shape.capacity;
    this.maxBytes = members.shape.limit;
  }

  /**
   * Creates a channel. Disposing the handle removes it, unless `owner` is false.
   *
   * @param options The codec, the capacity, the key, the mode, who owns it, and how many can take part.
   * @returns A handle to an empty channel.
   * @throws {IpcError} EEXIST if the key is taken, ENOSPC or ENOMEM if a limit of the system is reached.
   * @throws {RangeError} If the capacity is no power of 2 from 64 to 2^30.
   */
  static create<Item = unknown>(options: ChannelCreateOptions<Item> = {}): Channel<Item> {
    return new Channel(kind.create(options));
  }

  /**
   * Opens a channel that exists.
   *
   * @param key The key or name.
   * @param options The codec.
   * @returns A handle that does not own it.
   * @throws {IpcError} ENOENT if there is none, EINVAL if it is something else or of another codec,
   * EACCES if its mode does not permit it, EAGAIN if its creator has not finished it,
   * EIDRM if it is just being removed.
   */
  static open<Item = unknown>(key: Key, options: ChannelOpenOptions<Item> = {}): Channel<Item> {
    return new Channel(kind.open(key, options));
  }

  /**
   * Opens a channel, or creates it, safely against every race and crash.
   *
   * @param key The key or name.
   * @param options The codec, the capacity, the mode to create it with, how many can take part, and
   * whether to accept one of another user.
   * @returns A handle that does not own it.
   * @throws {IpcError} EPERM if another user created it, EINVAL if it is something else, of another codec
   * or of another capacity, EACCES, ENOSPC, ENOMEM,
   * EAGAIN if another process is stopped as it makes it.
   */
  static openOrCreate<Item = unknown>(
    key: Key,
    options: ChannelOpenOrCreateOptions<Item> = {},
  ): Channel<Item> {
    return new Channel(kind.openOrCreate(key, options));
  }

  /**
   * Takes a channel by the identifier that another process passed.
   *
   * @param id The identifier.
   * @param options The codec.
   * @returns A handle that does not own it.
   * @throws {IpcError} EIDRM if there is none, EINVAL if it is something else or of another codec,
   * EACCES if its mode does not permit it.
   */
  static fromId<Item = unknown>(id: number, options: ChannelOpenOptions<Item> = {}): Channel<Item> {
    return new Channel(kind.fromId(id, options));
  }

  /** The bytes that its messages take, of `capacity`. */
  get used(): number {
    this.#members.check();
    return this.#ring.used;
  }

  /** Whether it is closed: nobody can send any more. */
  get closed(): boolean {
    this.#members.check();
    return this.#members.closed;
  }

  /** How many died as they sent or received, and so how many messages may have gone with them. */
  get abandoned(): AbandonedMessages {
    this.#members.check();
    return {
      sending: this.#ring.deaths("producers"),
      receiving: this.#ring.deaths("consumers"),
    };
  }

  // Sending.

  /**
   * Sends a message, waiting until there is room for it.
   *
   * @param item The message.
   * @param options The signal and the timeout.
   * @returns A promise that rejects with the reason of the signal, with a DOMException "TimeoutError" if
   * the timeout expires, with a ReferenceError if the handle is disposed: nothing was sent then. And with a
   * RangeError if it is longer than `maxBytes`, with IpcError EPIPE if the channel is closed, EIDRM if
   * it is removed, ENOSPC if all places are taken.
   */
  async send(item: Item, options?: WaitOptions): Promise<void> {
    const bytes = this.#encode(item);
    const limits = readWaitOptions(options);
    limits.signal?.throwIfAborted();
    if (!this.#producer.line.taken && this.#ring.trySend(bytes) === DONE) {
      const due = turn();
      return due === undefined ? undefined : await due;
    }
    // What waits must not change with the buffer of who sends it.
    await this.#producer.send(copyOf(bytes), limits);
  }

  /**
   * Sends a message, blocking the thread until there is room for it.
   *
   * @param item The message.
   * @param options The timeout.
   * @throws {RangeError} If it is longer than `maxBytes`.
   * @throws {IpcError} EPIPE if the channel is closed, EINTR if the program handled a signal, EIDRM if
   * it is removed, ENOSPC if all places are taken.
   * @throws {DOMException} "TimeoutError" if the timeout expires.
   */
  sendSync(item: Item, options?: TimeoutOptions): void {
    checkTimeoutOptions(options);
    const bytes = this.#encode(item);
    if (this.#ring.trySend(bytes) === DONE) return;
    this.#producer.sendSync(bytes, options);
  }

  /**
   * Sends a message if there is room for it. Where there is none it looks once more, some microseconds
   * later.
   *
   * @param item The message.
   * @returns Whether it was sent.
   * @throws {RangeError} If it is longer than `maxBytes`.
   * @throws {IpcError} EPIPE if the channel is closed, EIDRM if it is removed, ENOSPC if all places are
   * taken.
   */
  trySend(item: Item): boolean {
    const bytes = this.#encode(item);
    let outcome = this.#ring.trySend(bytes);
    if (outcome === NOT_NOW) {
      this.#ring.sending.once();
      outcome = this.#ring.trySend(bytes);
    }
    return outcome === DONE || (outcome === BUSY && this.#producer.trySend(bytes));
  }

  #encode(item: Item): Uint8Array {
    const bytes = this.#codec.encode(item);
    if (bytes instanceof Uint8Array && bytes.length <= this.maxBytes) return bytes;
    throw this.#members.unfit(bytes, "send to");
  }

  // Receiving.

  /**
   * Receives a message, waiting until there is one. Promises of a handle get theirs in order.
   *
   * @param options The signal and the timeout.
   * @returns A promise of the message. It rejects with the reason of the signal, with a DOMException
   * "TimeoutError" if the timeout expires, with a ReferenceError if the handle is disposed: nothing was
   * received then. And with IpcError EPIPE if the channel is closed and empty, EIDRM if it is removed,
   * ENOSPC if all places are taken.
   */
  receive(options?: WaitOptions): Promise<Item> {
    return promised(() => {
      const limits = readWaitOptions(options);
      limits.signal?.throwIfAborted();
      const { fresh, line } = this.#consumer;
      const got = line.taken ? BUSY : this.#ring.tryReceive();
      const decode = (bytes: Uint8Array<ArrayBuffer>) => this.#codec.decode(bytes);
      if (typeof got === "number") return this.#consumer.receive(fresh, limits).then(decode);
      const due = turn();
      return due === undefined ? decode(got) : due.then(() => decode(got));
    });
  }

  /**
   * Receives a message into a buffer, waiting until there is one: without a new buffer for each.
   *
   * @param buffer Where the bytes of the message go, as the codec of its sender made them.
   * @param options The signal and the timeout.
   * @returns A promise of the number of bytes. It rejects as {@linkcode Channel.receive} does, and with a
   * RangeError if the buffer is too small: the message stays then.
   */
  async receiveInto(
    buffer: ArrayBuffer | ArrayBufferView,
    options?: WaitOptions,
  ): Promise<number> {
    const bytes = this.#target(buffer);
    const limits = readWaitOptions(options);
    limits.signal?.throwIfAborted();
    if (!this.#consumer.line.taken) {
      const length = this.#ring.tryReceiveInto(bytes);
      if (length >= 0) {
        const due = turn();
        if (due !== undefined) await due;
        return length;
      }
    }
    return await this.#consumer.receive(this.#consumer.into(bytes), limits);
  }

  /**
   * Receives a message, blocking the thread until there is one.
   *
   * @param options The timeout.
   * @returns The message.
   * @throws {IpcError} EPIPE if the channel is closed and empty, EINTR if the program handled a signal,
   * EIDRM if it is removed, ENOSPC if all places are taken.
   * @throws {DOMException} "TimeoutError" if the timeout expires.
   */
  receiveSync(options?: TimeoutOptions): Item {
    checkTimeoutOptions(options);
    const got = this.#ring.tryReceive();
    if (typeof got !== "number") return this.#codec.decode(got);
    return this.#codec.decode(this.#consumer.receiveSync(this.#consumer.fresh, options));
  }

  /**
   * Receives a message into a buffer, blocking the thread until there is one.
   *
   * @param buffer Where the bytes of the message go.
   * @param options The timeout.
   * @returns The number of bytes.
   * @throws {RangeError} If the buffer is too small: the message stays.
   * @throws {IpcError} EPIPE, EINTR, EIDRM, ENOSPC as {@linkcode Channel.receiveSync} does.
   * @throws {DOMException} "TimeoutError" if the timeout expires.
   */
  receiveIntoSync(buffer: ArrayBuffer | ArrayBufferView, options?: TimeoutOptions): number {
    checkTimeoutOptions(options);
    const bytes = this.#target(buffer);
    const length = this.#ring.tryReceiveInto(bytes);
    if (length >= 0) return length;
    return this.#consumer.receiveSync(this.#consumer.into(bytes), options);
  }

  /**
   * Receives a message if there is one. Where there is none it looks once more, some microseconds later.
   *
   * @returns The message, or undefined.
   * @throws {IpcError} EIDRM if it is removed, ENOSPC if all places are taken.
   */
  tryReceive(): Item | undefined {
    let got = this.#ring.tryReceive();
    if (got === NOT_NOW) {
      this.#ring.receiving.once();
      got = this.#ring.tryReceive();
    }
    if (typeof got !== "number") return this.#codec.decode(got);
    if (got !== BUSY) return this.#nothing();
    const bytes = this.#consumer.tryReceive(this.#consumer.fresh);
    return bytes === undefined ? undefined : this.#codec.decode(bytes);
  }

  /**
   * Receives a message into a buffer if there is one.
   *
   * @param buffer Where the bytes of the message go.
   * @returns The number of bytes, or undefined.
   * @throws {RangeError} If the buffer is too small: the message stays.
   * @throws {IpcError} EIDRM if it is removed, ENOSPC if all places are taken.
   */
  tryReceiveInto(buffer: ArrayBuffer | ArrayBufferView): number | undefined {
    const bytes = this.#target(buffer);
    let length = this.#ring.tryReceiveInto(bytes);
    if (length === NOT_NOW) {
      this.#ring.receiving.once();
      length = this.#ring.tryReceiveInto(bytes);
    }
    if (length === BUSY) return this.#consumer.tryReceive(this.#consumer.into(bytes));
    return length < 0 ? this.#nothing() : length;
  }

  #nothing(): undefined {
    this.#members.refuseRemoved("receive from");
    return undefined;
  }

  /** Receives message after message, until the channel is closed and empty, or removed. */
  [Symbol.asyncIterator](): AsyncGenerator<Item, void, void> {
    return new Iteration({ next: (options) => this.receive(options), isEnd });
  }

  /**
   * A stream of what is received, the same until it is cancelled or broken, then a new one. It takes a
   * message only while somebody reads it: what comes as it is cancelled, or as its reader is released,
   * stays in the channel. It ends as the iteration does.
   */
  get readable(): ReadableStream<Item> {
    const ended = () => this.#readable = undefined;
    return this.#readable ??= readableOf((demand) => this.#hand(demand), isEnd, ended);
  }

  async #hand({ signal, isRead, hand }: Demand<Item>): Promise<void> {
    const taking = this.#consumer.handing(isRead, (bytes) => hand(this.#codec.decode(bytes)));
    await this.#consumer.receive(taking, { signal });
    await turn();
  }

  /**
   * A stream of what is to be sent, the same until it is closed, aborted or broken, then a new one. While
   * the channel is full, the writer waits; aborting the stream ends that wait, and nothing was sent.
   */
  get writable(): WritableStream<Item> {
    const ended = () => this.#writable = undefined;
    return this.#writable ??= writableOf((item, options) => this.send(item, options), ended);
  }

  /**
   * Closes the channel for everybody: nobody can send any more, and who receives gets what is left.
   * Does nothing the second time.
   *
   * @throws {IpcError} EIDRM if it is removed.
   */
  close(): void {
    this.#members.check();
    this.#members.refuseRemoved("close");
    this.#producer.close();
  }

  #target(buffer: ArrayBuffer | ArrayBufferView): Uint8Array {
    if (buffer instanceof Uint8Array) return buffer;
    return bytesOf(buffer as ArrayBuffer, `receive from ${this.#members.title}`);
  }
}
