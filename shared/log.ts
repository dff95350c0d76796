/**
 * A log in shared memory that overwrites its oldest records. Every reader has a position of its own, of
 * which nobody else knows, so none holds a writer up. A writer says which records go before it writes
 * over them, and stores the tail last: one that dies before has written nothing.
 *
 * A record stands at a multiple of 8: its length, 4 bytes that mean nothing, its number as two words, and
 * its bytes, which go on at the start of the log where it ends. Positions count units of 8 bytes, modulo
 * 2^32.
 *
 * @module
 */

import { inOrder } from "./cells.ts";
import { type Flow, isIn, load } from "./flow.ts";
import { gateAt, LINE, lockAt, ownerOf, REMOVED } from "./layout.ts";
import type { Members } from "./members.ts";

/** Where those sleep who wait for a record: all of them are woken. */
export const appended = gateAt(4, true);
export const writers = lockAt(1, appended);
const TAIL = 2 * LINE;
/** The number of the next record, low and high word. */
const NEXT = TAIL + 2;
const OLDEST = 3 * LINE;
const DATA = 5 * LINE;
const HEADER_BYTES = 16;
/** So often a reader is overtaken as it reads before something must be wrong. */
const MAX_TRIES = 10_000;

/** So often a reader that begins looks for a moment in which nobody writes. */
const MAX_LOOKS = 1000;

/** A record that was read. */
export interface Record {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** How many records were overwritten before this one could be read. */
  readonly missed: number;
}

/** Where a reader is, and which number comes next; -1 if it does not know. */
export interface Position {
  at: number;
  next: number;
}

/** The bytes of a segment with a log of so many. */
export function logSize(capacity: number): number {
  return 4 * DATA + capacity;
}

/** The most bytes of a record. */
export function recordLimit(capacity: number): number {
  return capacity / 2 - HEADER_BYTES;
}

function unitsOf(length: number): number {
  return (length + HEADER_BYTES + 7) >>> 3;
}

function numberOf(low: number, high: number): number {
  return (high >>> 0) * 2 ** 32 + (low >>> 0);
}

/** The log, as one handle reads and writes it. */
export class Log {
  readonly #members: Members;
  readonly #words: Int32Array;
  readonly #data: Uint8Array<ArrayBuffer>;
  readonly #capacity: number;
  readonly #units: number;
  readonly #limit: number;

  /** Makes a log of memory. */
  constructor(members: Members) {
    const { capacity, limit } = members.shape;
    this.#members = members;
    this.#words = members.words;
    this.#data = members.bytes.subarray(4 * DATA, 4 * DATA + capacity);
    this.#capacity = capacity;
    this.#units = capacity >> 3;
    this.#limit = limit;
  }

  /** The position after the last record. */
  get end(): Position {
    const words = this.#words;
    for (let i = 0; i < MAX_LOOKS; i++) {
      const at = Atomics.load(words, TAIL);
      const next = numberOf(Atomics.load(words, NEXT), Atomics.load(words, NEXT + 1));
      // A writer that came before the number was read has gone on to the tail, or is still there.
      const isStill = ownerOf(Atomics.load(words, writers.word)) === 0;
      if (isStill && Atomics.load(words, TAIL) === at) return { at, next };
    }
    // Somebody is always writing, or has died as it did.
    return { at: Atomics.load(words, TAIL), next: -1 };
  }

