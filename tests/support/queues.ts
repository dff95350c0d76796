/**
 * Queues of messages of tests.
 *
 * @module
 */

import { assert } from "@std/assert";
import type { Message, MessageQueue } from "@sysv/ipc";
import { IPC_INFO, msgctl } from "@sysv/ipc/libc";

/** The limits of the system: bytes of a message, and of a new queue. */
export const { msgmax, msgmnb } = msgctl(0, IPC_INFO);

/** Sends messages of these types, each with its position as its text. */
export function sendTypes(queue: MessageQueue, ...types: number[]): void {
  types.forEach((type, index) => assert(queue.trySend(`${index}`, { type })));
}

/** Receives all that is left, as "type:text". */
export function drain(queue: MessageQueue): string[] {
  const messages: Message[] = [];
  for (let message; (message = queue.tryReceive());) messages.push(message);
  return messages.map((message) => `${message.type}:${message.text()}`);
}
