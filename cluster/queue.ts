/**
 * Message queues on a server: {@linkcode ClusterQueue}.
 *
 * @module
 */

import { encode } from "../ffi/bytes.ts";
import { checkFlag, checkInteger, checkOptions } from "../ffi/check.ts";
import { isRemoved } from "../ffi/error.ts";
import { showAs } from "../ipc/inspect.ts";
import { Message, type MessageTypeSelector } from "../ipc/message.ts";
import { Iteration } from "../wait/iteration.ts";
import { checkSignal, checkTimeout, timeoutError, type WaitOptions } from "../wait/options.ts";
import { turn } from "../wait/turn.ts";
import { codes, ignoreGone, serverError } from "./errors.ts";
import { call } from "./link.ts";
import { type Session, waitFor } from "./session.ts";

/** Which messages to receive. */
export interface QueueReceiveOptions extends WaitOptions {
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

/** How a message is sent. */
export interface QueueSendOptions {
  /**
   * The type by which receivers select, at least 1.
   *
   * @default {1}
   */
  type?: number | undefined;
}

/** What {@linkcode ClusterQueue.state} returns. */
export interface QueueState {
  /** How many messages can be received. */
  readonly messages: number;
  /** How many are in the hands of receivers. */
  readonly held: number;
  /** The bytes of all. */
  readonly bytes: number;
}

/** Which messages, for the schema. */
interface Selection {
  readonly low: string;
  readonly high: string;
  readonly but: number;
  readonly sorted: boolean;
}

interface Row {
  readonly code: string;
  readonly seq: string;
  readonly type: string;
  readonly attempts: number;
  readonly data: Uint8Array;
}

const send = call("send", "int int bigint bytea");
const receive = call("receive", "int int bigint bigint bigint bool bool bool", true);
const take = call("take", "int bigint bool", true);
const done = call("done", "int bigint");
const putBack = call("put_back", "int bigint bool");
const cancel = call("cancel_receive", "bigint");
const state = call("queue_state", "int", true);
const remove = call("remove_queue", "int");

const MAX_TYPE = "9223372036854775807";

/**
 * A message in the hands of this session. If the session ends before `done`, the message returns to its
 * place in the queue.
 *
 * @example
 * ```ts
 * import { connect } from "@sysv/ipc/cluster";
 * import { assertEquals } from "@std/assert";
 *
 * await using cluster = await connect();
 * const jobs = await cluster.queue("my-app/held");
 * await jobs.send("resize 7.png");
 * await using job = await jobs.receive({ hold: true });
 * assertEquals([job.text(), job.attempts], ["resize 7.png", 1]);
 * await job.done();
 * ```
 */
export class HeldMessage extends Message implements Disposable, AsyncDisposable {
  /** How often it was given out, this time included. */
  readonly attempts: number;
  /** Fires when the session is lost, and others get the message. */
  readonly lost: AbortSignal;
  readonly #session: Session;
  readonly #seq: string;
  #ended = false;

  /** @ignore Users call `queue.receive({ hold: true })`. */
  constructor(session: Session, { type, data, attempts, seq }: Row) {
    super(Number(type), Uint8Array.from(data));
    this.#session = session;
    this.#seq = seq;
    this.attempts = attempts;
    this.lost = session.link.lost;
  }

