/**
 * What queues ask of the schema.
 *
 * @module
 */

import { checkInteger } from "../ffi/check.ts";
import { Message, type MessageTypeSelector } from "../ipc/message.ts";
import { call } from "./link.ts";

export const send = call("send", "int int bigint bytea bool");
export const cancelSend = call("cancel_send", "bigint");
export const receive = call(
  "receive",
  "int int bigint bigint bigint bool bigint bool bool",
  true,
);
export const cancelReceive = call("cancel_receive", "bigint");
export const take = call("take", "int bigint bool", true);
export const done = call("done", "int bigint");
export const putBack = call("put_back", "int bigint bool");
export const peek = call("peek", "int int", true);
export const describe = call("describe_queue", "int", true);
export const resize = call("resize_queue", "int bigint");
export const remove = call("remove_queue", "int");

/** A message, as the schema gives it out. */
export interface MessageRow {
  /** 0, or a ticket, or one of the negative codes. */
  readonly code: string;
  readonly seq: string;
  readonly type: string;
  readonly attempts: number;
  readonly data: Uint8Array;
}

/** Reads a type with all its 64 bits. */
export function typeOf({ type }: Pick<MessageRow, "type">): number | bigint {
  const number = Number(type);
  return Number.isSafeInteger(number) ? number : BigInt(type);
}

/** Makes a message, in a buffer of its own. */
export function messageOf(row: Pick<MessageRow, "type" | "data">): Message {
  return new Message(typeOf(row), Uint8Array.from(row.data));
}

const MAX_TYPE = "9223372036854775807";

/** Which messages will do: their lowest and highest type, all but one, and whether the lowest comes first. */
export type Selection = readonly [low: string, high: string, but: number, sorted: boolean];

/** Turns a selector into what the schema takes. */
export function select(type: MessageTypeSelector | undefined, action: string): Selection {
  if (type === undefined) return ["1", MAX_TYPE, 0, false];
  const checked = (number: number) => {
    checkInteger(number, 1, Number.MAX_SAFE_INTEGER, `${action} by type ${number}`);
    return number;
  };
  if (typeof type === "number") return [`${checked(type)}`, `${type}`, 0, false];
  if (typeof type === "object" && type !== null) {
    if ("atMost" in type) return ["1", `${checked(type.atMost)}`, 0, true];
    if ("not" in type) return ["1", MAX_TYPE, checked(type.not), false];
  }
  throw new TypeError(`Cannot ${action}: expected a type as a number, { atMost } or { not }`);
}
