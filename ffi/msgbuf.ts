/**
 * Messages as msgsnd and msgrcv take them.
 *
 * @module
 */

import type { Pointer } from "./backend.ts";
import { addressOf, pointerTo } from "./memory.ts";

const encoder = new TextEncoder();

/** The default of MSGMAX, so that hardly any message is longer. */
export const USUAL_LONGEST = 8192;

/**
 * Memory for one message at a time: struct msgbuf { long mtype at 0; char mtext[] at 8 }.
 *
 * The text is aligned to 64 bytes, as copying it can take thirty times as long otherwise.
 */
export class Slot {
  capacity = -1;
  /** The whole, from the type on: kept, as a pointer alone does not keep memory from the collector. */
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

  /** The type, rounded above 2^53. */
  get type(): number {
    return this.#type[0]! + (this.#type[1]! | 0) * 2 ** 32;
  }

  /** The type with all its 64 bits: a bigint where a number does not hold them. */
  get exactType(): number | bigint {
    const { type } = this;
    if (Number.isSafeInteger(type)) return type;
    return BigInt(this.#type[1]! | 0) * 2n ** 32n + BigInt(this.#type[0]!);
  }

  /** Writes the type. */
  setType(type: number | bigint): void {
    if (typeof type === "bigint") {
      this.#type[0] = Number(BigInt.asUintN(32, type));
      this.#type[1] = Number(BigInt.asUintN(32, type >> 32n));
    } else {
      this.#type[0] = type;
      this.#type[1] = type / 2 ** 32;
    }
  }

  /** Takes over a message of so many bytes that was received elsewhere. */
  take(received: Uint8Array, length: number): void {
    this.bytes.set(received.subarray(0, 8 + length));
  }

  /** Writes text and returns the number of its bytes. */
  encode(data: string): number {
    const most = 3 * data.length;
    if (most > this.capacity) this.reserve(Math.max(USUAL_LONGEST, most));
    return encoder.encodeInto(data, this.text).written;
  }

  /** Writes bytes and returns their number. */
  copy(bytes: Uint8Array): number {
    const length = bytes.byteLength;
    if (length > this.capacity) this.reserve(Math.max(USUAL_LONGEST, length));
    this.text.set(bytes);
    return length;
  }

  /** Views the first bytes of the text. */
  first(length: number): Uint8Array<ArrayBuffer> {
    return this.#view.length === length ? this.#view : this.#view = this.text.subarray(0, length);
  }
}
