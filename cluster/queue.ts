/**
 * Message queues on a server: {@linkcode ClusterQueue}.
 *
 * @module
 */

import { bytesOf, copyOf, encode } from "../ffi/bytes.ts";
import { checkFlag, checkInteger, checkOptions } from "../ffi/check.ts";
import { ipcError, isRemoved } from "../ffi/error.ts";
import { showAs } from "../ipc/inspect.ts";
import { type Message, type MessageTypeSelector, readType } from "../ipc/message.ts";
import type {
  MessageInfo,
  MessageQueue,
  SendOptions,
  SendWaitOptions,
} from "../ipc/message_queue.ts";
import { type MessageChunk, sendChunk } from "../ipc/message_streams.ts";
import { Iteration } from "../wait/iteration.ts";
import { checkSignal, readWaitOptions, timeoutError, type WaitOptions } from "../wait/options.ts";
import { readableOf, writableOf } from "../wait/streams.ts";
import { codes, disposedError, serverError } from "./errors.ts";
import { HeldMessage } from "./held_message.ts";
import * as calls from "./queue_calls.ts";
import type { Remote } from "./remote.ts";
import { type Session, waitFor, type Waiting } from "./session.ts";
import { checkBytes } from "./sizes.ts";

/** Options of {@linkcode ClusterQueue.tryReceive}. */
export interface QueueTryReceiveOptions {
  /**
   * Which messages will do.
   *
   * @default {undefined} The oldest.
   */
  type?: MessageTypeSelector | undefined;
  /**
   * Whether the message returns to the queue unless its receiver says that it is done.
   *
   * @default {false}
   */
  hold?: boolean | undefined;
}

/** Options of {@linkcode ClusterQueue.receive}: type, hold, timeout, signal. */
export interface QueueReceiveOptions extends QueueTryReceiveOptions, WaitOptions {}

/** Options of {@linkcode ClusterQueue.messages}. */
export interface QueueMessagesOptions extends QueueTryReceiveOptions {
  /** Ends the iteration when it is aborted: it throws the reason of the signal. */
  signal?: AbortSignal | undefined;
}

/** What {@linkcode ClusterQueue.state} returns. */
export interface QueueState {
  /** How many messages can be received. */
  readonly messages: number;
  /** How many are in the hands of receivers. */
  readonly held: number;
  /** The bytes of all. */
  readonly bytes: number;
  /** The maximum number of bytes; undefined if there is none. */
  readonly maxBytes: number | undefined;
}

/** What a receiver wants. */
interface Wanted extends QueueTryReceiveOptions {
  /** The bytes that it has room for; undefined for any. */
  readonly room?: number | undefined;
}

/**
 * A message queue on a server, with the promises of a `MessageQueue`.
 *
 * - **Durable:** what was sent outlives senders, receivers and crashes of the server.
 * - **Order:** by the kernel's rules: the oldest, the oldest of a type, or the lowest type first.
 * - **Receivers** that wait get messages in the order in which they came. So do senders that wait for room.
 * - **Death:** a message that is received with `hold` returns to its place when its receiver dies
 *   before `done`. Without `hold`, it is gone as soon as the server has given it out.
 * - **Size:** a message has at most 16 MiB. A queue has no limit unless `maxBytes` sets one, which makes
 *   senders wait. What receivers hold counts, too.
 *
 * @example
 * ```ts
 * import { connect } from "@sysv/ipc/cluster";
 * import { assertEquals } from "@std/assert";
 *
 * await using cluster = await connect();
 * const queue = await cluster.queue("my-app/mail");
 * await queue.send("later", { type: 9 });
 * await queue.send("urgent", { type: 1 });
 * assertEquals((await queue.receive({ type: { atMost: 9 } })).text(), "urgent");
 * assertEquals((await queue.receive()).text(), "later");
 * ```
 */
