/**
 * Message queues: {@linkcode MessageQueue} and {@linkcode Message}.
 *
 * @module
 */

import { errors, IPC_NOWAIT } from "../ffi/constants.ts";
import { abi, msginfo } from "../ffi/platforms.ts";
import { readStruct } from "../ffi/struct.ts";
import { msgctl, msgget, msgrcv, msgsnd } from "../ffi/calls.ts";
import { IpcError } from "../ffi/error.ts";
import { limited, resume } from "../wait/interrupt.ts";
import { Slot, USUAL_LONGEST } from "../ffi/msgbuf.ts";
import { anyWaiting, isWaiting, wait } from "../wait/line.ts";
import { turn } from "../wait/turn.ts";
import { bytesOf } from "../ffi/bytes.ts";
import { checkInteger } from "../ffi/check.ts";
import {
  checkTimeout,
  timeoutError,
  type TimeoutOptions,
  type WaitOptions,
} from "../wait/options.ts";
import type { Key } from "./key.ts";
import {
  type Message,
  type MessageTypeSelector,
  pack,
  select,
  type Selection,
  unpack,
} from "./message.ts";
import { isRemoved, type MessageChunk, readableOf, writableOf } from "./message_streams.ts";
import { receiveError, ReceiveRequest, sendLine, SendRequest } from "./message_waits.ts";
import {
  create,
  type CreateOptions,
  dateOf,
  discard,
  fromId,
  type Handle,
  ipcError,
  type Kind,
  type ObjectInfo,
  open,
  openOrCreate,
  type OpenOrCreateOptions,
  type PermissionOptions,
} from "./object.ts";

/** Options of {@linkcode MessageQueue.create}. */
export interface MessageQueueCreateOptions extends CreateOptions {
  /**
   * The most bytes that the queue holds. More than the system's default needs a privilege (CAP_SYS_RESOURCE).
   *
   * @default {undefined} What the system gives (MSGMNB, usually 16384).
   */
  maxBytes?: number | undefined;
}

/** Options of {@linkcode MessageQueue.openOrCreate}. */
export interface MessageQueueOpenOrCreateOptions extends OpenOrCreateOptions {
  /**
   * The most bytes that the queue holds, if it is created.
   *
   * @default {undefined} What the system gives (MSGMNB, usually 16384).
   */
  maxBytes?: number | undefined;
}

/** Options of {@linkcode MessageQueue.setPermissions}. */
export interface MessageQueuePermissionOptions extends PermissionOptions {
  /** The most bytes that the queue holds. More than the system's default needs a privilege (CAP_SYS_RESOURCE). */
  maxBytes?: number | undefined;
}

/** How a message is sent. */
export interface SendOptions {
  /**
   * The type by which receivers select, at least 1.
   *
   * @default {1}
   */
  type?: number | undefined;
}

/** How a message is sent, how long to wait, and until what. */
export interface SendWaitOptions extends SendOptions, WaitOptions {}

/** How a message is sent, and how long to block the thread. */
export interface SendSyncOptions extends SendOptions, TimeoutOptions {}

/** How a message is received. */
export interface ReceiveOptions {
  /**
   * Which messages will do.
   *
   * @default {undefined} The oldest.
   */
  type?: MessageTypeSelector | undefined;
}

/** How a message is received, how long to wait, and until what. */
export interface ReceiveWaitOptions extends ReceiveOptions, WaitOptions {}

/** How a message is received, and how long to block the thread. */
export interface ReceiveSyncOptions extends ReceiveOptions, TimeoutOptions {}

/** Options of {@linkcode MessageQueue.messages}. */
export interface MessagesOptions extends ReceiveOptions {
  /** Ends the iteration when it is aborted: it throws the reason of the signal. */
  signal?: AbortSignal | undefined;
}

/** What {@linkcode MessageQueue.tryReceiveInto} and its like tell of a message. */
export interface MessageInfo {
  /** How many bytes it had. */
  readonly length: number;
  /** Its type. */
  readonly type: number;
}

/** What {@linkcode MessageQueue.stat} tells. */
export interface MessageQueueInfo extends ObjectInfo {
  /** The number of messages that wait in it. */
  readonly messages: number;
  /** The number of their bytes. */
  readonly bytes: number;
  /** The most bytes that it holds. */
  readonly maxBytes: number;
  /** When somebody sent last, undefined for never. */
  readonly lastSend: Date | undefined;
  /** When somebody received last, undefined for never. */
  readonly lastReceive: Date | undefined;
  /** The process that sent last, 0 for none. */
  readonly lastSendPid: number;
  /** The process that received last, 0 for none. */
  readonly lastReceivePid: number;
}

