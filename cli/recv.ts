/**
 * `ipc recv`: messages as lines.
 *
 * @module
 */

import type { Message, MessageTypeSelector } from "../ipc/message.ts";
import { MessageQueue } from "../ipc/message_queue.ts";
import type { Arguments, Command } from "./command.ts";
import { patience, persist, WAIT_OPTIONS } from "./duration.ts";
import { DONE, UsageError } from "./errors.ts";
import { print, writeBytes } from "./output.ts";
import { findOne } from "./target.ts";

function selectorOf(given: Arguments): MessageTypeSelector | undefined {
  const [type, atMost, not] = ["type", "up-to", "not"].map((name) => given.number(name));
  if ([type, atMost, not].filter((number) => number !== undefined).length > 1) {
    throw new UsageError("--type, --up-to and --not exclude each other", "recv");
  }
  return atMost !== undefined ? { atMost } : not !== undefined ? { not } : type;
}

/** Prints a message. */
function write({ type, bytes }: Message, given: Arguments): void {
  if (given.has("json")) {
    const base64 = btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
    let text: string | undefined;
    try {
      text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch {
      // It is no text.
    }
    return print(JSON.stringify(text === undefined ? { type, base64 } : { type, text }));
  }
  if (given.has("raw")) return writeBytes(bytes);
  const line = new Uint8Array(bytes.length + 1);
  line.set(bytes);
  line[bytes.length] = given.has("null") ? 0 : 10;
  writeBytes(line);
}

/** Waits for a message. */
function receive(
  queue: MessageQueue,
  type: MessageTypeSelector | undefined,
  given: Arguments,
): Message {
  const missed = `message queue ${queue.id} has no such message`;
  return persist(patience(given), missed, (timeout) => queue.receiveSync({ type, timeout }));
}

/** Receives until the queue is removed, or for `--timeout` nothing has come. */
function follow(
  queue: MessageQueue,
  type: MessageTypeSelector | undefined,
  given: Arguments,
): void {
  for (;;) {
    try {
      write(receive(queue, type, given), given);
    } catch (error) {
      if ((error as { code?: string }).code === "EIDRM") return;
      throw error;
    }
  }
}

export const command: Command = {
  name: "recv",
  summary: "Receive a message and print it as a line.",
  usage: ["[OPTIONS] ID|KEY|NAME"],
  options: [
    { name: "type", value: "TYPE", help: "only messages of this type" },
    { name: "up-to", value: "TYPE", help: "the message of the lowest type up to this" },
    { name: "not", value: "TYPE", help: "any type but this" },
    { name: "follow", short: "f", help: "go on until the queue is removed" },
    { name: "all", help: "receive what is there, and do not wait" },
    ...WAIT_OPTIONS,
    { name: "null", short: "z", help: "end messages with NUL instead of a newline" },
    { name: "raw", help: "end messages with nothing" },
    { name: "json", help: "print each message as a line of JSON" },
  ],
  notes: [
    "It waits until there is a message. What is received is taken out of the queue: if standard",
    "output is closed by then, it is lost.",
  ],
  run(given) {
    const [word, ...more] = given.words;
    if (word === undefined || more.length > 0) throw new UsageError("expected a queue", "recv");
    const type = selectorOf(given);
    const queue = MessageQueue.fromId(findOne(word, "queue").id);
    if (given.has("follow")) follow(queue, type, given);
    else if (given.has("all")) {
      for (let message; (message = queue.tryReceive({ type })) !== undefined;) {
        write(message, given);
      }
    } else write(receive(queue, type, given), given);
    return DONE;
  },
};
