/**
 * Message queues: {@linkcode MessageQueue}.
 *
 * @module
 */

import { errors } from "../ffi/constants.ts";
import { abi } from "../ffi/platforms.ts";
import { isRemoved } from "../ffi/error.ts";
import type { Slot } from "../ffi/msgbuf.ts";
import { bytesOf } from "../ffi/bytes.ts";
import { checkInteger, checkOptions } from "../ffi/check.ts";
import { Iteration } from "../wait/iteration.ts";
import { anyWaiting, equalWait, wait } from "../wait/line.ts";
import {
  checkSignal,
  readWaitOptions,
  timeoutError,
  type TimeoutOptions,
  type WaitOptions,
} from "../wait/options.ts";
import { readableOf, writableOf } from "../wait/streams.ts";
import { turn } from "../wait/turn.ts";
import { fromId, open } from "./get.ts";
import type { Handle } from "./handle.ts";
import { showAs, shownKey } from "./inspect.ts";
import { checkInternal, internal } from "./internal.ts";
import type { Key } from "./key.ts";
import { Message, type MessageTypeSelector, pack, readType, select, unpack } from "./message.ts";
import {
  checkFits,
  incoming,
  outgoing,
  receiveError,
  receiveSync,
  sendSync,
  sendTimeout,
  tryReceive,
  trySend,
} from "./message_calls.ts";
import { type MessageChunk, sendChunk } from "./message_streams.ts";
import {
  receiveLine,
  ReceiveWait,
  refuseUnfitting,
  sendLine,
  SendWait,
  waitToSend,
} from "./message_waits.ts";
import type { CreateOptions, OpenOrCreateOptions, PermissionOptions } from "./object.ts";
import {
  createQueue,
  messageQueue,
  type MessageQueueInfo,
  openOrCreateQueue,
  queueInfo,
  setPermissions,
} from "./queue_handle.ts";

/** Options of {@linkcode MessageQueue.create}. */
export interface MessageQueueCreateOptions extends CreateOptions {
  /**
   * The maximum number of bytes that the queue holds. More than the system's default needs a privilege (CAP_SYS_RESOURCE).
   *
   * @default {undefined} The default of the system (MSGMNB, usually 16384).
   */
  maxBytes?: number | undefined;
}

/** Options of {@linkcode MessageQueue.openOrCreate}. */
export interface MessageQueueOpenOrCreateOptions extends OpenOrCreateOptions {
  /**
   * The maximum number of bytes that the queue holds, if it is created.
   *
   * @default {undefined} The default of the system (MSGMNB, usually 16384).
   */
  maxBytes?: number | undefined;
}

/** Options of {@linkcode MessageQueue.setPermissions}. */
export interface MessageQueuePermissionOptions extends PermissionOptions {
  /** The maximum number of bytes that the queue holds. More than the system's default needs a privilege (CAP_SYS_RESOURCE). */
  maxBytes?: number | undefined;
}

/** Options of {@linkcode MessageQueue.trySend}. */
export interface SendOptions {
  /**
   * The type by which receivers select, at least 1.
   *
   * @default {1}
   */
  type?: number | bigint | undefined;
}

/** Options of {@linkcode MessageQueue.send}: type, timeout, signal. */
export interface SendWaitOptions extends SendOptions, WaitOptions {}

/** Options of {@linkcode MessageQueue.sendSync}: type, timeout. */
export interface SendSyncOptions extends SendOptions, TimeoutOptions {}

/** Options of {@linkcode MessageQueue.tryReceive}. */
export interface ReceiveOptions {
  /**
   * Which messages to receive.
   *
   * @default {undefined} The oldest.
   */
  type?: MessageTypeSelector | undefined;
}

/** Options of {@linkcode MessageQueue.receive}: type, timeout, signal. */
export interface ReceiveWaitOptions extends ReceiveOptions, WaitOptions {}

/** Options of {@linkcode MessageQueue.receiveSync}: type, timeout. */
export interface ReceiveSyncOptions extends ReceiveOptions, TimeoutOptions {}

/** Options of {@linkcode MessageQueue.messages}. */
export interface MessagesOptions extends ReceiveOptions {
  /** Ends the iteration when it is aborted: it throws the reason of the signal. */
  signal?: AbortSignal | undefined;
}

/** What {@linkcode MessageQueue.receiveInto} and its other forms return. */
export interface MessageInfo {
  /** The number of its bytes. */
  readonly length: number;
  /** Its type. */
  readonly type: number;
}

