/**
 * `ipc send`: messages from words, lines or all of standard input.
 *
 * @module
 */

import { MessageQueue } from "../ipc/message_queue.ts";
import type { Command } from "./command.ts";
import { patience, persist, WAIT_OPTIONS } from "./duration.ts";
import { DONE, UsageError } from "./errors.ts";
import { readInput } from "./output.ts";
import { findOne, nameOf } from "./target.ts";

/** Reads standard input in parts that end with a byte, as they come; the last need not. */
export function* parts(end: number): Generator<Uint8Array<ArrayBuffer>> {
  const buffer = new Uint8Array(65536);
  let rest = new Uint8Array(0);
  for (;;) {
    const read = readInput(buffer);
    if (read.length === 0) break;
    rest = joined(rest, read);
    for (let at = rest.indexOf(end); at >= 0; at = rest.indexOf(end)) {
      yield rest.slice(0, at);
      rest = rest.slice(at + 1);
    }
  }
  if (rest.length > 0) yield rest;
}

/** Reads all of standard input. */
function whole(): Uint8Array<ArrayBuffer> {
  const buffer = new Uint8Array(65536);
  let all = new Uint8Array(0);
  for (let read = readInput(buffer); read.length > 0; read = readInput(buffer)) {
    all = joined(all, read);
  }
  return all;
}

function joined(first: Uint8Array, second: Uint8Array): Uint8Array<ArrayBuffer> {
  const both = new Uint8Array(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
}

export const command: Command = {
  name: "send",
  summary: "Send messages: the words given, or the lines of standard input.",
  usage: ["[OPTIONS] ID|KEY|NAME [MESSAGE]..."],
  options: [
    { name: "type", value: "TYPE", help: "the type of the messages, 1 by default" },
    { name: "whole", help: "send all of standard input as one message" },
    { name: "null", short: "z", help: "NUL ends a message instead of a newline" },
    ...WAIT_OPTIONS,
  ],
  notes: ["It waits while the queue is full. Messages are bytes, sent as they are."],
  run(given) {
    const [word, ...texts] = given.words;
    if (word === undefined) throw new UsageError("expected a queue", "send");
    const object = findOne(word, "queue");
    const queue = MessageQueue.fromId(object.id);
    const type = given.number("type") ?? 1;
    const messages = texts.length > 0
      ? texts
      : given.has("whole")
      ? [whole()]
      : parts(given.has("null") ? 0 : 10);
    for (const message of messages) {
      persist(
        patience(given),
        `${nameOf(object)} has no room`,
        (timeout) => queue.sendSync(message, { type, timeout }),
      );
    }
    return DONE;
  },
};