export class ClusterQueue implements Remote<MessageQueue> {
  /** The name. */
  readonly name: string;
  /** Whether it was made when this handle was opened. */
  readonly created: boolean;
  readonly #session: Session;
  readonly #id: number;
  readonly #disposal = new AbortController();
  #readable: ReadableStream<Message> | undefined;
  #writable: WritableStream<MessageChunk> | undefined;

  /** @ignore Users call `cluster.queue()`. */
  constructor(
    session: Session,
    { id, name, created }: { id: number; name: string; created: boolean },
  ) {
    this.#session = session;
    this.#id = id;
    this.name = name;
    this.created = created;
  }

  static {
    showAs<ClusterQueue>("ClusterQueue", this.prototype, ({ name }) => ({ name }));
  }

  /**
   * Sends a message, waiting while the queue is full.
   *
   * @param data A text, or bytes.
   * @param options The type, the signal and the timeout.
   * @returns A promise that resolves when the message is on the disk of the server. It rejects with the
   * reason of the signal, with a DOMException "TimeoutError" if the time is up, with a ReferenceError if the
   * handle is disposed, with IpcError EIDRM if the queue is removed, EINVAL if the message is longer than
   * the queue takes: nothing is sent then. It rejects with {@linkcode SessionLostError}: then it may have
   * been sent. If it was sent just then, the promise resolves.
   */
  async send(
    data: string | ArrayBuffer | ArrayBufferView,
    options?: SendWaitOptions,
  ): Promise<void> {
    const { timeout, signal } = readWaitOptions(options);
    const { bytes, type, action } = this.#outgoing(data, options);
    signal?.throwIfAborted();
    const since = performance.now();
    const ticket = await this.#send(type, bytes, timeout !== 0, action);
    if (ticket === 0) return;
    if (ticket === codes.again) throw timeoutError(action, 0);
    const waiting = this.#waiting(action, since, timeout, signal);
    const { code } = await waitFor(this.#session, String(ticket), waiting, {
      cancel: calls.cancelSend,
      // Somebody may have it.
      undo: () => Promise.resolve(false),
      watched: true,
    });
    if (code !== 0) throw await this.#sendError(code, bytes.length, action);
  }

  /**
   * Sends a message if the queue has room, even if others wait for more; never waits.
   *
   * @param data A text, or bytes.
   * @param options The type.
   * @returns A promise of whether it had room. It rejects as `send` does.
   */
  async trySend(
    data: string | ArrayBuffer | ArrayBufferView,
    options?: SendOptions,
  ): Promise<boolean> {
    const { bytes, type, action } = this.#outgoing(data, options);
    return await this.#send(type, bytes, false, action) === 0;
  }

  /** Receives a message, and holds it until it is done or released. */
  receive(options: QueueReceiveOptions & { hold: true }): Promise<HeldMessage>;
  /**
   * Receives a message, waiting for one.
   *
   * @param options Which, whether to hold it, the signal and the timeout.
   * @returns A promise that rejects with the reason of the signal, with a DOMException "TimeoutError" if
   * the time is up, with a ReferenceError if the handle is disposed, with {@linkcode SessionLostError}, with
   * IpcError EIDRM if the queue is removed. If it rejects, no message is taken.
   */
  receive(options?: QueueReceiveOptions): Promise<Message>;
  async receive(options: QueueReceiveOptions = {}): Promise<Message> {
    return await this.#receive(options, options);
  }

  /** Receives a message if there is one, and holds it until it is done or released. */
  tryReceive(options: QueueTryReceiveOptions & { hold: true }): Promise<HeldMessage | undefined>;
  /**
   * Receives a message if there is one; never waits.
   *
   * @param options Which, and whether to hold it.
   * @returns A promise of the message, or of undefined. It rejects as `receive` does.
   */
  tryReceive(options?: QueueTryReceiveOptions): Promise<Message | undefined>;
  async tryReceive(options: QueueTryReceiveOptions = {}): Promise<Message | undefined> {
    return await this.#tryReceive(options);
  }

  /**
   * Receives a message into a buffer, waiting for one.
   *
   * @param buffer The memory to copy the bytes to.
   * @param options Which, the signal and the timeout.
   * @returns A promise of the number of bytes and the type. It rejects as `receive` does; with IpcError
   * E2BIG if the message is longer than the buffer, with a TypeError if the buffer was detached or made
   * smaller meanwhile: the message stays where it is.
   */
  async receiveInto(
    buffer: ArrayBuffer | ArrayBufferView,
    options?: WaitOptions & Omit<QueueTryReceiveOptions, "hold">,
  ): Promise<MessageInfo> {
    const target = this.#target(buffer);
    const wanted = { type: options?.type, hold: true, room: target.byteLength };
    return await this.#copy(await this.#receive(wanted, options) as HeldMessage, target);
  }

  /**
   * Receives a message into a buffer if there is one; never waits.
   *
   * @param buffer The memory to copy the bytes to.
   * @param options Which.
   * @returns A promise of the number of bytes and the type, or of undefined. It rejects as `receiveInto`.
   */
  async tryReceiveInto(
    buffer: ArrayBuffer | ArrayBufferView,
    options?: Omit<QueueTryReceiveOptions, "hold">,
  ): Promise<MessageInfo | undefined> {
    checkOptions(options);
    const target = this.#target(buffer);
    const wanted = { type: options?.type, hold: true, room: target.byteLength };
    const message = await this.#tryReceive(wanted) as HeldMessage | undefined;
    return message && await this.#copy(message, target);
  }

  /** Receives messages one after the other, each held until it is done or released. */
  messages(options: QueueMessagesOptions & { hold: true }): AsyncIterableIterator<HeldMessage>;
  /**
   * Receives messages one after the other, each when the iterator is asked for it, until the queue is
   * removed. `return()` of the iterator ends a wait of it.
   *
   * @param options Which, whether to hold them, and the signal, whose reason the iteration throws.
   * @returns An iterator.
   */
  messages(options?: QueueMessagesOptions): AsyncIterableIterator<Message>;
  messages(options: QueueMessagesOptions = {}): AsyncIterableIterator<Message> {
    checkOptions(options);
    const { type, hold, signal } = options;
    // What is wrong is said here, not at the first message.
    checkFlag(hold, "hold");
    calls.select(type, `receive from ${this.#title}`);
    const next = ({ signal }: { readonly signal: AbortSignal }) =>
      this.receive({ type, hold, signal });
    const giveBack = (message: Message) => {
      if (message instanceof HeldMessage) message.release();
    };
    return new Iteration<Message>({ next, isEnd: isRemoved, giveBack }, checkSignal(signal));
  }

  /** Receives messages one after the other, as `messages()` does. */
  [Symbol.asyncIterator](): AsyncIterableIterator<Message> {
    return this.messages();
  }

  /**
   * The messages as a stream, the same until it is cancelled or broken, then a new one; it closes when the
   * queue is removed. A message is received only when the stream is read. One that arrives just as the stream
   * is cancelled stays in its place.
   */
  get readable(): ReadableStream<Message> {
    return this.#readable ??= readableOf<Message>(
      async ({ signal, hand, isRead }) => {
        const held = await this.receive({ hold: true, signal });
        if (!isRead()) return await held.release();
        await held.done();
        hand(held);
      },
      isRemoved,
      () => this.#readable = undefined,
    );
  }

  /**
   * A stream of messages to send, the same until it is closed, aborted or broken, then a new one: text,
   * bytes, `{ data, type }` or a `Message`. Writers wait while the queue is full. Aborting the stream ends
   * that wait.
   */
  get writable(): WritableStream<MessageChunk> {
    return this.#writable ??= writableOf<MessageChunk>(
      (chunk, options) => sendChunk((...given) => this.send(...given), chunk, options),
      () => this.#writable = undefined,
    );
  }

  /**
   * Copies a message and leaves it in the queue.
   *
   * @param index Its position, 0 for the oldest, 0 unless given. What receivers hold does not count.
   * @returns A promise of the message, or of undefined if there are fewer. It rejects with IpcError EIDRM if
   * the queue is removed.
   */
  async peek(index = 0): Promise<Message | undefined> {
    const action = `peek at message ${index} of ${this.#title}`;
    checkInteger(index, 0, 0x7fffffff, action);
    const [row] = await this.#ask<calls.MessageRow>(calls.peek, [this.#id, index]);
    if (Number(row!.code) === codes.removed) throw serverError(codes.removed, action, "msgrcv");
    return row!.code === "0" ? calls.messageOf(row!) : undefined;
  }

  /** Counts what is in it. */
  async state(): Promise<QueueState> {
    type Counts = {
      messages: string | null;
      held: string;
      bytes: string;
      max_bytes: string | null;
    };
    const [row] = await this.#ask<Counts>(calls.describe, [this.#id]);
    const { messages, held, bytes, max_bytes: most } = row!;
    if (messages === null) throw serverError(codes.removed, `describe ${this.#title}`, "msgctl");
    const maxBytes = most === null ? undefined : Number(most);
    return { messages: Number(messages), held: Number(held), bytes: Number(bytes), maxBytes };
  }

  /**
   * Sets the maximum number of bytes. What is in the queue stays there. Sends that wait and are longer
   * than that reject.
   *
   * @param maxBytes The bytes, 0 to close it for now, undefined for no limit.
   * @returns A promise that rejects with IpcError EIDRM if the queue is removed.
   */
  async resize(maxBytes: number | undefined): Promise<void> {
    checkMaxBytes(maxBytes);
    await this.#command(calls.resize, [maxBytes ?? null], `resize ${this.#title}`);
  }

  /** Removes it with all messages, now: pending and later calls reject with EIDRM. */
  async remove(): Promise<void> {
    await this.#command(calls.remove, [], `remove ${this.#title}`);
  }

  /** Ends the handle: what waits by it rejects. Messages that are held stay so. */
  [Symbol.dispose](): void {
    this.#disposal.abort(disposedError(this.#title));
  }

  /** Ends the handle: what waits by it rejects. Messages that are held stay so. */
  // deno-lint-ignore require-await
  async [Symbol.asyncDispose](): Promise<void> {
    this[Symbol.dispose]();
  }

  get #title(): string {
    return `queue "${this.name}"`;
  }

  /** Checks what is to be sent, and copies it: what is sent must not change with the buffer. */
  #outgoing(data: string | ArrayBuffer | ArrayBufferView, options: SendOptions | undefined) {
    const type = readType(options, { name: this.#title });
    const bytes = copyOf(encode(data, `send to ${this.#title}`));
    const action = `send ${bytes.length} bytes to ${this.#title}`;
    checkBytes(bytes, action, "msgsnd");
    return { bytes, type, action };
  }

  /** Returns 0, a ticket, or EAGAIN. */
  async #send(
    type: number | bigint,
    bytes: Uint8Array,
    waits: boolean,
    action: string,
  ): Promise<number> {
    const values = [this.#session.sid, this.#id, String(type), bytes, waits];
    const [row] = await this.#ask<{ result: string }>(calls.send, values);
    const result = Number(row!.result);
    if (result >= 0 || result === codes.again) return result;
    throw await this.#sendError(result, bytes.length, action);
  }

  async #sendError(code: number, length: number, action: string): Promise<Error> {
    if (code !== codes.invalid) return serverError(code, action, "msgsnd");
    const { maxBytes } = await this.state();
    const reason = maxBytes === undefined || maxBytes >= length
      ? "it was too long for the queue until somebody resized that: send it again"
      : `the queue holds at most ${maxBytes} bytes (maxBytes): raise that, or send it in parts`;
    return ipcError("EINVAL", action, { syscall: "msgsnd", reason });
  }

  async #receive(wanted: Wanted, options: WaitOptions | undefined): Promise<Message> {
    const { timeout, signal } = readWaitOptions(options);
    const action = `receive from ${this.#title}`;
    signal?.throwIfAborted();
    const since = performance.now();
    const row = await this.#take(wanted, timeout !== 0, action);
    if (row.code === "0") return this.#message(row, wanted);
    if (Number(row.code) === codes.again) throw timeoutError(action, 0);
    const waiting = this.#waiting(action, since, timeout, signal);
    const { code, version: seq } = await waitFor(this.#session, row.code, waiting, {
      cancel: calls.cancelReceive,
      undo: ({ version }) => this.#decline(version),
      watched: true,
    });
    if (code !== 0) throw serverError(code, action, "msgrcv");
    return await this.#fetch(seq, wanted, action);
  }

  async #tryReceive(wanted: Wanted): Promise<Message | undefined> {
    checkOptions(wanted);
    const row = await this.#take(wanted, false, `receive from ${this.#title}`);
    return row.code === "0" ? this.#message(row, wanted) : undefined;
  }

  /** Takes a message, or a ticket. */
  async #take(wanted: Wanted, waits: boolean, action: string): Promise<calls.MessageRow> {
    const selection = calls.select(wanted.type, action);
    const holds = checkFlag(wanted.hold, "hold") ?? false;
    const { sid } = this.#session;
    const values = [sid, this.#id, ...selection, wanted.room ?? null, holds, waits];
    const [row] = await this.#ask<calls.MessageRow>(calls.receive, values);
    const code = Number(row!.code);
    if (code >= 0 || code === codes.again) return row!;
    throw serverError(code, action, "msgrcv");
  }

  /** Fetches a message that was put into the hands of this session. */
  async #fetch(seq: string, wanted: Wanted, action: string): Promise<Message> {
    const { link, sid } = this.#session;
    const [row] = await link.ask<calls.MessageRow>(calls.take, [sid, seq, wanted.hold ?? false]);
    if (row!.code !== "0") throw serverError(codes.removed, action, "msgrcv");
    return this.#message(row!, wanted);
  }

  /** Gives a message back that came just before its wait was cancelled. */
  async #decline(seq: string): Promise<boolean> {
    const { link, sid } = this.#session;
    await link.ask(calls.putBack, [sid, seq, false]);
    return true;
  }

  #message(row: calls.MessageRow, { hold }: Wanted): Message {
    return hold ? new HeldMessage(this.#session, row) : calls.messageOf(row);
  }

  #target(buffer: ArrayBuffer | ArrayBufferView): Uint8Array {
    return bytesOf(buffer, `receive from ${this.#title}`);
  }

  async #copy(message: HeldMessage, target: Uint8Array): Promise<MessageInfo> {
    const { bytes, type } = message;
    if (bytes.length > target.byteLength) {
      await message.release();
      const reason = "the buffer was detached or made smaller";
      throw new TypeError(`Cannot receive from ${this.#title}: ${reason}`);
    }
    await message.done();
    target.set(bytes);
    return { length: bytes.length, type };
  }

  #waiting(
    action: string,
    since: number,
    timeout: number,
    signal: AbortSignal | undefined,
  ): Waiting {
    return { action, since, timeout, signals: [signal, this.#disposal.signal] };
  }

  async #command(
    statement: typeof calls.remove,
    values: readonly unknown[],
    action: string,
  ): Promise<void> {
    const [row] = await this.#ask<{ result: number }>(statement, [this.#id, ...values]);
    if (row!.result !== 0) throw serverError(row!.result, action, "msgctl");
  }

  /** Asks the server, unless the handle is disposed. */
  async #ask<Row extends object>(
    statement: typeof calls.remove,
    values: readonly unknown[],
  ): Promise<Row[]> {
    this.#disposal.signal.throwIfAborted();
    return await this.#session.link.ask<Row>(statement, values);
  }
}

/** Checks the limit of a queue. */
export function checkMaxBytes(maxBytes: number | undefined): void {
  if (maxBytes === undefined) return;
  checkInteger(maxBytes, 0, Number.MAX_SAFE_INTEGER, `limit a queue to ${maxBytes} bytes`);
}
