/**
 * Messages to everybody: {@linkcode Broadcast}.
 *
 * @module
 */

import { copyOf } from "../ffi/bytes.ts";
import { isRemoved } from "../ffi/error.ts";
import { checkInternal, internal } from "../ipc/internal.ts";
import { showAs, shownKey } from "../ipc/inspect.ts";
import type { Key } from "../ipc/key.ts";
import type { CreateOptions, OpenOrCreateOptions } from "../ipc/object.ts";
import {
  checkTimeoutOptions,
  readWaitOptions,
  type TimeoutOptions,
  type WaitOptions,
} from "../wait/options.ts";
import { Iteration } from "../wait/iteration.ts";
import { turn } from "../wait/turn.ts";
import type { Codec, CodecOptions } from "./codec.ts";
import { checkPowerOf2, type Coded, CodedKind, isPowerOf2 } from "./coded.ts";
import { type Flow, remaining } from "./flow.ts";
import { Log, logSize, type Position, recordLimit, writers } from "./log.ts";
import { Members } from "./members.ts";
import type { MembersOptions } from "./pair.ts";
import { Port } from "./port.ts";
import { Line } from "./sleepers.ts";
import { SharedStructure, unmade } from "./structure.ts";

/** How much is kept for those who are slow. */
export interface BroadcastSizeOptions {
  /**
   * The bytes that it keeps, a power of 2 from 64 to 2^30. Each message takes 16 more than its own,
   * rounded up to a multiple of 8. No message can be longer than half of it, less 16.
   *
   * @default {65536}
   */
  capacity?: number | undefined;
}

/** Options of {@linkcode Broadcast.open} and {@linkcode Broadcast.fromId}. */
export interface BroadcastOpenOptions<Item> extends CodecOptions<Item> {}

/** Options of {@linkcode Broadcast.create}. */
export interface BroadcastCreateOptions<Item>
  extends CreateOptions, MembersOptions, BroadcastSizeOptions, CodecOptions<Item> {}

/** Options of {@linkcode Broadcast.openOrCreate}. */
export interface BroadcastOpenOrCreateOptions<Item>
  extends OpenOrCreateOptions, MembersOptions, BroadcastSizeOptions, CodecOptions<Item> {}

/** A message as a subscriber gets it. */
export interface BroadcastMessage<Item> {
  /** What was published. */
  readonly value: Item;
  /** How many messages before this one were overwritten before this subscriber could read them. */
  readonly missed: number;
}

const MIN_CAPACITY = 64;
const MAX_CAPACITY = 2 ** 30;

const kind = new CodedKind<BroadcastSizeOptions>(
  {
    kind: "broadcast",
    size: ({ capacity, limit }) =>
      isPowerOf2(capacity, MIN_CAPACITY, MAX_CAPACITY) && limit === recordLimit(capacity)
        ? logSize(capacity)
        : undefined,
    describe: ({ capacity }) => `a capacity of ${capacity} bytes`,
  },
  ({ capacity = 65536 }) => {
    checkPowerOf2(capacity, MIN_CAPACITY, MAX_CAPACITY, `keep ${capacity} bytes of messages`);
    return { capacity, limit: recordLimit(capacity) };
  },
);

/**
 * Messages to all who have subscribed, in any process.
 *
 * - **Everybody** gets every message that is published after it has subscribed, in the same order.
 * - **Slow** subscribers hold nobody up: what they have not read is overwritten at last, and they are
 *   told how many they have missed.
 * - **Dead** ones cost nothing, and need no farewell: nobody knows where a subscriber is but itself.
 * - **Cost:** publishing and receiving make no system call unless somebody sleeps.
 * - **Death:** a publisher that is killed has published its message whole or not at all. One that was not
 *   published can count as missed.
 *
 * @example
 * ```ts
 * import { Broadcast } from "@sysv/ipc/shared";
 * import { assertEquals } from "@std/assert";
 *
 * using news = Broadcast.create<string>();
 * const [one, two] = [news.subscribe(), news.subscribe()];
 * news.publishSync("reload");
 * assertEquals(await one.receive(), { value: "reload", missed: 0 });
 * assertEquals(two.tryReceive(), { value: "reload", missed: 0 });
 * ```
 */
export class Broadcast<Item = unknown> extends SharedStructure {
  /** The bytes that it keeps. */
  readonly capacity: number;
  /** The bytes of the longest message. */
  readonly maxBytes: number;
  readonly #members: Members;
  readonly #log: Log;
  readonly #port: Port;
  readonly #codec: Codec<Item>;