  /** The word where the unit at a position begins. */
  #word(position: number): number {
    return DATA + ((position & (this.#units - 1)) << 1);
  }

  /** Appends a record, with the lock of writers. */
  append(bytes: Uint8Array): void {
    const words = this.#words;
    const tail = Atomics.load(words, TAIL);
    const end = (tail + unitsOf(bytes.length)) | 0;
    this.#makeRoom(tail, end);
    const [low, high] = [Atomics.load(words, NEXT), Atomics.load(words, NEXT + 1)];
    Atomics.store(words, this.#word(tail), bytes.length);
    Atomics.store(words, this.#word(tail + 1), low);
    Atomics.store(words, this.#word(tail + 1) + 1, high);
    this.#write(bytes, ((tail + 2) & (this.#units - 1)) << 3);
    // Who dies here has used a number up, and so counts as missed.
    if (low === -1) Atomics.store(words, NEXT + 1, high + 1);
    Atomics.store(words, NEXT, (low + 1) | 0);
    Atomics.store(words, TAIL, end);
  }

  /** Lets the oldest records go, before anything is written over them. */
  #makeRoom(tail: number, end: number): void {
    const words = this.#words;
    const first = Atomics.load(words, OLDEST);
    let oldest = first;
    while ((end - oldest) >>> 0 > this.#units) {
      const length = Atomics.load(words, this.#word(oldest));
      // What no writer can have written ends all that was there.
      const isRecord = length >>> 0 <= this.#limit && (tail - oldest) >>> 0 <= this.#units;
      oldest = isRecord ? (oldest + unitsOf(length)) | 0 : tail;
    }
    if (oldest !== first) Atomics.store(words, OLDEST, oldest);
  }

  #write(bytes: Uint8Array, at: number): void {
    const first = this.#capacity - at;
    if (bytes.length <= first) this.#data.set(bytes, at);
    else {
      this.#data.set(bytes.subarray(0, first), at);
      this.#data.set(bytes.subarray(first), 0);
    }
  }

  /** Reads the record at a position and moves the position on; undefined if there is none yet. */
  read(position: Position): Record | undefined {
    const words = this.#words;
    for (let i = 0; i < MAX_TRIES; i++) {
      if (this.#mayHaveWrapped(position) && this.#isGone(position)) {
        position.at = Atomics.load(words, OLDEST);
      }
      const { at } = position;
      const tail = Atomics.load(words, TAIL);
      if (tail === at) return undefined;
      const length = Atomics.load(words, this.#word(at));
      const number = this.#numberAt(at);
      const bytes = length >>> 0 <= this.#limit ? this.#copy(at, length) : undefined;
      const isOld = ((inOrder(words, OLDEST) - at) | 0) > 0 || (tail - at) >>> 0 > this.#units;
      if (!isOld) {
        if (bytes === undefined || number < position.next) break;
        const missed = position.next < 0 ? 0 : number - position.next;
        position.at = (at + unitsOf(length)) | 0;
        position.next = number + 1;
        return { bytes, missed };
      }
      // Overtaken: goes on with the oldest that there is.
      position.at = Atomics.load(words, OLDEST);
    }
    throw this.#members.spoilt("receive from");
  }

  /** Whether a reader is so far behind that the tail can have come round to its position again. */
  #mayHaveWrapped({ next }: Position): boolean {
    // The low word first: as it begins anew, the high one is ahead of it, and not behind.
    const low = Atomics.load(this.#words, NEXT);
    const number = numberOf(low, Atomics.load(this.#words, NEXT + 1));
    // No record takes more than half of the log.
    return next >= 0 && number - next >= 2 ** 33 / this.#units;
  }

  /** Whether the record that comes next is overwritten, by what the numbers say: there are more behind it. */
  #isGone({ next }: Position): boolean {
    const words = this.#words;
    for (let i = 0; i < MAX_LOOKS; i++) {
      const oldest = Atomics.load(words, OLDEST);
      const isEmpty = Atomics.load(words, TAIL) === oldest;
      const number = this.#numberAt(oldest);
      if (inOrder(words, OLDEST) === oldest) return isEmpty || number > next;
    }
    return false;
  }

  #numberAt(position: number): number {
    const word = this.#word(position + 1);
    return numberOf(Atomics.load(this.#words, word), Atomics.load(this.#words, word + 1));
  }

  #copy(position: number, length: number): Uint8Array<ArrayBuffer> {
    const at = ((position + 2) & (this.#units - 1)) << 3;
    const first = this.#capacity - at;
    if (length <= first) return this.#data.slice(at, at + length);
    const bytes = new Uint8Array(length);
    bytes.set(this.#data.subarray(at));
    bytes.set(this.#data.subarray(0, length - first), first);
    return bytes;
  }

  /** Sleeps until there may be a record. */
  *awaitRecord({ at }: Position, me: number): Flow<void> {
    yield* this.#members.protocol.awaitGate(writers, appended, me, function* () {
      return (yield* load(TAIL)) !== at || (yield* isIn(REMOVED));
    });
  }
}
