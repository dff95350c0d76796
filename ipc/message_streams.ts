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
  type?: number | undefined;
}

/** What can be written to {@linkcode MessageQueue.writable}: also messages received from another queue. */
export type MessageChunk = string | ArrayBuffer | ArrayBufferView | OutgoingMessage | Message;

type Send = (
  data: string | ArrayBuffer | ArrayBufferView,
  options: { type?: number | undefined; signal?: AbortSignal | undefined },
) => Promise<void>;

type Receive = (options: { signal: AbortSignal }) => Promise<Message>;

/** Gives a message back to the queue it came from. */
type GiveBack = (message: Message) => Promise<void>;

/**
 * A stream of messages. It receives only when it is read; a message that arrives as the stream is cancelled goes
 * back to the queue.
 */
export function readableOf(receive: Receive, giveBack: GiveBack): ReadableStream<Message> {
  const cancelled = new AbortController();
  let pulling: Promise<void> | undefined;
  return new ReadableStream<Message>({
    pull(controller) {
      return pulling = receive({ signal: cancelled.signal }).then(async (message) => {
        if (!cancelled.signal.aborted) controller.enqueue(message);
        else await giveBack(message);
      }, (error) => {
        if (cancelled.signal.aborted) return;
        if (!isRemoved(error)) throw error;
        controller.close();
      });
    },
    async cancel(reason) {
      cancelled.abort(reason);
      await pulling;
    },
  }, { highWaterMark: 0 });
}

/** A stream of messages to send. Its writers wait while the queue is full. */
export function writableOf(send: Send): WritableStream<MessageChunk> {
  return new WritableStream<MessageChunk>({
    write(chunk, controller) {
      // Not all types of Bun know it.
      const { signal } = controller as object as { readonly signal: AbortSignal };
      if (chunk instanceof Message) return send(chunk.bytes, { type: chunk.type, signal });
      if (typeof chunk === "object" && chunk !== null && "data" in chunk) {
        return send(chunk.data, { type: chunk.type, signal });
      }
      return send(chunk, { signal });
    },
  });
}
