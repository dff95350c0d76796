/**
 * The bytes of a ring, which go on at its start where it ends, and how they are copied in and out at the
 * least cost in each runtime.
 *
 * @module
 */

import { backend } from "../ffi/load.ts";

/** Up to so many bytes are copied word by word, which is faster than by a call. */
const SMALL = 128;

/** What a processor gets at once from another. */
const LINE_BYTES = 64;

/**
 * A slab is cut into so many messages, but within these sizes, as a message that is kept keeps its slab. For
 * 4096 bytes it is the largest, which in V8 is a third faster than the least, and no slower than larger ones.
 */
const CUTS = 64;
const MIN_SLAB = 2 ** 16;
const MAX_SLAB = 2 ** 18;
/** Up to so many come out of a slab; more have a buffer of their own, whose cost is then nothing to theirs. */
const MAX_CUT = 2 ** 14;
/** In V8 a buffer takes 200 ns and a view of one 10. In Bun a copy with its buffer takes 20. */
const cutsSlabs = backend?.makesBuffersFast !== true;

/** The bytes of a ring. A message begins at a multiple of 8. */
export class RingBytes {
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #words: Int32Array<ArrayBuffer>;
  readonly #mask: number;
  /** The buffer that was filled last, and its words. */
  #target: Uint8Array | undefined;
  #targetWords = new Int32Array(0);
  #slab = new ArrayBuffer(0);
  #slabWords = new Int32Array(this.#slab);
  /** How many words of the slab are given out. */
  #cut = 0;
  /** Where words go that nobody needs, so that reading them is not left out. */
  #sink = 0;

  /** Takes the memory of a ring, whose size is a power of 2. */
  constructor(bytes: Uint8Array<ArrayBuffer>) {
    this.#bytes = bytes;
    this.#words = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2);
    this.#mask = bytes.length - 1;
  }

  /** Has the processor get the lines of so many bytes, all at once, to read them. */
  fetch(at: number, count: number): void {
    const words = this.#words;
    const mask = this.#mask;
    let sum = 0;
    for (let i = at; i < at + count; i += LINE_BYTES) sum ^= words[(i & mask) >> 2]!;
    this.#sink = sum;
  }

  /** The same to write them: they must be free, as a word of each is written. */
  claim(at: number, count: number): void {
    const words = this.#words;
    const mask = this.#mask;
    for (let i = at; i < at + count; i = (i | (LINE_BYTES - 1)) + 1) words[(i & mask) >> 2] = 0;
  }

  /** Copies a message in. */
  write(bytes: Uint8Array, at: number): void {
    const first = this.#bytes.length - at;
    if (bytes.length <= first) this.#bytes.set(bytes, at);
    else {
      this.#bytes.set(bytes.subarray(0, first), at);
      this.#bytes.set(bytes.subarray(first), 0);
    }
  }

  /** Copies a message out, to bytes that nobody else has. */
  read(at: number, length: number): Uint8Array<ArrayBuffer> {
    if (cutsSlabs && length <= MAX_CUT) return this.#cutOut(at, length);
    if (at + length <= this.#bytes.length) return this.#bytes.slice(at, at + length);
    const bytes = new Uint8Array(length);
    this.#copy(bytes, at, length);
    return bytes;
  }

  #cutOut(at: number, length: number): Uint8Array<ArrayBuffer> {
    const words = (length + 3) >> 2;
    // One that a receiver has transferred has no words left.
    if (this.#cut + words >= this.#slabWords.length) {
      this.#slab = new ArrayBuffer(Math.min(Math.max(CUTS * length, MIN_SLAB), MAX_SLAB));
      this.#slabWords = new Int32Array(this.#slab);
      this.#cut = 0;
    }
    const from = this.#cut;
    this.#cut = from + words;
    const bytes = new Uint8Array(this.#slab, from << 2, length);
    if (length > SMALL) this.#copy(bytes, at, length);
    else this.#copyWords(this.#slabWords, from, at, words);
    return bytes;
  }

  /** Copies a message out to the start of a buffer that is long enough. */
  readInto(target: Uint8Array, at: number, length: number): void {
    if (length > SMALL || !this.#aim(target, length)) return this.#copy(target, at, length);
    this.#copyWords(this.#targetWords, 0, at, length >> 2);
    for (let i = length & ~3; i < length; i++) target[i] = this.#bytes[(at + i) & this.#mask]!;
  }

  /** Views a buffer by words, unless that is just what it did last; returns whether it can be. */
  #aim(target: Uint8Array, length: number): boolean {
    // A buffer that has shrunk has fewer words than it had.
    if (target === this.#target && this.#targetWords.length >= length >> 2) return true;
    if ((target.byteOffset & 3) !== 0) return false;
    this.#target = target;
    this.#targetWords = new Int32Array(
      target.buffer as ArrayBuffer,
      target.byteOffset,
      target.length >> 2,
    );
    return true;
  }

  #copyWords(target: Int32Array, to: number, at: number, count: number): void {
    const words = this.#words;
    const mask = this.#mask >> 2;
    const from = at >> 2;
    for (let i = 0; i < count; i++) target[to + i] = words[(from + i) & mask]!;
  }

  #copy(target: Uint8Array, at: number, length: number): void {
    const bytes = this.#bytes;
    const first = bytes.length - at;
    if (length <= first) target.set(bytes.subarray(at, at + length));
    else {
      target.set(bytes.subarray(at));
      target.set(bytes.subarray(0, length - first), first);
    }
  }
}
