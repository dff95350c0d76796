/**
 * Messages: as users see them, and in the memory that the calls take.
 *
 * @module
 */

import { abi, errors } from "./ffi/abi.ts";
import { addressOf } from "./ffi/calls.ts";
import { bytesOf } from "./bytes.ts";
import { checkInteger } from "./check.ts";
import type { Handle } from "./object.ts";

/** Which messages: of this type; of the lowest type up to a number; of any type but one (Linux). */
export type MessageTypeSelector =
  | number
  | { readonly atMost: number }
  | { readonly not: number };

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
const encoder = new TextEncoder();

/** A message that was received. */
export class Message {
  /** The type that its sender gave it, at least 1. Other programs' types above 2^53 are rounded. */
  readonly type: number;
  /** Its bytes, in a buffer of their own. */
  readonly bytes: Uint8Array<ArrayBuffer>;

  /** Creates a message. */
  constructor(type: number, bytes: Uint8Array<ArrayBuffer>) {
    this.type = type;
    this.bytes = bytes;
  }

  /** Decodes the bytes as UTF-8. */
  text(): string {
    return decoder.decode(this.bytes);
  }

  /**
   * Parses the bytes as JSON.
   *
   * @throws {SyntaxError} If they are none.
   */
  json<T = unknown>(): T {
    return JSON.parse(this.text()) as T;
  }
}

/** The default of MSGMAX, so that hardly any message is longer. */
export const USUAL_LONGEST = 8192;

/**
 * Memory for one message at a time: struct msgbuf { long mtype at 0; char mtext[] at 8 }.
 *
 * The text is aligned to 64 bytes, as copying it can take thirty times as long otherwise.
 */
export class Slot {
  capacity = -1;
  /** The whole, from the type on. */
  bytes!: Uint8Array<ArrayBuffer>;
  text!: Uint8Array<ArrayBuffer>;
  #type!: Uint32Array;

  reserve(capacity: number): this {
    if (capacity <= this.capacity) return this;
    const memory = new ArrayBuffer(capacity + 128);
    const offset = 56 + (64 - addressOf(new Uint8Array(memory)) % 64) % 64;
    this.bytes = new Uint8Array(memory, offset, 8 + capacity);
    this.text = new Uint8Array(memory, offset + 8, capacity);
    this.#type = new Uint32Array(memory, offset, 2);
    this.capacity = capacity;
    return this;
  }

  get type(): number {
    return this.#type[0]! + (this.#type[1]! | 0) * 2 ** 32;
  }

  set type(type: number) {
    this.#type[0] = type;
    this.#type[1] = type / 2 ** 32;
  }

  /** Puts a message in and gives the number of its bytes. */
  pack(data: string | BufferSource, type: number, handle: Handle): number {
    if (!(Number.isSafeInteger(type) && type >= 1)) {
      const doing = `send a message of type ${type} to ${handle.name}`;
      checkInteger(type, 1, Number.MAX_SAFE_INTEGER, doing);
    }
    let length;
    if (typeof data === "string") {
      this.reserve(Math.max(USUAL_LONGEST, 3 * data.length));
      length = encoder.encodeInto(data, this.text).written;
    } else {
      const bytes = bytesOf(data, `send a message to ${handle.name}`);
      length = bytes.byteLength;
      this.reserve(Math.max(USUAL_LONGEST, length));
      this.text.set(bytes);
    }
    this.type = type;
    if (handle.state !== "open") throw handle.refusal();
    return length;
  }

  /** Makes a message of what was received. */
  unpack(length: number): Message {
    return new Message(this.type, this.text.slice(0, length));
  }
}

/** The argument and the flag by which msgrcv selects. */
export interface Selection {
  readonly type: number;
  readonly flags: number;
}

const ANY: Selection = { type: 0, flags: 0 };

/** Turns a selector into what msgrcv takes. */
export function select(selector: MessageTypeSelector | undefined, handle: Handle): Selection {
  const checked = (type: number, what: string) => {
    checkInteger(type, 1, Number.MAX_SAFE_INTEGER, `receive ${what} ${type} from ${handle.name}`);
    return type;
  };
  if (selector === undefined) return ANY;
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
