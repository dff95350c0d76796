/**
 * Queues of messages that fill soon, and the waits for them.
 *
 * @module
 */

import { assert, assertEquals, assertInstanceOf } from "@std/assert";
import { readdirSync, readFileSync } from "node:fs";
import { IpcError, Message, MessageQueue } from "@sysv/ipc";
import { until } from "./time.ts";

export const ROOM = 64;

/** Has room for `ROOM` bytes, and is filled by one message of as many. */
export const create = () => MessageQueue.create({ maxBytes: ROOM });
export const fill = (queue: MessageQueue) => assert(queue.trySend("f".repeat(ROOM), { type: 99 }));

/** How many threads of this process wait in a call, by the function of the kernel. */
export function threadsIn(where: "do_msgrcv" | "do_msgsnd"): number {
  return readdirSync("/proc/self/task").filter((task) => {
    try {
      return readFileSync(`/proc/self/task/${task}/wchan`, "utf8").startsWith(where);
    } catch {
      return false;
    }
  }).length;
}

export const untilReceiving = (count = 1) => until(() => threadsIn("do_msgrcv") === count);
export const untilSending = (count = 1) => until(() => threadsIn("do_msgsnd") === count);

export const text = (message: Message | undefined) => message?.text();

export function assertMessage(message: unknown, text: string, type: number): void {
  assertInstanceOf(message, Message);
  const received = message as Message;
  assertEquals([received.text(), received.type], [text, type]);
}

/** Asserts with which system error a wait has ended. */
export function assertFailed(end: unknown, code: string, syscall?: string): void {
  assertInstanceOf(end, IpcError);
  const error = end as IpcError;
  assertEquals([error.code, syscall ?? error.syscall], [code, error.syscall]);
}

/** What a wait ends with, be it a result or a reason. */
export const endOf = (wait: Promise<unknown>): Promise<unknown> =>
  wait.then(() => "over", (error) => error);
