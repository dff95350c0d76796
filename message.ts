/**
 * Messages: as users see them, and in the memory that the calls take.
 *
 * @module
 */

import { abi, errors } from "./ffi/abi.ts";
import type { Pointer } from "./ffi/backend.ts";
import { addressOf, pointerTo } from "./ffi/calls.ts";
import { bytesOf } from "./bytes.ts";
import { checkInteger } from "./check.ts";
import type { Handle } from "./object.ts";

/** Which messages: of this type; of the lowest type up to a number; of any type but one (Linux). */
export type MessageTypeSelector = number | { readonly atMost: number } | { readonly not: number };

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
  /** Where the whole stands. */
  pointer!: Pointer;
  #type!: Uint32Array;
  /** The text of the last length asked for: messages are often as long as the one before. */
  #view!: Uint8Array<ArrayBuffer>;

  reserve(capacity: number): this {
    if (capacity <= this.capacity) return this;
    const memory = new ArrayBuffer(capacity + 128);
    const offset = 56 + (64 - addressOf(new Uint8Array(memory)) % 64) % 64;
    this.bytes = new Uint8Array(memory, offset, 8 + capacity);
    this.text = new Uint8Array(memory, offset + 8, capacity);
    this.#type = new Uint32Array(memory, offset, 2);
    this.#view = this.text;
    this.pointer = pointerTo(this.bytes);
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
    if (!(Number.isSafeInteger(type) && type >= 1)) refuseType(type, handle);
    const length = typeof data === "string" ? this.#encode(data) : this.#copy(data, handle);
    this.type = type;
    if (handle.state !== "open") throw handle.refusal();
    return length;
  }

  #encode(data: string): number {
    const most = 3 * data.length;
    if (most > this.capacity) this.reserve(Math.max(USUAL_LONGEST, most));
    return encoder.encodeInto(data, this.text).written;
  }

  #copy(data: BufferSource, handle: Handle): number {
    const bytes = data instanceof Uint8Array
      ? data
      : bytesOf(data, `send a message to ${handle.name}`);
    const length = bytes.byteLength;
    if (length > this.capacity) this.reserve(Math.max(USUAL_LONGEST, length));
    this.text.set(bytes);
    return length;
  }

  /** Views the first bytes of the text. */
  first(length: number): Uint8Array<ArrayBuffer> {
    return this.#view.length === length ? this.#view : this.#view = this.text.subarray(0, length);
  }

  /** Makes a message of what was received. */
  unpack(length: number): Message {
    const bytes = new Uint8Array(length);
    bytes.set(this.first(length));
    return new Message(this.type, bytes);
  }
}

function refuseType(type: number, handle: Handle): void {
  const doing = `send a message of type ${type} to ${handle.name}`;
  checkInteger(type, 1, Number.MAX_SAFE_INTEGER, doing);
}

/** The argument and the flag by which msgrcv selects. */
export interface Selection {
  readonly type: number;
  readonly flags: number;
}

const ANY: Selection = { type: 0, flags: 0 };

/** Turns a selector into what msgrcv takes. */
export function select(selector: MessageTypeSelector | undefined, handle: Handle): Selection {
  return selector === undefined ? ANY : choose(selector, handle);
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