  /**
   * Takes it out of the queue for good. Does nothing the second time.
   *
   * @returns A promise that rejects with {@linkcode SessionLostError} if the session is lost, and with
   * IpcError EIDRM if the queue is removed: then another may have the message.
   */
  async done(): Promise<void> {
    if (this.#ended) return;
    const { link, sid } = this.#session;
    const [row] = await link.ask<{ result: boolean }>(done, [sid, this.#seq]);
    this.#ended = true;
    if (!row!.result) throw serverError(codes.removed, "end with a message", "msgrcv");
  }

  /** Puts it back where it was, for others. Does nothing once it is done. */
  async release(): Promise<void> {
    const { link, sid } = this.#session;
    if (this.#ended || link.closed) return;
    this.#ended = true;
    await link.ask(putBack, [sid, this.#seq, true]).catch(ignoreGone);
  }

  /** Puts it back unless it is done. */
  [Symbol.dispose](): void {
    this.release();
  }

  /** Puts it back unless it is done, and waits until others can have it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.release();
  }
}

/**
 * A message queue on a server, with the promises of a `MessageQueue`.
 *
 * - **Durable:** what was sent outlives senders, receivers and crashes of the server.
 * - **Order:** by the kernel's rules: the oldest, the oldest of a type, or the lowest type first.
 * - **Receivers** that wait get messages in the order in which they came.
 * - **Death:** a message that is received with `hold` returns to its place when its receiver dies
 *   before `done`. Without `hold`, it is gone as soon as the server has given it out.
 * - **Size:** a queue has no limit, so sending never waits.
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
export class ClusterQueue implements AsyncIterable<Message> {
  /** The name. */
  readonly name: string;
  readonly #session: Session;
  readonly #id: number;

  /** @ignore Users call `cluster.queue()`. */
  constructor(session: Session, id: number, name: string) {
    this.#session = session;
    this.#id = id;
    this.name = name;
  }

  static {
    showAs<ClusterQueue>("ClusterQueue", this.prototype, ({ name }) => ({ name }));
  }

  /**
   * Sends a message.
   *
   * @param data A text, or bytes.
   * @param options The type.
   * @returns A promise that resolves when the message is on the disk of the server.
   */
  async send(
    data: string | ArrayBuffer | ArrayBufferView,
    options: QueueSendOptions = {},
  ): Promise<void> {
    checkOptions(options);
    const { type = 1 } = options;
    const action = `send a message of type ${type} to ${this.#title}`;
    checkInteger(type, 1, Number.MAX_SAFE_INTEGER, action);
    const { link, sid } = this.#session;
    // What is sent must not change with the buffer.
    const bytes = encode(data, action).slice();
    const [row] = await link.ask<{ result: number }>(send, [sid, this.#id, type, bytes]);
    if (row!.result !== 0) throw serverError(row!.result, action, "msgsnd");
  }

  /** Sends a message, which never has to wait here: the promise is of true. */
  async trySend(
    data: string | ArrayBuffer | ArrayBufferView,
    options?: QueueSendOptions,
  ): Promise<boolean> {
    await this.send(data, options);
    return true;
  }

  /** Receives a message, and holds it until it is done or released. */
  receive(options: QueueReceiveOptions & { hold: true }): Promise<HeldMessage>;
  /**
   * Receives a message, waiting for one.
   *
   * @param options Which, whether to hold it, the signal and the timeout.
   * @returns A promise that rejects with the reason of the signal, with a DOMException "TimeoutError" if
   * the time is up, with {@linkcode SessionLostError}, with IpcError EIDRM if the queue is removed. If it
   * rejects, no message is taken.
   */
  receive(options?: QueueReceiveOptions): Promise<Message>;
  async receive(options: QueueReceiveOptions = {}): Promise<Message> {
    checkOptions(options);
    const { timeout, signal, hold = false } = options;
    const action = `receive from ${this.#title}`;
    checkTimeout(timeout);
    checkSignal(signal)?.throwIfAborted();
    const since = performance.now();
    const row = await this.#ask(options, timeout !== 0, action);
    if (row.code === "0") return this.#message(row, hold);
    if (Number(row.code) === codes.again) throw timeoutError(action, 0);
    const { code, version: seq } = await waitFor(
      this.#session,
      row.code,
      action,
      { timeout, signal },
      since,
      { cancel, undo: ({ version }) => this.#decline(version), watched: true },
    );
    if (code !== 0) throw serverError(code, action, "msgrcv");
    return await this.#take(seq, hold, action);
  }

  /** Receives a message if there is one, and holds it until it is done or released. */
  tryReceive(options: QueueReceiveOptions & { hold: true }): Promise<HeldMessage | undefined>;
  /** Receives a message if there is one. */
  tryReceive(options?: QueueReceiveOptions): Promise<Message | undefined>;
  async tryReceive(options: QueueReceiveOptions = {}): Promise<Message | undefined> {
    checkOptions(options);
    const row = await this.#ask(options, false, `receive from ${this.#title}`);
    return row.code === "0" ? this.#message(row, options.hold ?? false) : undefined;
  }

  /**
   * Receives messages one after the other, as `receive` does, until the queue is removed. `return()` of
   * the iterator ends a wait of it.
   */
  messages(options: QueueReceiveOptions = {}): AsyncIterableIterator<Message> {
    checkOptions(options);
    const next = async ({ signal }: { readonly signal: AbortSignal }) => {
      await turn();
      return await this.receive({ ...options, signal });
    };
    const giveBack = (message: Message) => {
      if (message instanceof HeldMessage) void message.release();
    };
    return new Iteration({ next, isEnd: isRemoved, giveBack }, checkSignal(options.signal));
  }

  /** Receives messages one after the other. */
  [Symbol.asyncIterator](): AsyncIterableIterator<Message> {
    return this.messages();
  }

  /** Counts what is in it. */
  async state(): Promise<QueueState> {
    type Counts = { messages: string | null; held: string; bytes: string };
    const [row] = await this.#session.link.ask<Counts>(state, [this.#id]);
    const { messages, held, bytes } = row!;
    if (messages === null) throw serverError(codes.removed, `describe ${this.#title}`, "msgctl");
    return { messages: Number(messages), held: Number(held), bytes: Number(bytes) };
  }

  /** Removes it with all messages, now: pending and later calls reject with EIDRM. */
  async remove(): Promise<void> {
    const [row] = await this.#session.link.ask<{ result: number }>(remove, [this.#id]);
    if (row!.result !== 0) throw serverError(row!.result, `remove ${this.#title}`, "msgctl");
  }

  get #title(): string {
    return `queue "${this.name}"`;
  }

  async #ask(
    { type, hold }: QueueReceiveOptions,
    waits: boolean,
    action: string,
  ): Promise<Row> {
    const { low, high, but, sorted } = select(type, action);
    const holds = checkFlag(hold, "hold") ?? false;
    const { link, sid } = this.#session;
    const values = [sid, this.#id, low, high, but, sorted, holds, waits];
    const [row] = await link.ask<Row>(receive, values);
    if (Number(row!.code) === codes.removed) throw serverError(codes.removed, action, "msgrcv");
    return row!;
  }

  /** Fetches a message that was put into the hands of this session. */
  async #take(seq: string, hold: boolean, action: string): Promise<Message> {
    const { link, sid } = this.#session;
    const [row] = await link.ask<Row>(take, [sid, seq, hold]);
    if (row!.code !== "0") throw serverError(codes.removed, action, "msgrcv");
    return this.#message(row!, hold);
  }

  /** Gives a message back that came just before its wait was cancelled. */
  async #decline(seq: string): Promise<boolean> {
    const { link, sid } = this.#session;
    await link.ask(putBack, [sid, seq, false]);
    return true;
  }

  #message(row: Row, hold: boolean): Message {
    if (hold) return new HeldMessage(this.#session, row);
    return new Message(Number(row.type), Uint8Array.from(row.data));
  }
}

function select(type: MessageTypeSelector | undefined, action: string): Selection {
  const any = { low: "1", high: MAX_TYPE, but: 0, sorted: false };
  if (type === undefined) return any;
  const checked = (number: number) => {
    checkInteger(number, 1, Number.MAX_SAFE_INTEGER, `${action} by type ${number}`);
    return number;
  };
  if (typeof type === "number") return { ...any, low: `${checked(type)}`, high: `${type}` };
  if (typeof type === "object" && type !== null) {
    if ("atMost" in type) return { ...any, high: `${checked(type.atMost)}`, sorted: true };
    if ("not" in type) return { ...any, but: checked(type.not) };
  }
  throw new TypeError(`Cannot ${action}: expected a type as a number, { atMost } or { not }`);
}
