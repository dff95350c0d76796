/**
 * Queues as web streams.
 *
 * @module
 */

import { isRemoved } from "../ffi/error.ts";
import { Message } from "./message.ts";

/** A message with its type, as a stream takes it. */
export interface OutgoingMessage {
  /** Text, sent as UTF-8, or bytes. */
  data: string | ArrayBuffer | ArrayBufferView;
  /**
   * The type by which receivers select, at least 1.
   *
   * @default {1}
   */
  type?: number | bigint | undefined;
}

/** What can be written to {@linkcode MessageQueue.writable}: also messages received from another queue. */
export type MessageChunk = string | ArrayBuffer | ArrayBufferView | OutgoingMessage | Message;

type Send = (
  data: string | ArrayBuffer | ArrayBufferView,
  options: { type?: number | bigint | undefined; signal?: AbortSignal | undefined },
) => Promise<void>;

type Receive = (options: { signal: AbortSignal }) => Promise<Message>;

/** Gives a message back to the queue it came from. */
type GiveBack = (message: Message) => Promise<void>;

/**
 * A stream of messages. It receives only when it is read; a message that arrives as the stream is cancelled goes
 * back to the queue. `ended` is called when it is closed, cancelled or broken.
 */
export function readableOf(
  receive: Receive,
  giveBack: GiveBack,
  ended: () => void,
): ReadableStream<Message> {
  const cancelled = new AbortController();
  let pulling: Promise<void> | undefined;
  return new ReadableStream<Message>({
    pull(controller) {
      return pulling = receive({ signal: cancelled.signal }).then(async (message) => {
        if (!cancelled.signal.aborted) controller.enqueue(message);
        else await giveBack(message);
      }, (error) => {
        if (cancelled.signal.aborted) return;
        ended();
        if (!isRemoved(error)) throw error;
        controller.close();
      });
    },
    async cancel(reason) {
      ended();
      cancelled.abort(reason);
      await pulling;
    },
  }, { highWaterMark: 0 });
}

/**
 * A stream of messages to send. Its writers wait while the queue is full. `ended` is called when it is closed,
 * aborted or broken.
 */
export function writableOf(send: Send, ended: () => void): WritableStream<MessageChunk> {
  return new WritableStream<MessageChunk>({
    async write(chunk, controller) {
      // Not all types of Bun know it.
      const { signal } = controller as object as { readonly signal: AbortSignal };
      try {
        await sendChunk(send, chunk, signal);
      } catch (error) {
        ended();
        throw error;
      }
    },
    abort: ended,
    close: ended,
  });
}

function sendChunk(send: Send, chunk: MessageChunk, signal: AbortSignal): Promise<void> {
  if (chunk instanceof Message) return send(chunk.bytes, { type: chunk.exactType, signal });
  if (typeof chunk === "object" && chunk !== null && "data" in chunk) {
    return send(chunk.data, { type: chunk.type, signal });
  }
  return send(chunk, { signal });
}

/** Iterates over messages until the queue is removed, an error comes, or the iteration is ended from outside. */
export class MessageIterator implements AsyncIterableIterator<Message> {
  readonly #receive: Receive;
  readonly #ending = new AbortController();
  readonly #signal: AbortSignal;
  #ended = false;

  constructor(receive: Receive, signal: AbortSignal | undefined) {
    this.#receive = receive;
    const { signal: ending } = this.#ending;
    this.#signal = signal === undefined ? ending : AbortSignal.any([signal, ending]);
  }

  async next(): Promise<IteratorResult<Message>> {
    if (this.#ended) return { value: undefined, done: true };
    try {
      return { value: await this.#receive({ signal: this.#signal }), done: false };
    } catch (error) {
      const isOver = this.#ended || isRemoved(error);
      this.#ended = true;
      if (!isOver) throw error;
      return { value: undefined, done: true };
    }
  }

  /** Ends the iteration, and a wait of it: that resolves with nothing, unless a message came just then. */
  return(): Promise<IteratorResult<Message>> {
    this.#ended = true;
    this.#ending.abort();
    return Promise.resolve({ value: undefined, done: true });
  }

  async throw(error: unknown): Promise<IteratorResult<Message>> {
    await this.return();
    throw error;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
