/**
 * Messages: what users see, how they are selected, and how they get into memory and out of it.
 *
 * @module
 */

import { errors } from "../ffi/constants.ts";
import { abi } from "../ffi/platforms.ts";
import type { Slot } from "../ffi/msgbuf.ts";
import { encode } from "../ffi/bytes.ts";
import { checkInteger, checkOptions, described, numberError } from "../ffi/check.ts";
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
  /** The type, at least 1. Types of other programs above 2^53 are rounded: see `exactType`. */
  readonly type: number;
  /** Its bytes, in a buffer of their own. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** The type with all its 64 bits, as other programs may have set them: a bigint above 2^53. */
  readonly exactType: number | bigint;

  /**
   * Creates a message.
   *
   * @param type The type, at least 1; a bigint above 2^53.
   * @param bytes The bytes; they are not copied.
   * @throws {RangeError} If the type is not a whole number from 1 to 2^63 - 1.
   * @throws {TypeError} If the type is no number, or a bigint that a number would hold, or the bytes are no Uint8Array.
   */
  constructor(type: number | bigint, bytes: Uint8Array<ArrayBuffer>) {
    if (!isType(type)) throw typeError(type, "make a message");
    if (!(bytes instanceof Uint8Array)) {
      throw new TypeError(`Cannot make a message of ${described(bytes)}: expected a Uint8Array`);
    }
    this.type = Number(type);
    this.bytes = bytes;
    this.exactType = type;
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
  type: number | bigint,
  handle: Handle,
): number {
  const length = typeof data === "string"
    ? slot.encode(data)
    : slot.copy(data instanceof Uint8Array ? data : encode(data, `send to ${handle.name}`));
  slot.setType(type);
  if (handle.state !== "open") throw handle.refusal();
  return length;
}

/** Makes a message of what was received into a slot. */
export function unpack(slot: Slot, length: number): Message {
  const bytes = new Uint8Array(length);
  bytes.set(slot.first(length));
  return new Message(slot.exactType, bytes);
}

/** Reads the type of a message to send, once. */
export function readType(
  options: { type?: number | bigint | undefined } | undefined,
  handle: { readonly name: string },
): number | bigint {
  checkOptions(options);
  const { type = 1 } = options ?? {};
  if (!isType(type)) throw typeError(type, "send a message", ` to ${handle.name}`);
  return type;
}

const MAX_NUMBER = BigInt(Number.MAX_SAFE_INTEGER);

function isType(type: number | bigint): boolean {
  if (typeof type === "bigint") return type > MAX_NUMBER && type < 2n ** 63n;
  return Number.isSafeInteger(type) && type >= 1;
}

function typeError(type: unknown, action: string, where = ""): Error {
  const message = `Cannot ${action} of type ${
    String(type)
  }${where}: expected a whole number from 1`;
  if (typeof type === "bigint" && type > MAX_NUMBER) {
    return new RangeError(`${message} to ${2n ** 63n - 1n}`);
  }
  return numberError(type, `${message} to ${Number.MAX_SAFE_INTEGER}`);
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
