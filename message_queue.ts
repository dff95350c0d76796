/**
 * Message queues: {@linkcode MessageQueue} and {@linkcode Message}.
 *
 * @module
 */

import { abi, errors, IPC_NOWAIT, msginfo, readStruct } from "./ffi/abi.ts";
import { addressOf, msgctl, msgget, msgrcv, msgsnd } from "./ffi/calls.ts";
import { bytesOf } from "./bytes.ts";
import { checkInteger } from "./check.ts";
import type { Key } from "./key.ts";
import {
  create,
  type CreateOptions,
  dateOf,
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

/** Which messages: of this type; of the lowest type up to a number; of any type but one (Linux). */
export type MessageTypeSelector = number | { readonly atMost: number } | {
  readonly not: number;
};

/** How a message is sent. */
export interface SendOptions {
  /**
   * The type by which receivers select, at least 1.
   *
   * @default {1}
   */
  type?: number | undefined;
}

/** How a message is received. */
export interface ReceiveOptions {
  /**
   * Which messages will do.
   *
   * @default {undefined} The oldest.
   */
  type?: MessageTypeSelector | undefined;
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
  /** Their bytes. */
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
  control: msgctl,
  limits() {
    const { msgmni } = limits();
    return `the system has ${msgmni} queues, which is the most (MSGMNI, kernel.msgmni)`;
  },
};

function limits(): Record<string, number> {
  const buffer = new Uint8Array(msginfo.size);
  return msgctl(0, abi.constants.IPC_INFO, buffer) < 0 ? {} : readStruct(msginfo, buffer);
}

const OPEN_MODES = [0o600, 0o200, 0o400] as const;

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
const encoder = new TextEncoder();

/** A message that was received. */
export class Message {
  /** The type that its sender gave it, at least 1. Other programs' types above 2^53 are rounded. */
  readonly type: number;
  /** Its bytes, in a buffer of their own. */
  readonly bytes: Uint8Array<ArrayBuffer>;

  /** Creates a message. */
  constructor(type: number, bytes: Uint8Array<ArrayBuffer>) {
    this.type = type;
    this.bytes = bytes;
  }

  /** Decodes the bytes as UTF-8. */
  text(): string {
    return decoder.decode(this.bytes);
  }

  /**
   * Parses the bytes as JSON.
   *
   * @throws {SyntaxError} If they are none.
   */
  json<T = unknown>(): T {
    return JSON.parse(this.text()) as T;
  }
}

/**
 * Memory for one message at a time: struct msgbuf { long mtype at 0; char mtext[] at 8 }.
 *
 * The text is aligned to 64 bytes, as copying is up to thirty times slower otherwise.
 */
class Slot {
  capacity = 0;
  /** The whole, from the type on. */
  bytes!: Uint8Array<ArrayBuffer>;
  text!: Uint8Array<ArrayBuffer>;
  #type!: Uint32Array;

  reserve(capacity: number): void {
    if (capacity <= this.capacity) return;
    const memory = new ArrayBuffer(capacity + 128);
    const offset = 56 + (64 - addressOf(new Uint8Array(memory)) % 64) % 64;
    this.bytes = new Uint8Array(memory, offset, 8 + capacity);
    this.text = new Uint8Array(memory, offset + 8, capacity);
    this.#type = new Uint32Array(memory, offset, 2);
    this.capacity = capacity;
  }

  get type(): number {
    return this.#type[0]! + (this.#type[1]! | 0) * 2 ** 32;
  }

  set type(type: number) {
    this.#type[0] = type;
    this.#type[1] = type / 2 ** 32;
  }
}

// The default of MSGMAX, so that hardly any message is too long for them.
const USUAL_LONGEST = 8192;
const outgoing = new Slot();
const incoming = new Slot();

/** Puts a message into the outgoing slot and gives the number of its bytes. */
function pack(
  data: string | BufferSource,
  type: number,
  handle: Handle,
): number {
  if (!(Number.isSafeInteger(type) && type >= 1)) {
    checkInteger(
      type,
      1,
      Number.MAX_SAFE_INTEGER,
      `send a message of type ${type} to ${handle.name}`,
    );
  }
  let length;
  if (typeof data === "string") {
    outgoing.reserve(Math.max(USUAL_LONGEST, 3 * data.length));
    length = encoder.encodeInto(data, outgoing.text).written;
  } else {
    const bytes = bytesOf(data, `send a message to ${handle.name}`);
    length = bytes.byteLength;
    outgoing.reserve(Math.max(USUAL_LONGEST, length));
    outgoing.text.set(bytes);
  }
  outgoing.type = type;
  if (handle.state !== "open") throw handle.refusal();
  return length;
}

/** The argument and flag of msgrcv for a selection. */
function select(
  type: MessageTypeSelector | undefined,
  handle: Handle,
): { type: number; flags: number } {
  const check = (number: number, what: string) =>
    checkInteger(
      number,
      1,
      Number.MAX_SAFE_INTEGER,
      `receive ${what} ${number} from ${handle.name}`,
    );
  if (typeof type === "number") {
    check(type, "type");
    return { type, flags: 0 };
  }
  if (typeof type === "object" && "atMost" in type) {
    check(type.atMost, "types up to");
    return { type: -type.atMost, flags: 0 };
  }
  if (typeof type === "object" && "not" in type) {
    check(type.not, "any type but");
    if (abi.constants.MSG_EXCEPT === -1) {
      throw handle.error(errors.ENOSYS, "msgrcv", "receive any type but one");
    }
    return { type: type.not, flags: abi.constants.MSG_EXCEPT };
  }
  throw new TypeError(
    `Cannot receive from ${handle.name}: expected a type as a number, { atMost } or { not }`,
  );
}

const ANY = { type: 0, flags: 0 } as const;

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
export class MessageQueue implements Disposable {
  readonly #handle: Handle;

  private constructor(handle: Handle) {
    this.#handle = handle;
  }

  /**
   * Creates a queue. Disposing the handle removes it, unless `owner` is false.
   *
   * @throws {IpcError} EEXIST if the key is taken, ENOSPC if a limit of the system is reached, EPERM
   * if `maxBytes` needs a privilege.
   */
  static create(
    { maxBytes, ...options }: MessageQueueCreateOptions = {},
  ): MessageQueue {
    checkMaxBytes(maxBytes);
    const handle = create(messageQueue, msgget, options);
    limit(handle, maxBytes);
    return new MessageQueue(handle);
  }

  /**
   * Opens a queue that exists.
   *
   * @param key The key or name.
   * @throws {IpcError} ENOENT if there is none, EACCES if its mode permits neither sending nor receiving.
   */
  static open(key: Key): MessageQueue {
    return new MessageQueue(open(messageQueue, msgget, key, OPEN_MODES));
  }

  /**
   * Opens a queue, or creates it. Safe against every race: any number of processes may call it at
   * once, or remove the queue meanwhile. A creator that dies before it has set `maxBytes` leaves the
   * system's default.
   *
   * @param key The key or name.
   * @param options The mode and limit to create it with.
   * @throws {IpcError} EPERM if another user made it, EACCES, ENOSPC.
   */
  static openOrCreate(
    key: Key,
    { maxBytes, ...options }: MessageQueueOpenOrCreateOptions = {},
  ): MessageQueue {
    checkMaxBytes(maxBytes);
    const find = { get: msgget, modes: OPEN_MODES };
    return new MessageQueue(
      openOrCreate(messageQueue, find, key, options, (handle, created) => {
        if (created) limit(handle, maxBytes);
      }),
    );
  }

  /**
   * Takes the identifier of a queue that another process made, such as a parent.
   *
   * @param id The identifier.
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
   * Sends a message, blocking the thread while the queue is full.
   *
   * @param data Text, sent as UTF-8, or bytes.
   * @param options The type.
   * @throws {IpcError} EINVAL if the message is longer than the system allows, EINTR if the program
   * handled a signal, EIDRM if the queue is removed, EACCES. Nothing is sent then.
   */
  sendSync(data: string | BufferSource, options?: SendOptions): void {
    const length = pack(data, options?.type ?? 1, this.#handle);
    const result = msgsnd(this.#handle.id, outgoing.bytes, length, 0);
    if (result < 0) throw this.#sendError(-result, length);
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
    const length = pack(data, options?.type ?? 1, this.#handle);
    const result = msgsnd(this.#handle.id, outgoing.bytes, length, IPC_NOWAIT);
    if (result >= 0) return true;
    if (result === -errors.EAGAIN) return false;
    throw this.#sendError(-result, length);
  }

  /**
   * Receives a message, blocking the thread until there is one.
   *
   * @param options Which messages will do.
   * @throws {IpcError} EINTR if the program handled a signal, EIDRM if the queue is removed, EACCES.
   */
  receiveSync(options?: ReceiveOptions): Message {
    return this.#message(this.#receive(options, 0));
  }

  /**
   * Receives a message if there is one.
   *
   * @param options Which messages will do.
   * @returns The message, or undefined.
   * @throws {IpcError} EIDRM if the queue is removed, EACCES.
   */
  tryReceive(options?: ReceiveOptions): Message | undefined {
    const length = this.#receive(options, IPC_NOWAIT);
    return length < 0 ? undefined : this.#message(length);
  }

  /**
   * Receives a message into a buffer, blocking the thread until there is one.
   *
   * @param buffer Where the bytes go.
   * @param options Which messages will do.
   * @returns The number of bytes, and the type.
   * @throws {IpcError} E2BIG if the message is longer than the buffer: it stays in the queue. And as `receiveSync`.
   */
  receiveIntoSync(buffer: BufferSource, options?: ReceiveOptions): MessageInfo {
    return this.#receiveInto(buffer, options, 0)!;
  }

  /**
   * Receives a message into a buffer if there is one.
   *
   * @param buffer Where the bytes go.
   * @param options Which messages will do.
   * @returns The number of bytes, and the type, or undefined.
   * @throws {IpcError} E2BIG if the message is longer than the buffer: it stays in the queue. And as `tryReceive`.
   */
  tryReceiveInto(
    buffer: BufferSource,
    options?: ReceiveOptions,
  ): MessageInfo | undefined {
    return this.#receiveInto(buffer, options, IPC_NOWAIT);
  }

  /**
   * Copies a message and leaves it in the queue (Linux).
   *
   * @param index Its position, 0 for the oldest.
   * @returns The message, or undefined if there are fewer.
   * @throws {IpcError} ENOSYS if the system cannot, EIDRM if the queue is removed, EACCES.
   */
  peek(index = 0): Message | undefined {
    checkInteger(
      index,
      0,
      0x7fffffff,
      `peek at message ${index} of ${this.#handle.name}`,
    );
    this.#handle.check();
    if (abi.constants.MSG_COPY === -1) throw this.#receiveError(errors.ENOSYS);
    const length = this.#fetch(index, abi.constants.MSG_COPY | IPC_NOWAIT);
    return length < 0 ? undefined : this.#message(length);
  }

  /**
   * Describes the queue.
   *
   * @returns A snapshot that does not change.
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
   * @throws {IpcError} EPERM if this process is neither owner nor creator nor privileged, or if
   * `maxBytes` needs a privilege.
   */
  setPermissions(
    { maxBytes, ...permissions }: MessageQueuePermissionOptions,
  ): void {
    checkMaxBytes(maxBytes);
    this.#handle.setPermissions(
      permissions,
      maxBytes === undefined ? {} : { msg_qbytes: maxBytes },
    );
  }

  /**
   * Removes the queue with its messages, now: whoever waits gets EIDRM.
   *
   * @throws {IpcError} EPERM if this process is neither owner nor creator nor privileged.
   */
  remove(): void {
    this.#handle.remove();
  }

  /** Ends the handle, and removes the queue if the handle owns it. Does nothing the second time. */
  [Symbol.dispose](): void {
    this.#handle.dispose();
  }

  /** Receives into the incoming slot and gives the length, -1 if there is nothing. */
  #receive(options: ReceiveOptions | undefined, flags: number): number {
    const selection = options?.type === undefined ? ANY : select(options.type, this.#handle);
    if (this.#handle.state !== "open") throw this.#handle.refusal();
    return this.#fetch(selection.type, selection.flags | flags);
  }

  #fetch(type: number, flags: number): number {
    incoming.reserve(USUAL_LONGEST);
    for (;;) {
      const result = msgrcv(
        this.#handle.id,
        incoming.bytes,
        incoming.capacity,
        type,
        flags,
      );
      if (result >= 0) return result;
      if (result === -errors.ENOMSG) return -1;
      if (result !== -errors.E2BIG) throw this.#receiveError(-result);
      incoming.reserve(2 * incoming.capacity);
    }
  }

  #message(length: number): Message {
    return new Message(incoming.type, incoming.text.slice(0, length));
  }

  #receiveInto(
    buffer: BufferSource,
    options: ReceiveOptions | undefined,
    flags: number,
  ): MessageInfo | undefined {
    const selection = options?.type === undefined ? ANY : select(options.type, this.#handle);
    const target = bytesOf(buffer, `receive from ${this.#handle.name}`);
    incoming.reserve(Math.max(USUAL_LONGEST, target.byteLength));
    this.#handle.check();
    const length = msgrcv(
      this.#handle.id,
      incoming.bytes,
      target.byteLength,
      selection.type,
      selection.flags | flags,
    );
    if (length === -errors.ENOMSG) return undefined;
    if (length < 0) throw this.#receiveError(-length);
    target.set(incoming.text.subarray(0, length));
    return { length, type: incoming.type };
  }

  #sendError(errno: number, length: number): Error {
    const doing = `send ${length} bytes to ${this.#handle.name}`;
    const { msgmax } = errno === errors.EINVAL ? limits() : {};
    if (msgmax === undefined || length <= msgmax) {
      return this.#handle.error(errno, "msgsnd", doing);
    }
    const reason =
      `a message has at most ${msgmax} bytes (MSGMAX, kernel.msgmax): send it in parts, or use shared memory`;
    return ipcError(errno, "msgsnd", doing, this.#handle, reason);
  }

  #receiveError(errno: number): Error {
    const doing = `receive from ${this.#handle.name}`;
    if (errno !== errors.E2BIG) {
      return this.#handle.error(errno, "msgrcv", doing);
    }
    return ipcError(
      errno,
      "msgrcv",
      doing,
      this.#handle,
      "the message is longer than the buffer: it stays in the queue",
    );
  }
}

function checkMaxBytes(maxBytes: number | undefined): void {
  if (maxBytes !== undefined) {
    checkInteger(
      maxBytes,
      0,
      Number.MAX_SAFE_INTEGER,
      `limit a queue to ${maxBytes} bytes`,
    );
  }
}

function limit(handle: Handle, maxBytes: number | undefined): void {
  if (maxBytes === undefined) return;
  try {
    handle.setPermissions({}, { msg_qbytes: maxBytes });
  } catch (error) {
    handle.remove();
    throw error;
  }
}
