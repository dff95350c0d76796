/**
 * A value in shared memory, in four buffers that are written in turn. The version says which is the
 * newest, and storing it is all that makes a new value one: a writer that dies before has left the old
 * one. Readers copy, and look whether the buffer was newer than what they copied.
 *
 * @module
 */

import process from "node:process";
import { type Flow, isIn, load } from "./flow.ts";
import { gateAt, LINE, lockAt, REMOVED } from "./layout.ts";
import type { Members } from "./members.ts";
import type { Shape } from "./pair.ts";

/** Where those sleep who wait for a new value: all of them are woken. */
export const changed = gateAt(3, true);
export const writers = lockAt(1, changed);
const VERSION = 2 * LINE;
const BUFFERS = 4 * LINE;
const COUNT = 4;
/** The length, and both words of the version. */
const HEADER_BYTES = 16;
/** So often the value is replaced several times as a reader reads before something must be wrong. */
const MAX_TRIES = 10_000;
/** The high word of the largest version, which is a safe integer. */
const MAX_HIGH = 2 ** 21 - 1;

/** A value's bytes, and its version. */
export interface Snapshot {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly version: number;
}

function strideOf(limit: number): number {
  return (limit + HEADER_BYTES + 63) & ~63;
}

/** The bytes of a segment for values of so many. */
export function cellsSize({ limit }: Shape): number {
  return 4 * BUFFERS + COUNT * strideOf(limit);
}

/** The buffers, as one handle reads and writes them. */
export class Cells {
  readonly #members: Members;
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #stride: number;
  readonly #limit: number;

  /** Makes cells of memory. */
  constructor(members: Members) {
    this.#members = members;
    this.#words = members.words;
    this.#bytes = members.bytes;
    this.#limit = members.shape.limit;
    this.#stride = strideOf(this.#limit);
  }

  /** The word where the buffer of a version begins. */
  #at(version: number): number {
    return BUFFERS + (((version & (COUNT - 1)) * this.#stride) >> 2);
  }

  /** The newest version; 0 before there is a value. */
  get version(): number {
    const words = this.#words;
    for (let i = 0; i < MAX_TRIES; i++) {
      const low = Atomics.load(words, VERSION);
      const high = Atomics.load(words, this.#at(low) + 2);
      if (inOrder(words, VERSION) !== low) continue;
      if (high >>> 0 > MAX_HIGH) break;
      return whole(low, high);
    }
    throw this.#members.spoilt("read");
  }

  /** Copies the newest value; undefined before there is one. Never blocks, and never sees half of one. */
  read(): Snapshot | undefined {
    const words = this.#words;
    for (let i = 0; i < MAX_TRIES; i++) {
      const low = Atomics.load(words, VERSION);
      const at = this.#at(low);
      const length = Atomics.load(words, at);
      const high = Atomics.load(words, at + 2);
      if (low === 0 && high === 0) return undefined;
      const isPossible = length >= 0 && length <= this.#limit && high >>> 0 <= MAX_HIGH;
      const from = 4 * at + HEADER_BYTES;
      const bytes = isPossible ? this.#bytes.slice(from, from + length) : undefined;
      const newer = (inOrder(words, VERSION) - low) | 0;
      // Two versions later the buffer is not touched yet.
      if (newer >= 0 && newer <= COUNT - 2) {
        if (bytes !== undefined) return { bytes, version: whole(low, high) };
        break;
      }
    }
    throw this.#members.spoilt("read");
  }

  /** Writes a value, with the lock of writers, and returns its version. */
  write(bytes: Uint8Array): number {
    const words = this.#words;
    const last = Atomics.load(words, VERSION);
    const low = (last + 1) | 0;
    const high = Atomics.load(words, this.#at(last) + 2) + (low === 0 ? 1 : 0);
    const at = this.#at(low);
    Atomics.store(words, at, bytes.length);
    Atomics.store(words, at + 1, low);
    Atomics.store(words, at + 2, high);
    this.#bytes.set(bytes, 4 * at + HEADER_BYTES);
    Atomics.store(words, VERSION, low);
    return whole(low, high);
  }

  /** Sleeps until there may be another version than one that was seen. */
  *awaitChange(version: number, me: number): Flow<void> {
    const low = version | 0;
    yield* this.#members.protocol.awaitGate(writers, changed, me, function* () {
      return (yield* load(VERSION)) !== low || (yield* isIn(REMOVED));
    });
  }
}

function whole(low: number, high: number): number {
  return (high >>> 0) * 2 ** 32 + (low >>> 0);
}

/**
 * Reads a word after all that was read before. x86 does so anyway; elsewhere only what also writes is
 * not overtaken.
 */
export const inOrder: (words: Int32Array, word: number) => number = process.arch === "x64"
  ? (words, word) => Atomics.load(words, word)
  : (words, word) => Atomics.add(words, word, 0);
