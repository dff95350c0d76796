/**
 * What is written to the streams of queues.
 *
 * @module
 */

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

/** Sends what was written to the stream of a queue. */
export function sendChunk(
  send: Send,
  chunk: MessageChunk,
  { signal }: { readonly signal: AbortSignal },
): Promise<void> {
  if (chunk instanceof Message) return send(chunk.bytes, { type: chunk.exactType, signal });
  if (typeof chunk === "object" && chunk !== null && "data" in chunk) {
    return send(chunk.data, { type: chunk.type, signal });
  }
  return send(chunk, { signal });
}
