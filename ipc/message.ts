/**
 * Messages: what users see, how they are selected, and how they get into memory and out of it.
 *
 * @module
 */

import { errors } from "../ffi/constants.ts";
import { abi } from "../ffi/platforms.ts";
import type { Slot } from "../ffi/msgbuf.ts";
import { encode } from "../ffi/bytes.ts";
import { checkInteger, checkOptions } from "../ffi/check.ts";
import type { Handle } from "./handle.ts";

/** Which messages: of this type; of the lowest type up to a number; of any type but one (Linux). */
export type MessageTypeSelector = number | { readonly atMost: number } | { readonly not: number };

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/**
 * A message that was received.
 *
 * @example
 * ```ts
 * import { MessageQueue } from "@sysv/ipc";
 * import { assertEquals } from "@std/assert";
 *
 * using queue = MessageQueue.create();
 * queue.trySend('{"resize":"cat.jpg"}', { type: 2 });
 * const message = queue.receiveSync();
 * assertEquals(message.type, 2);
 * assertEquals(message.bytes.length, 20);
 * assertEquals(message.json(), { resize: "cat.jpg" });
 * ```
 */
export class Message {
  /** The type, at least 1. Types of other programs above 2^53 are rounded. */
  readonly type: number;
  /** Its bytes, in a buffer of their own. */
  readonly bytes: Uint8Array<ArrayBuffer>;

  /**
   * Creates a message.
   *
   * @param type The type, at least 1.
   * @param bytes The bytes; they are not copied.
   */
  constructor(type: number, bytes: Uint8Array<ArrayBuffer>) {
    this.type = type;
    this.bytes = bytes;
  }

  /**
   * Decodes the bytes as UTF-8.
   *
   * @returns The text, with U+FFFD where the bytes are not UTF-8.
   */
  text(): string {
    return decoder.decode(this.bytes);
  }

  /**
   * Parses the bytes as JSON.
   *
   * @returns The value. That it is a `T` is not checked.
   * @throws {SyntaxError} If they are not JSON.
   */
  json<T = unknown>(): T {
    return JSON.parse(this.text()) as T;
  }
}

/** Writes a message into a slot and returns the number of its bytes. */
export function pack(
  slot: Slot,
  data: string | ArrayBuffer | ArrayBufferView,
  type: number,
  handle: Handle,
): number {
  const length = typeof data === "string"
    ? slot.encode(data)
    : slot.copy(data instanceof Uint8Array ? data : encode(data, `send to ${handle.name}`));
  slot.type = type;
  if (handle.state !== "open") throw handle.refusal();
  return length;
}

/** Makes a message of what was received into a slot. */
export function unpack(slot: Slot, length: number): Message {
  const bytes = new Uint8Array(length);
  bytes.set(slot.first(length));
  return new Message(slot.type, bytes);
}

/** Throws the error of a type that no message can have. */
export function refuseType(type: number, handle: Handle): void {
  const action = `send a message of type ${type} to ${handle.name}`;
  checkInteger(type, 1, Number.MAX_SAFE_INTEGER, action);
}

/** The argument and the flag by which msgrcv selects. */
export interface Selection {
  readonly type: number;
  readonly flags: number;
}

const ANY: Selection = { type: 0, flags: 0 };

/** Turns a selector into what msgrcv takes. */
export function select(
  options: { type?: MessageTypeSelector | undefined } | undefined,
  handle: Handle,
): Selection {
  if (options === undefined) return ANY;
  checkOptions(options);
  const { type } = options;
  return type === undefined ? ANY : choose(type, handle);
}

function choose(selector: MessageTypeSelector, handle: Handle): Selection {
  const checked = (type: number, what: string) => {
    checkInteger(type, 1, Number.MAX_SAFE_INTEGER, `receive ${what} ${type} from ${handle.name}`);
    return type;
  };
  if (typeof selector === "number") return { type: checked(selector, "type"), flags: 0 };
  if (typeof selector === "object" && selector !== null) {
    if ("atMost" in selector) return { type: -checked(selector.atMost, "types up to"), flags: 0 };
    if ("not" in selector) {
      const type = checked(selector.not, "any type but");
      const flags = abi.constants.MSG_EXCEPT;
      if (flags === -1) throw handle.error(errors.ENOSYS, "msgrcv", "receive any type but one");
      return { type, flags };
    }
  }
  throw new TypeError(
    `Cannot receive from ${handle.name}: expected a type as a number, { atMost } or { not }`,
  );
}