/**
 * A queue of messages that processes share. Each message is received as a whole, by one receiver.
 *
 * - **Order:** messages of one type are received in the order in which they were sent.
 * - **Selection:** a receiver can ask for a type, and leaves all others in the queue.
 * - **Limits:** a full queue makes senders wait; the system limits the length of a message (MSGMAX,
 *   usually 8192 bytes) and the bytes of a queue (`maxBytes`, usually 16384).
 * - **Death:** messages in the queue survive all processes; none is ever sent or received in part. A message that
 *   was received dies with its receiver.
 * - **Lifetime:** it outlives its processes. Disposing the handle of `create` removes it, with its messages.
 *
 * @example
 * ```ts
 * import { MessageQueue } from "@sysv/ipc";
 * import { assertEquals } from "@std/assert";
 *
 * using queue = MessageQueue.create();
 * queue.trySend("later", { type: 2 });
 * queue.trySend("first", { type: 1 });
 * assertEquals(queue.tryReceive({ type: 1 })?.text(), "first");
 * assertEquals(queue.tryReceive()?.text(), "later");
 * ```
 *
 * @see https://man7.org/linux/man-pages/man2/msgop.2.html
 */
export class MessageQueue implements AsyncIterable<Message>, Disposable {
  readonly #handle: Handle;
  #readable: ReadableStream<Message> | undefined;
  #writable: WritableStream<MessageChunk> | undefined;

  /** @ignore */
  constructor(token: symbol, handle: Handle) {
    checkInternal(token, "MessageQueue.create() or its like");
    this.#handle = handle;
  }

  /**
   * Creates a queue. Disposing the handle removes it, unless `owner` is false.
   *
   * @param options The key, limit and mode, and whether the handle owns it.
   * @returns An empty queue.
   * @throws {IpcError} EEXIST if the key is taken, ENOSPC if a limit of the system is reached, EPERM
   * if `maxBytes` needs a privilege.
   */
  static create(options?: MessageQueueCreateOptions): MessageQueue {
    checkOptions(options);
    const { maxBytes, ...others } = options ?? {};
    return new MessageQueue(internal, createQueue(others, maxBytes));
  }

  /**
   * Opens a queue that exists.
   *
   * @param key The key or name.
   * @returns A queue that this handle does not own.
   * @throws {IpcError} ENOENT if there is none, EACCES if its mode permits neither sending nor receiving.
   */
  static open(key: Key): MessageQueue {
    return new MessageQueue(internal, open(messageQueue, key));
  }

  /**
   * Opens a queue, or creates it. Safe against races and crashes: any number of processes may call it at
   * once, or remove the queue meanwhile. A creator that dies before it has set `maxBytes` leaves the
   * system's default. If the call fails, an object that it created is removed.
   *
   * @param key The key or name.
   * @param options The mode and limit to create it with.
   * @returns A queue that this handle does not own.
   * @throws {IpcError} EPERM if another user created it or `maxBytes` needs a privilege, EACCES, ENOSPC.
   */
  static openOrCreate(key: Key, options?: MessageQueueOpenOrCreateOptions): MessageQueue {
    checkOptions(options);
    const { maxBytes, ...others } = options ?? {};
    return new MessageQueue(internal, openOrCreateQueue(key, others, maxBytes));
  }

  /**
   * Takes a queue by the identifier that another process passed.
   *
   * @param id The identifier.
   * @returns A queue that this handle does not own.
   * @throws {IpcError} EIDRM if no queue has it.
   */
  static fromId(id: number): MessageQueue {
    return new MessageQueue(internal, fromId(messageQueue, id));
  }

  /** The identifier, which other processes of this machine can pass to `fromId`. */
  get id(): number {
    return this.#handle.id;
  }

  /** The key, undefined for a private queue. */
  get key(): number | undefined {
    return this.#handle.key;
  }

  /** The name by which it was opened or created; undefined if that was a number, or there was none. */
  get name(): string | undefined {
    return this.#handle.givenName;
  }

  /** Whether the call that returned this handle created the queue, which is true in exactly one of all processes. */
  get created(): boolean {
    return this.#handle.created;
  }

  /** Whether disposing this handle removes the queue. */
  get owned(): boolean {
    return this.#handle.owned;
  }