  static {
    showAs<Broadcast>("Broadcast", this.prototype, (broadcast) => ({
      id: broadcast.id,
      key: shownKey(broadcast.key),
      capacity: broadcast.capacity,
    }));
  }

  private constructor({ pair, codec }: Coded<Item> = unmade()) {
    const members = new Members(pair, [writers]);
    super(internal, members);
    this.#members = members;
    this.#log = new Log(members);
    this.#port = new Port(members, writers);
    this.#codec = codec;
    this.capacity = members.shape.capacity;
    this.maxBytes = members.shape.limit;
  }

  /**
   * Creates a broadcast. Disposing the handle removes it, unless `owner` is false.
   *
   * @param options The codec, the capacity, the key, the mode, who owns it, and how many can take part.
   * @returns A handle to the broadcast.
   * @throws {IpcError} EEXIST if the key is taken, ENOSPC or ENOMEM if a limit of the system is reached.
   * @throws {RangeError} If the capacity is no power of 2 from 64 to 2^30.
   */
  static create<Item = unknown>(options: BroadcastCreateOptions<Item> = {}): Broadcast<Item> {
    return new Broadcast(kind.create(options));
  }

  /**
   * Opens a broadcast that exists.
   *
   * @param key The key or name.
   * @param options The codec.
   * @returns A handle that does not own it.
   * @throws {IpcError} ENOENT if there is none, EINVAL if it is something else or of another codec,
   * EACCES if its mode does not permit it, EAGAIN if its creator has not finished it,
   * EIDRM if it is just being removed.
   */
  static open<Item = unknown>(key: Key, options: BroadcastOpenOptions<Item> = {}): Broadcast<Item> {
    return new Broadcast(kind.open(key, options));
  }

  /**
   * Opens a broadcast, or creates it, safely against every race and crash.
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
    options: BroadcastOpenOrCreateOptions<Item> = {},
  ): Broadcast<Item> {
    return new Broadcast(kind.openOrCreate(key, options));
  }

  /**
   * Takes a broadcast by the identifier that another process passed.
   *
   * @param id The identifier.
   * @param options The codec.
   * @returns A handle that does not own it.
   * @throws {IpcError} EIDRM if there is none, EINVAL if it is something else or of another codec,
   * EACCES if its mode does not permit it.
   */
  static fromId<Item = unknown>(
    id: number,
    options: BroadcastOpenOptions<Item> = {},
  ): Broadcast<Item> {
    return new Broadcast(kind.fromId(id, options));
  }

  /**
   * Publishes a message, waiting while others publish theirs.
   *
   * @param item The message.
   * @param options The signal and the timeout.
   * @returns A promise that rejects with the reason of the signal, with a DOMException "TimeoutError" if
   * the timeout expires, with a ReferenceError if the handle is disposed, with a RangeError if the message is
   * longer than `maxBytes`, with IpcError EIDRM if the broadcast is removed, ENOSPC if all places are
   * taken.
   */
  async publish(item: Item, options?: WaitOptions): Promise<void> {
    const limits = readWaitOptions(options);
    const bytes = copyOf(this.#encode(item));
    await this.#port.perform(PUBLISH, limits, () => this.#append(bytes));
    const due = turn();
    if (due !== undefined) await due;
  }

  /**
   * Publishes a message, blocking the thread while others publish theirs.
   *
   * @param item The message.
   * @param options The timeout.
   * @throws {RangeError} If it is longer than `maxBytes`.
   * @throws {IpcError} EINTR if the program handled a signal, EIDRM if it is removed, ENOSPC if all
   * places are taken.
   * @throws {DOMException} "TimeoutError" if the timeout expires.
   */
  publishSync(item: Item, options?: TimeoutOptions): void {
    checkTimeoutOptions(options);
    const bytes = this.#encode(item);
    this.#port.takeSync(PUBLISH, options);
    this.#append(bytes);
  }

  #append(bytes: Uint8Array): void {
    try {
      this.#log.append(bytes);
    } finally {
      this.#port.release();
    }
  }

  #encode(item: Item): Uint8Array {
    const bytes = this.#codec.encode(item);
    if (bytes instanceof Uint8Array && bytes.length <= this.maxBytes) return bytes;
    throw this.#members.unfit(bytes, PUBLISH);
  }

  /** Begins to listen: what is published from now on is received. */
  subscribe(): BroadcastSubscription<Item> {
    this.#members.check();
    return new BroadcastSubscription(internal, this.#members, this.#log, this.#codec);
  }
}