const messageQueue: Kind = {
  noun: "message queue",
  syscalls: { get: "msgget", control: "msgctl" },
  layout: abi.layouts.msqid,
  changeTime: "msg_ctime",
  letter: "q",
  statAny: abi.constants.MSG_STAT_ANY,
  largest: () => undefined,
  control: msgctl,
  limits() {
    const { msgmni } = limits();
    return `the system has ${msgmni} of at most ${msgmni} queues (MSGMNI, kernel.msgmni)`;
  },
};

function limits(): Record<string, number> {
  const buffer = new Uint8Array(msginfo.size);
  return msgctl(0, abi.constants.IPC_INFO, buffer) < 0 ? {} : readStruct(msginfo, buffer);
}

const OPEN_MODES = [0o600, 0o200, 0o400] as const;

// One slot serves all that is sent at once and one all that is received, as a call is over before the next.
const outgoing = new Slot();
const incoming = new Slot();

/**
 * A queue of messages that processes share. A message is taken whole, by one receiver.
 *
 * - **Order:** messages of one type are received in the order in which they were sent.
 * - **Selection:** a receiver can ask for a type, and leaves the others where they are.
 * - **Limits:** a full queue makes senders wait; the system limits the length of a message (MSGMAX,
 *   usually 8192 bytes) and the bytes of a queue (`maxBytes`, usually 16384).
 * - **Death:** what is in the queue survives all processes; a message is never half sent or half
 *   taken. What a receiver has taken dies with it.
 * - **Lifetime:** it outlives its processes. Disposing the handle that created it removes it, with its messages.
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

  private constructor(handle: Handle) {
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
  static create({ maxBytes, ...options }: MessageQueueCreateOptions = {}): MessageQueue {
    checkMaxBytes(maxBytes);
    const handle = create(messageQueue, msgget, options);
    try {
      if (maxBytes !== undefined) setPermissions(handle, {}, maxBytes);
      return new MessageQueue(handle);
    } catch (error) {
      discard(handle, error);
      throw error;
    }
  }

  /**
   * Opens a queue that exists.
   *
   * @param key The key or name.
   * @returns A queue that this handle does not own.
   * @throws {IpcError} ENOENT if there is none, EACCES if its mode permits neither sending nor receiving.
   */
  static open(key: Key): MessageQueue {
    return new MessageQueue(open(messageQueue, msgget, key, OPEN_MODES));
  }

  /**
   * Opens a queue, or creates it. Safe against every race: any number of processes may call it at
   * once, or remove the queue meanwhile. A creator that dies before it has set `maxBytes` leaves the
   * system's default. What it made is gone again if it fails.
   *
   * @param key The key or name.
   * @param options The mode and limit to create it with.
   * @returns A queue that this handle does not own.
   * @throws {IpcError} EPERM if another user made it or `maxBytes` needs a privilege, EACCES, ENOSPC.
   */
  static openOrCreate(
    key: Key,
    { maxBytes, ...options }: MessageQueueOpenOrCreateOptions = {},
  ): MessageQueue {
    checkMaxBytes(maxBytes);
    const search = { get: msgget, modes: OPEN_MODES };
    return new MessageQueue(openOrCreate(messageQueue, search, key, options, (handle, created) => {
      if (created && maxBytes !== undefined) setPermissions(handle, {}, maxBytes);
    }));
  }

  /**
   * Takes the identifier of a queue that another process made, such as a parent.
   *
   * @param id The identifier.
   * @returns A queue that this handle does not own.
   * @throws {IpcError} EIDRM if no queue has it.
   */
  static fromId(id: number): MessageQueue {
    return new MessageQueue(fromId(messageQueue, id));
  }

  /** The identifier, by which other processes of this machine can take it. */
  get id(): number {
    return this.#handle.id;
  }

  /** The key, undefined for a private queue. */
  get key(): number | undefined {
    return this.#handle.key;
  }

  /** Whether disposing this handle removes the queue. */
  get owned(): boolean {
    return this.#handle.owned;
  }

  /**
   * Sends a message, waiting while the queue is full. What this thread sends to a queue goes in the
   * order in which it was sent, but for `trySend`, `sendSync` and a timeout of 0, which wait for nobody.
   *
   * @param data Text, sent as UTF-8, or bytes. They are copied at once.
   * @param options The type, the signal and the timeout.
   * @returns A promise that rejects with the reason of the signal, with a DOMException "TimeoutError"
   * if the time is up, with a ReferenceError if the handle is disposed: nothing is sent then. And
   * with IpcError EIDRM if the queue is removed, EINVAL if the message is longer than the system
   * allows, EACCES. If it was sent just then, the promise resolves all the same.
   */
  async send(data: string | BufferSource, options?: SendWaitOptions): Promise<void> {
    const timeout = checkTimeout(options?.timeout);
    const length = pack(outgoing, data, options?.type ?? 1, this.#handle);
    options?.signal?.throwIfAborted();
    if (timeout === 0 || !anyWaiting() || !isWaiting(sendLine(this.#handle))) {
      const result = msgsnd(this.#handle.id, outgoing.pointer, length, IPC_NOWAIT);
      if (result !== -errors.EAGAIN || timeout === 0) await turn();
      if (result >= 0) return;
      if (result !== -errors.EAGAIN) throw this.#sendError(-result, length);
      if (timeout === 0) throw this.#sendTimeout(length, 0);
    }
    const failure = (errno: number) => this.#sendError(errno, length);
    await wait(new SendRequest(this.#handle, outgoing, length, timeout, options?.signal, failure));
  }

  /**
   * Sends a message, blocking the thread while the queue is full.
   *
   * @param data Text, sent as UTF-8, or bytes.
   * @param options The type and the timeout.
   * @throws {DOMException} "TimeoutError" if the time is up: nothing is sent.
   * @throws {IpcError} EINVAL if the message is longer than the system allows, EINTR if the program
   * handled a signal, EIDRM if the queue is removed, EACCES. Nothing is sent then.
   */
  sendSync(data: string | BufferSource, options?: SendSyncOptions): void {
    const timeout = checkTimeout(options?.timeout);
    const length = pack(outgoing, data, options?.type ?? 1, this.#handle);
    const { id } = this.#handle;
    const result = block((flags) => msgsnd(id, outgoing.pointer, length, flags), timeout);
    if (result >= 0) return;
    if (isUp(result)) throw this.#sendTimeout(length, timeout);
    throw this.#sendError(-result, length);
  }

  /**
   * Sends a message if the queue has room.
   *
   * @param data Text, sent as UTF-8, or bytes.
   * @param options The type.
   * @returns Whether it had.
   * @throws {IpcError} EINVAL if the message is longer than the system allows, EIDRM if the queue is removed, EACCES.
   */
  trySend(data: string | BufferSource, options?: SendOptions): boolean {
    const length = pack(outgoing, data, options?.type ?? 1, this.#handle);
    const result = msgsnd(this.#handle.id, outgoing.pointer, length, IPC_NOWAIT);
    return result >= 0 || this.#isFull(result, length);
  }

  /**
   * Receives a message, waiting until there is one.
   *
   * @param options Which messages will do, the signal and the timeout.
   * @returns A promise of the message. It rejects with the reason of the signal, with a DOMException
   * "TimeoutError" if the time is up, with a ReferenceError if the handle is disposed: no message is
   * taken then. And with IpcError EIDRM if the queue is removed, EACCES. If a message was taken just
   * then and nobody else here waits for it, the promise resolves all the same.
   */
  async receive(options?: ReceiveWaitOptions): Promise<Message> {
    return await this.#receive(options, undefined, (slot, length) => unpack(slot, length));
  }

  /**
   * Receives a message, blocking the thread until there is one.
   *
   * @param options Which messages will do, and the timeout.
   * @returns The message.
   * @throws {DOMException} "TimeoutError" if the time is up: no message is taken.
   * @throws {IpcError} EINTR if the program handled a signal, EIDRM if the queue is removed, EACCES.
   */
  receiveSync(options?: ReceiveSyncOptions): Message {
    return unpack(incoming, this.#receiveSync(options, undefined));
  }

  /**
   * Receives a message if there is one.
   *
   * @param options Which messages will do.
   * @returns The message, or undefined.
   * @throws {IpcError} EIDRM if the queue is removed, EACCES.
   */
  tryReceive(options?: ReceiveOptions): Message | undefined {
    const length = this.#tryReceive(select(options?.type, this.#handle), undefined);
    return length < 0 ? undefined : unpack(incoming, length);
  }

  /**
   * Receives a message into a buffer, waiting until there is one.
   *
   * @param buffer Where the bytes go.
   * @param options Which messages will do, the signal and the timeout.
   * @returns A promise of the number of bytes and the type. It rejects as that of `receive`; with
   * IpcError E2BIG if the message is longer than the buffer: it stays in the queue; with a TypeError
   * if it is longer than what is left of the buffer, which was detached or resized meanwhile: the
   * message goes to the end of the queue.
   */
  async receiveInto(buffer: BufferSource, options?: ReceiveWaitOptions): Promise<MessageInfo> {
    const target = bytesOf(buffer, `receive from ${this.#handle.name}`);
    return await this.#receive(options, target.byteLength, (slot, length) => {
      if (length <= target.byteLength) return copy(slot, length, target);
      this.#giveBack(unpack(slot, length));
      throw new TypeError(
        `Cannot receive from ${this.#handle.name} as the buffer was detached or made smaller`,
      );
    });
  }

  /**
   * Receives a message into a buffer, blocking the thread until there is one.
   *
   * @param buffer Where the bytes go.
   * @param options Which messages will do, and the timeout.
   * @returns The number of bytes, and the type.
   * @throws {IpcError} E2BIG if the message is longer than the buffer: it stays in the queue. And as `receiveSync`.
   */
  receiveIntoSync(buffer: BufferSource, options?: ReceiveSyncOptions): MessageInfo {
    const target = bytesOf(buffer, `receive from ${this.#handle.name}`);
    return copy(incoming, this.#receiveSync(options, target.byteLength), target);
  }

  /**
   * Receives a message into a buffer if there is one.
   *
   * @param buffer Where the bytes go.
   * @param options Which messages will do.
   * @returns The number of bytes, and the type, or undefined.
   * @throws {IpcError} E2BIG if the message is longer than the buffer: it stays in the queue. And as `tryReceive`.
   */
  tryReceiveInto(buffer: BufferSource, options?: ReceiveOptions): MessageInfo | undefined {
    const target = buffer instanceof Uint8Array
      ? buffer
      : bytesOf(buffer, `receive from ${this.#handle.name}`);
    const length = this.#tryReceive(select(options?.type, this.#handle), target.byteLength);
    return length < 0 ? undefined : copy(incoming, length, target);
  }

  /**
   * Iterates over the messages as they come, until the queue is removed.
   *
   * @returns What `messages()` gives.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<Message> {
    return this.messages();
  }

  /**
   * Iterates over messages as they come, until the queue is removed. A message is taken when the
   * iterator is asked for it, not before. To end an iteration that waits, abort its signal.
   *
   * @param options Which messages will do, and the signal, whose reason the iteration throws.
   * @returns An iterator, which ends with IpcError EACCES if the mode does not permit receiving.
   */
  async *messages(options?: MessagesOptions): AsyncIterableIterator<Message> {
    for (;;) {
      let message;
      try {
        message = await this.receive(options);
      } catch (error) {
        if (isRemoved(error)) return;
        throw error;
      }
      yield message;
    }
  }

  /**
   * The messages as a stream, the same at every use; it closes when the queue is removed. A message
   * is taken when somebody reads, not before. One that arrives just as the stream is cancelled goes
   * back to the end of the queue. One that arrives for a read which was given up, by `releaseLock` of
   * its reader, waits in the stream: read it before you cancel.
   */
  get readable(): ReadableStream<Message> {
    return this.#readable ??= readableOf(
      (options) => this.receive(options),
      (message) => this.#giveBack(message),
    );
  }

  /**
   * A stream of messages to send, the same at every use: text, bytes, `{ data, type }` or a
   * {@linkcode Message}. While the queue is full, writers wait. Aborting it ends that wait.
   */
  get writable(): WritableStream<MessageChunk> {
    return this.#writable ??= writableOf((data, options) => this.send(data, options));
  }

  /**
   * Copies a message and leaves it in the queue (Linux).
   *
   * @param index Its position, 0 for the oldest.
   * @returns The message, or undefined if there are fewer.
   * @throws {IpcError} ENOSYS if the system cannot, EIDRM if the queue is removed, EACCES, EINVAL if
   * the message is longer than the system allows by now (MSGMAX).
   */
  peek(index = 0): Message | undefined {
    checkInteger(index, 0, 0x7fffffff, `peek at message ${index} of ${this.#handle.name}`);
    this.#handle.check();
    const { MSG_COPY } = abi.constants;
    if (MSG_COPY === -1) throw receiveError(this.#handle, errors.ENOSYS);
    const length = this.#tryReceive({ type: index, flags: MSG_COPY }, undefined);
    return length < 0 ? undefined : unpack(incoming, length);
  }

  /**
   * Describes the queue.
   *
   * @returns A snapshot that does not change.
   * @throws {IpcError} EIDRM if it is removed, EACCES if its mode does not permit reading.
   */
  stat(): MessageQueueInfo {
    const { info, members } = this.#handle.read();
    return Object.freeze({
      ...info,
      messages: members.msg_qnum!,
      bytes: members.msg_cbytes!,
      maxBytes: members.msg_qbytes!,
      lastSend: dateOf(members.msg_stime!),
      lastReceive: dateOf(members.msg_rtime!),
      lastSendPid: members.msg_lspid!,
      lastReceivePid: members.msg_lrpid!,
    });
  }

  /**
   * Changes who may use the queue, and how much it holds.
   *
   * @param permissions The owner, group, mode and limit; what is left out stays as it is.
   * @throws {IpcError} EPERM if this process is neither owner nor creator nor privileged, or if
   * `maxBytes` needs a privilege, EINVAL if the user namespace does not know the user or the group,
   * EIDRM if it is removed.
   */
  setPermissions({ maxBytes, ...permissions }: MessageQueuePermissionOptions): void {
    checkMaxBytes(maxBytes);
    setPermissions(this.#handle, permissions, maxBytes);
  }

  /**
   * Removes the queue with its messages, now: whoever waits gets EIDRM.
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
    const timeout = checkTimeout(options?.timeout);
    const selection = select(options?.type, this.#handle);
    options?.signal?.throwIfAborted();
    this.#handle.check();
    const { signal } = options ?? {};
    const request = anyWaiting()
      ? new ReceiveRequest(this.#handle, selection, size, timeout, signal, take)
      : undefined;
    if (timeout === 0 || request === undefined || !isWaiting(request.key)) {
      const length = this.#tryReceive(selection, size);
      const taken = length >= 0 ? take(incoming, length) : undefined;
      if (length >= 0 || timeout === 0) await turn();
      if (taken !== undefined) return taken;
      if (timeout === 0) throw timeoutError(`receive from ${this.#handle.name}`, 0);
    }
    return await wait(
      request ?? new ReceiveRequest(this.#handle, selection, size, timeout, signal, take),
    );
  }

  /** Receives into the incoming slot, blocking the thread, and gives the length. */
  #receiveSync(options: ReceiveSyncOptions | undefined, size: number | undefined): number {
    const timeout = checkTimeout(options?.timeout);
    const { type, flags: selecting } = select(options?.type, this.#handle);
    const { id } = this.#handle;
    this.#handle.check();
    const deadline = timeout === Infinity ? Infinity : performance.now() + timeout;
    for (;;) {
      const room = reserve(size);
      const result = block(
        (flags) => msgrcv(id, incoming.pointer, room, type, flags | selecting),
        deadline === Infinity ? Infinity : Math.max(deadline - performance.now(), 0),
      );
      if (result >= 0) return result;
      if (isUp(result)) throw timeoutError(`receive from ${this.#handle.name}`, timeout);
      this.#grow(result, size);
    }
  }

  /** Receives into the incoming slot if there is something, and gives the length, else -1. */
  #tryReceive({ type, flags }: Selection, size: number | undefined): number {
    const handle = this.#handle;
    if (handle.state !== "open") throw handle.refusal();
    const room = reserve(size);
    const result = msgrcv(handle.id, incoming.pointer, room, type, flags | IPC_NOWAIT);
    return result >= 0 ? result : this.#tryAgain({ type, flags }, size, result);
  }

  /** Gives -1 if there was nothing, else tries again with more room. */
  #tryAgain(selection: Selection, size: number | undefined, result: number): number {
    if (result === -errors.ENOMSG) return -1;
    this.#grow(result, size, selection.flags & abi.constants.MSG_COPY);
    return this.#tryReceive(selection, size);
  }

  /** Makes room for a message that was too long, unless its receiver has no more, or something else failed. */
  #grow(result: number, size: number | undefined, copying = 0): void {
    if (result === -errors.E2BIG && size === undefined) incoming.reserve(2 * incoming.capacity);
    else if (result !== -errors.EINVAL || copying === 0) throw receiveError(this.#handle, -result);
    else this.#cannotPeek();
  }

  /** Copying gives EINVAL if there is no queue, and if the limit is below the length of a message. */
  #cannotPeek(): never {
    const reason =
      `the message is longer than the ${limits().msgmax} bytes that can be copied now (MSGMAX, kernel.msgmax)`;
    throw this.#handle.error(errors.EINVAL, "msgrcv", `peek into ${this.#handle.name}`, reason);
  }

  /** Whether a message had no room; throws if it was something else. */
  #isFull(result: number, length: number): false {
    if (result === -errors.EAGAIN) return false;
    throw this.#sendError(-result, length);
  }

  /** Puts a message that nobody can be given at the end of the queue, even if this handle is disposed. */
  async #giveBack(message: Message): Promise<void> {
    try {
      using queue = MessageQueue.fromId(this.id);
      await queue.send(message.bytes, { type: message.type });
    } catch (error) {
      if (!isRemoved(error)) throw error;
    }
  }

  #sendTimeout(length: number, timeout: number): Error {
    return timeoutError(`send ${length} bytes to ${this.#handle.name}`, timeout);
  }

  #sendError(errno: number, length: number): Error {
    const doing = `send ${length} bytes to ${this.#handle.name}`;
    if (errno !== errors.EINVAL) return this.#handle.error(errno, "msgsnd", doing);
    const { msgmax } = limits();
    const most = msgmax === undefined ? "fewer" : `at most ${msgmax}`;
    const reason =
      `a message has ${most} bytes (MSGMAX, kernel.msgmax): send it in parts, or use shared memory`;
    return this.#handle.error(errno, "msgsnd", doing, reason);
  }
}

/** Makes room for messages in the incoming slot, and tells for how many bytes. */
function reserve(size: number | undefined): number {
  const least = size ?? USUAL_LONGEST;
  if (least > incoming.capacity) incoming.reserve(Math.max(least, USUAL_LONGEST));
  return size ?? incoming.capacity;
}

/** Copies what was received into a user's buffer, which may be detached if there is nothing to copy. */
function copy(slot: Slot, length: number, target: Uint8Array): MessageInfo {
  if (length > 0) target.set(slot.first(length));
  return { length, type: slot.type };
}

/** Makes a call that blocks the thread; with a timeout it is tried first, as a timer has its price. */
function block(call: (flags: number) => number, timeout: number): number {
  const result = call(timeout === Infinity ? 0 : IPC_NOWAIT);
  if (result === -errors.EINTR) return resume(() => call(0));
  const waits = result === -errors.EAGAIN || result === -errors.ENOMSG;
  return waits && timeout > 0 ? limited(() => call(0), timeout) : result;
}

/** Whether a call ended as its time was up. */
function isUp(result: number): boolean {
  return result === -errors.ETIMEDOUT || result === -errors.EAGAIN || result === -errors.ENOMSG;
}

function checkMaxBytes(maxBytes: number | undefined): void {
  if (maxBytes !== undefined) {
    checkInteger(maxBytes, 0, 0x7fffffff, `limit a queue to ${maxBytes} bytes`);
  }
}

function setPermissions(
  handle: Handle,
  permissions: PermissionOptions,
  maxBytes: number | undefined,
): void {
  try {
    handle.setPermissions(permissions, maxBytes === undefined ? {} : { msg_qbytes: maxBytes });
  } catch (error) {
    const { msgmnb } = limits();
    const isLimit = error instanceof IpcError && error.code === "EPERM" && maxBytes! > msgmnb!;
    if (!isLimit) throw error;
    const doing = `limit ${handle.name} to ${maxBytes} bytes`;
    const reason =
      `more than ${msgmnb} bytes need a privilege (MSGMNB, kernel.msgmnb; CAP_SYS_RESOURCE)`;
    throw ipcError(errors.EPERM, "msgctl", doing, handle, reason);
  }
}