  /**
   * Sends a message, waiting while the queue is full. Messages of this thread to a queue go in the order of the
   * calls; `trySend`, `sendSync` and a timeout of 0 overtake.
   *
   * @param data Text, sent as UTF-8, or bytes. They are copied at once.
   * @param options The type, the signal and the timeout.
   * @returns A promise that rejects with the reason of the signal, with a DOMException "TimeoutError"
   * if the timeout expires, with a ReferenceError if the handle is disposed: nothing is sent then. It
   * rejects with IpcError EIDRM if the queue is removed, EINVAL if the message is longer than the system
   * allows, EACCES. If it was sent in that very moment, the promise resolves.
   */
  async send(
    data: string | ArrayBuffer | ArrayBufferView,
    options?: SendWaitOptions,
  ): Promise<void> {
    const type = readType(options, this.#handle);
    const { timeout, signal } = readWaitOptions(options);
    const handle = this.#handle;
    const length = pack(outgoing, data, type, handle);
    signal?.throwIfAborted();
    if (timeout === 0 || !anyWaiting() || equalWait(sendLine(handle)) === undefined) {
      const sent = trySend(handle, length);
      if (sent || timeout === 0) await turn();
      if (sent) return;
      if (timeout === 0) throw sendTimeout(handle, length, 0);
    } else checkFits(handle, length);
    await waitToSend(new SendWait(handle, outgoing, length, timeout, signal));
  }

  /**
   * Sends a message, blocking the thread while the queue is full.
   *
   * @param data Text, sent as UTF-8, or bytes.
   * @param options The type and the timeout.
   * @throws {DOMException} "TimeoutError" if the timeout expires: nothing is sent.
   * @throws {IpcError} EINVAL if the message is longer than the system allows, EINTR if the program
   * handled a signal, EIDRM if the queue is removed, EACCES. Nothing is sent then.
   */
  sendSync(data: string | ArrayBuffer | ArrayBufferView, options?: SendSyncOptions): void {
    const type = options === undefined ? 1 : readType(options, this.#handle);
    const timeout = options === undefined ? Infinity : readWaitOptions(options).timeout;
    sendSync(this.#handle, pack(outgoing, data, type, this.#handle), timeout);
  }

  /**
   * Sends a message if the queue has room; never waits.
   *
   * @param data Text, sent as UTF-8, or bytes.
   * @param options The type, 1 unless given.
   * @returns Whether it had room.
   * @throws {IpcError} EINVAL if the message is longer than the system allows, EIDRM if the queue is removed, EACCES.
   */
  trySend(data: string | ArrayBuffer | ArrayBufferView, options?: SendOptions): boolean {
    const type = options === undefined ? 1 : readType(options, this.#handle);
    return trySend(this.#handle, pack(outgoing, data, type, this.#handle));
  }

  /**
   * Receives a message, waiting until there is one.
   *
   * @param options Which messages to receive, the oldest unless given, the signal and the timeout.
   * @returns A promise of the message. It rejects with the reason of the signal, with a DOMException
   * "TimeoutError" if the timeout expires, with a ReferenceError if the handle is disposed: no message is
   * received then. It rejects with IpcError EIDRM if the queue is removed, EACCES. If a message was received in
   * that very moment and no equal wait of this thread takes it, the promise resolves.
   */
  async receive(options?: ReceiveWaitOptions): Promise<Message> {
    return await this.#receive(options, undefined, (slot, length) => unpack(slot, length));
  }

  /**
   * Receives a message, blocking the thread until there is one.
   *
   * @param options Which messages to receive, the oldest unless given, and the timeout.
   * @returns The message.
   * @throws {DOMException} "TimeoutError" if the timeout expires: no message is taken.
   * @throws {IpcError} EINTR if the program handled a signal, EIDRM if the queue is removed, EACCES.
   */
  receiveSync(options?: ReceiveSyncOptions): Message {
    return unpack(incoming, this.#receiveSync(options, undefined));
  }

  /**
   * Receives a message if there is one; never waits.
   *
   * @param options Which messages to receive, the oldest unless given.
   * @returns The message, or undefined.
   * @throws {IpcError} EIDRM if the queue is removed, EACCES.
   */
  tryReceive(options?: ReceiveOptions): Message | undefined {
    const length = tryReceive(this.#handle, select(options, this.#handle), undefined);
    return length < 0 ? undefined : unpack(incoming, length);
  }

  /**
   * Receives a message into a buffer, waiting until there is one.
   *
   * @param buffer The memory to copy the bytes to.
   * @param options Which messages to receive, the oldest unless given, the signal and the timeout.
   * @returns A promise of the number of bytes and the type. It rejects as `receive` does; with
   * IpcError E2BIG if the message is longer than the buffer: it stays in the queue; with a TypeError
   * if it is longer than what is left of the buffer, which was detached or resized meanwhile: the
   * message goes to the end of the queue.
   */
  async receiveInto(
    buffer: ArrayBuffer | ArrayBufferView,
    options?: ReceiveWaitOptions,
  ): Promise<MessageInfo> {
    const target = this.#target(buffer);
    const taken = await this.#receive(
      options,
      target.byteLength,
      (slot, length) =>
        length <= target.byteLength ? copy(slot, length, target) : unpack(slot, length),
    );
    if (!(taken instanceof Message)) return taken;
    throw await this.#undelivered(taken);
  }

  /**
   * Receives a message into a buffer, blocking the thread until there is one.
   *
   * @param buffer The memory to copy the bytes to.
   * @param options Which messages to receive, the oldest unless given, and the timeout.
   * @returns The number of bytes, and the type.
   * @throws {IpcError} E2BIG if the message is longer than the buffer: it stays in the queue; and the errors of `receiveSync`.
   */
  receiveIntoSync(
    buffer: ArrayBuffer | ArrayBufferView,
    options?: ReceiveSyncOptions,
  ): MessageInfo {
    const target = this.#target(buffer);
    return copy(incoming, this.#receiveSync(options, target.byteLength), target);
  }

  /**
   * Receives a message into a buffer if there is one; never waits.
   *
   * @param buffer The memory to copy the bytes to.
   * @param options Which messages to receive, the oldest unless given.
   * @returns The number of bytes, and the type, or undefined.
   * @throws {IpcError} E2BIG if the message is longer than the buffer: it stays in the queue; and the errors of `tryReceive`.
   */
  tryReceiveInto(
    buffer: ArrayBuffer | ArrayBufferView,
    options?: ReceiveOptions,
  ): MessageInfo | undefined {
    const target = this.#target(buffer);
    const selection = select(options, this.#handle);
    const length = tryReceive(this.#handle, selection, target.byteLength);
    return length < 0 ? undefined : copy(incoming, length, target);
  }

  /**
   * Iterates over the messages as they arrive, until the queue is removed.
   *
   * @returns An iterator, as `messages()` returns.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<Message> {
    return this.messages();
  }

  /**
   * Iterates over messages as they arrive, until the queue is removed. A message is received only when the
   * iterator is asked for one. `return()` of the iterator ends a wait of it.
   *
   * @param options Which messages to receive, all unless given, and the signal, whose reason the iteration throws.
   * @returns An iterator, which ends with IpcError EACCES if the mode does not permit receiving.
   */
  messages(options?: MessagesOptions): AsyncIterableIterator<Message> {
    checkOptions(options);
    const { type, signal } = options ?? {};
    checkSignal(signal);
    select({ type }, this.#handle); // Wrong ones throw here, not at the first message.
    const next = (ending: { readonly signal: AbortSignal }) => this.receive({ type, ...ending });
    return new Iteration({ next, isEnd: isRemoved }, signal);
  }

  /**
   * The messages as a stream, the same until it is cancelled or broken, then a new one; it closes when the queue is removed. A message
   * is received only when the stream is read. One that arrives just as the stream is cancelled goes back to the
   * end of the queue. One that arrives for a read that was given up, by `releaseLock` of its reader, waits in the
   * stream: read it before you cancel.
   */
  get readable(): ReadableStream<Message> {
    return this.#readable ??= readableOf(
      async ({ signal, hand }) => {
        const message = await this.receive({ signal });
        if (signal.aborted) await this.#giveBack(message);
        else hand(message);
      },
      isRemoved,
      () => this.#readable = undefined,
    );
  }

  /**
   * A stream of messages to send, the same until it is closed, aborted or broken, then a new one: text, bytes, `{ data, type }` or a
   * {@linkcode Message}. Writers wait while the queue is full. Aborting the stream ends
   * that wait. `pipeTo()` closes it at its end, unless given `{ preventClose: true }`.
   */
  get writable(): WritableStream<MessageChunk> {
    return this.#writable ??= writableOf(
      (chunk, options) => sendChunk((...given) => this.send(...given), chunk, options),
      () => this.#writable = undefined,
    );
  }

  /**
   * Copies a message and leaves it in the queue (Linux).
   *
   * @param index Its position, 0 for the oldest, 0 unless given.
   * @returns The message, or undefined if there are fewer.
   * @throws {IpcError} ENOSYS if the system cannot, EIDRM if the queue is removed, EACCES, EINVAL if
   * the message is longer than the system now allows (MSGMAX).
   */
  peek(index = 0): Message | undefined {
    checkInteger(index, 0, 0x7fffffff, `peek at message ${index} of ${this.#handle.name}`);
    this.#handle.check();
    const { MSG_COPY } = abi.constants;
    if (MSG_COPY === -1) throw receiveError(this.#handle, errors.ENOSYS);
    const length = tryReceive(this.#handle, { type: index | 0, flags: MSG_COPY }, undefined);
    return length < 0 ? undefined : unpack(incoming, length);
  }

  /**
   * Describes the queue.
   *
   * @returns A snapshot that does not change.
   * @throws {IpcError} EIDRM if it is removed, EACCES if its mode does not permit reading.
   */
  stat(): MessageQueueInfo {
    return queueInfo(this.#handle);
  }

  /**
   * Changes who may use the queue, and how much it holds.
   *
   * @param permissions The owner, group, mode and limit; what is left out stays as it is.
   * @throws {IpcError} EPERM if this process is neither owner nor creator nor privileged, or if
   * `maxBytes` needs a privilege, EINVAL if the user namespace does not know the user or the group,
   * EIDRM if it is removed.
   */
  setPermissions(permissions: MessageQueuePermissionOptions): void {
    checkOptions(permissions);
    const { maxBytes, ...others } = permissions;
    setPermissions(this.#handle, others, maxBytes);
    if (maxBytes !== undefined) refuseUnfitting(this.#handle);
  }

  /**
   * Removes the queue with its messages, now: pending waits, in all processes, end with EIDRM.
   *
   * @throws {IpcError} EPERM if this process is neither owner nor creator nor privileged, EIDRM if it
   * is removed already.
   */
  remove(): void {
    this.#handle.remove();
  }

  /** Ends the handle, and removes the queue if the handle owns it. Does nothing the second time. */
  [Symbol.dispose](): void {
    this.#handle.dispose();
  }

  /** Receives into a slot, at once if possible and no equal ones wait here, else in line. */
  async #receive<Result>(
    options: ReceiveWaitOptions | undefined,
    size: number | undefined,
    take: (slot: Slot, length: number) => Result,
  ): Promise<Result> {
    const handle = this.#handle;
    const selection = select(options, handle);
    const { timeout, signal } = readWaitOptions(options);
    signal?.throwIfAborted();
    handle.check();
    const key = anyWaiting() ? receiveLine(handle, selection, size) : undefined;
    if (timeout === 0 || key === undefined || equalWait(key) === undefined) {
      const length = tryReceive(handle, selection, size);
      const taken = length >= 0 ? take(incoming, length) : undefined;
      if (length >= 0 || timeout === 0) await turn();
      if (taken !== undefined) return taken;
      if (timeout === 0) throw timeoutError(`receive from ${handle.name}`, 0);
    }
    const line = key ?? receiveLine(handle, selection, size);
    return await wait(new ReceiveWait(line, handle, selection, size, timeout, signal, take));
  }

  /** Receives into the incoming slot, blocking the thread, and returns the length. */
  #receiveSync(options: ReceiveSyncOptions | undefined, size: number | undefined): number {
    const selection = select(options, this.#handle);
    const timeout = options === undefined ? Infinity : readWaitOptions(options).timeout;
    return receiveSync(this.#handle, selection, size, timeout);
  }

  #target(buffer: ArrayBuffer | ArrayBufferView): Uint8Array {
    if (buffer instanceof Uint8Array) return buffer;
    return bytesOf(buffer, `receive from ${this.#handle.name}`);
  }

  /** Gives back what has no place any more, and makes the error that says so, and whether that failed, too. */
  async #undelivered(message: Message): Promise<Error> {
    const text =
      `Cannot receive from ${this.#handle.name}: the buffer was detached or made smaller`;
    try {
      await this.#giveBack(message);
      return new TypeError(text);
    } catch (cause) {
      return new TypeError(`${text}, and its message cannot be given back`, { cause });
    }
  }

  /** Sends a message that has no receiver back to the end of the queue, even if this handle is disposed. */
  async #giveBack(message: Message): Promise<void> {
    try {
      await MessageQueue.fromId(this.id).send(message.bytes, { type: message.exactType });
    } catch (error) {
      if (!isRemoved(error)) throw error;
    }
  }
}

showAs("MessageQueue", MessageQueue.prototype, (queue) => ({
  id: queue.id,
  key: shownKey(queue.key),
  name: queue.name,
  messages: () => queue.stat().messages,
}));

/** Copies what was received into a user's buffer, which may be detached if there is nothing to copy. */
function copy(slot: Slot, length: number, target: Uint8Array): MessageInfo {
  if (length > 0) target.set(slot.first(length));
  return { length, type: slot.type };
}