const PUBLISH = "publish by";
const RECEIVE = "receive from";

/**
 * What one subscriber of a {@linkcode Broadcast} has still to read.
 *
 * @example
 * ```ts
 * import { Broadcast } from "@sysv/ipc/shared";
 * import { assertEquals } from "@std/assert";
 *
 * using news = Broadcast.create<number>({ capacity: 256 });
 * const slow = news.subscribe();
 * for (let i = 1; i <= 100; i++) news.publishSync(i);
 * const first = slow.receiveSync();
 * assertEquals(first.value, first.missed + 1);
 * ```
 */
export class BroadcastSubscription<Item = unknown> {
  readonly #members: Members;
  readonly #log: Log;
  readonly #codec: Codec<Item>;
  readonly #position: Position;
  readonly #line = new Line();

  static {
    showAs<BroadcastSubscription>("BroadcastSubscription", this.prototype, (subscription) => ({
      id: subscription.#members.id,
      key: shownKey(subscription.#members.pair.memory.key),
    }));
  }

  /** @ignore */
  constructor(token: symbol, members: Members, log: Log, codec: Codec<Item>) {
    checkInternal(token, "subscribe()");
    this.#members = members;
    this.#log = log;
    this.#codec = codec;
    this.#position = log.end;
  }

  /**
   * Receives the next message, waiting until there is one. Promises of a subscription get theirs in order.
   *
   * @param options The signal and the timeout.
   * @returns A promise of the message and how many were missed before it. It rejects with the reason of
   * the signal, with a DOMException "TimeoutError" if the timeout expires, with a ReferenceError if the handle
   * of the broadcast is disposed, with IpcError EIDRM if it is removed, ENOSPC if all places are taken.
   */
  async receive(options?: WaitOptions): Promise<BroadcastMessage<Item>> {
    const limits = readWaitOptions(options);
    limits.signal?.throwIfAborted();
    if (!this.#line.taken) {
      const message = this.tryReceive();
      const due = message === undefined ? undefined : turn();
      if (due !== undefined) await due;
      if (message !== undefined) return message;
    }
    return await this.#wait(limits);
  }

  async #wait(options: WaitOptions): Promise<BroadcastMessage<Item>> {
    const members = this.#members;
    const rest = remaining(options);
    const perform = () => members.drive(() => this.#take(), RECEIVE, rest());
    return await members.inLine(this.#line, RECEIVE, options, perform);
  }

  *#take(): Flow<BroadcastMessage<Item>> {
    for (;;) {
      const message = this.tryReceive();
      if (message !== undefined) return message;
      yield* this.#log.awaitRecord(this.#position, this.#members.promises.place);
    }
  }

  /**
   * Receives the next message, blocking the thread until there is one.
   *
   * @param options The timeout.
   * @returns The message and how many were missed before it.
   * @throws {IpcError} EINTR if the program handled a signal, EIDRM if the broadcast is removed, ENOSPC
   * if all places are taken.
   * @throws {DOMException} "TimeoutError" if the timeout expires.
   */
  receiveSync(options: TimeoutOptions = {}): BroadcastMessage<Item> {
    checkTimeoutOptions(options);
    const members = this.#members;
    const rest = remaining(options);
    for (;;) {
      const message = this.tryReceive();
      if (message !== undefined) return message;
      members.enterSync(rest());
      const flow = this.#log.awaitRecord(this.#position, members.seat.place);
      members.driveSync(flow, RECEIVE, rest());
    }
  }

  /**
   * Receives the next message if there is one.
   *
   * @returns The message and how many were missed before it, or undefined.
   * @throws {IpcError} EIDRM if the broadcast is removed and nothing is left.
   */
  tryReceive(): BroadcastMessage<Item> | undefined {
    this.#members.check();
    const record = this.#log.read(this.#position);
    if (record !== undefined) {
      return { value: this.#codec.decode(record.bytes), missed: record.missed };
    }
    this.#members.refuseRemoved(RECEIVE);
    return undefined;
  }

  /** Receives message after message, until the broadcast is removed. */
  [Symbol.asyncIterator](): AsyncGenerator<BroadcastMessage<Item>, void, void> {
    return new Iteration({ next: (options) => this.receive(options), isEnd: isRemoved });
  }
}
