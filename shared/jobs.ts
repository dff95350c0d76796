/**
 * A table of jobs in shared memory. The state of its slot says what becomes of a job, and changes by one
 * store: it is there, it is in the hands of a place, it is done. The order in which jobs are given out
 * stands in a ring of slots beside the table. Where a holder of the lock has died, the ring is made again
 * from the states, which are never half changed.
 *
 * @module
 */

import { compareExchange, type Flow, isIn, load, look, setBits } from "./flow.ts";
import { type Gate, gateUnless, header, LINE, type Lock, lockAt, REMOVED } from "./layout.ts";
import type { Members } from "./members.ts";
import type { Shape } from "./pair.ts";

/** The ring: its ends, and the number of the next job. */
const HEAD = 2 * LINE;
const TAIL = HEAD + 1;
const NEXT = HEAD + 2;
/** How many slots are not free, and how many jobs are in somebody's hands. */
const FILLED = HEAD + 3;
const CLAIMED = HEAD + 4;
/** Where those sleep who wait for a job, and for room. */
export const ready: Gate = gateUnless(3, HEAD, TAIL);
export const vacant: Gate = gateUnless(4, FILLED, header.capacity);
export const table: Lock = lockAt(1, ready, vacant);
/** Not 0 if there may be jobs in nobody's hands, as a newcomer has the place of a dead holder. */
const DISOWNED = HEAD + 5;
const SLOTS = 5 * LINE;

// A slot: its state, how often its job was given out, the bytes, and the number of its job.
const SLOT_WORDS = 4;
const FREE = 0;
const READY = 1;
/** Added to the place in whose hands a job is, 0 for nobody's. */
const HANDS = 0x100;

/** A job that was taken. */
export interface Claim {
  readonly slot: number;
  readonly attempts: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

function strideOf(limit: number): number {
  return (limit + 63) & ~63;
}

/** The bytes of a segment for so many jobs of so many bytes. */
export function jobsSize({ capacity, limit }: Shape): number {
  return 4 * (SLOTS + capacity * (SLOT_WORDS + 1)) + capacity * strideOf(limit);
}

/** The table, as one handle works on it with its lock. */
export class Jobs {
  readonly #members: Members;
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #capacity: number;
  readonly #limit: number;
  /** The word where the ring begins, and the byte where the jobs do. */
  readonly #ring: number;
  readonly #data: number;
  /** Where the search for a free slot begins. */
  #free = 0;

  /** Makes a table of memory. */
  constructor(members: Members) {
    const { capacity, limit } = members.shape;
    this.#members = members;
    this.#words = members.words;
    this.#bytes = members.bytes;
    this.#capacity = capacity;
    this.#limit = limit;
    this.#ring = SLOTS + capacity * SLOT_WORDS;
    this.#data = 4 * (this.#ring + capacity);
  }

  /** How many jobs wait to be given out. */
  get waiting(): number {
    return (this.#load(TAIL) - this.#load(HEAD)) >>> 0;
  }

  /** How many jobs are in somebody's hands. */
  get claimed(): number {
    return this.#load(CLAIMED);
  }

  /** Whether some may be in nobody's hands; the next look tells only what is new. */
  takeDisowned(): boolean {
    if (this.#load(DISOWNED) === 0) return false;
    this.#store(DISOWNED, 0);
    return true;
  }

  /** Whether no slot is free. */
  get isFull(): boolean {
    return this.#load(FILLED) >= this.#capacity;
  }

  #load(word: number): number {
    return Atomics.load(this.#words, word);
  }

  #store(word: number, value: number): void {
    Atomics.store(this.#words, word, value);
  }

  #slot(slot: number): number {
    return SLOTS + slot * SLOT_WORDS;
  }

  /** The word of the ring at a position. */
  #entry(position: number): number {
    return this.#ring + (position & (this.#capacity - 1));
  }

  /** Puts a job in; returns whether there was room. Who dies before the state is stored has not. */
  add(bytes: Uint8Array): boolean {
    if (this.isFull) return false;
    const slot = this.#findFree();
    if (slot < 0) throw this.#members.spoilt("send to");
    const at = this.#slot(slot);
    const number = this.#load(NEXT);
    this.#bytes.set(bytes, this.#data + slot * strideOf(this.#limit));
    this.#store(at + 1, 0);
    this.#store(at + 2, bytes.length);
    this.#store(at + 3, number);
    this.#store(NEXT, (number + 1) | 0);
    this.#store(at, READY);
    this.#store(FILLED, this.#load(FILLED) + 1);
    const tail = this.#load(TAIL);
    this.#store(this.#entry(tail), slot);
    this.#store(TAIL, (tail + 1) | 0);
    return true;
  }

  #findFree(): number {
    for (let i = 0; i < this.#capacity; i++) {
      const slot = (this.#free + i) & (this.#capacity - 1);
      if (this.#load(this.#slot(slot)) !== FREE) continue;
      this.#free = slot + 1;
      return slot;
    }
    return -1;
  }

  /** Takes the oldest job, if there is one. */
  claim(place: number): Claim | undefined {
    const head = this.#load(HEAD);
    if (head === this.#load(TAIL)) return undefined;
    const slot = this.#load(this.#entry(head));
    if (slot >>> 0 >= this.#capacity) throw this.#members.spoilt("receive from");
    const at = this.#slot(slot);
    const length = this.#load(at + 2);
    if (this.#load(at) !== READY || length >>> 0 > this.#limit) {
      throw this.#members.spoilt("receive from");
    }
    const from = this.#data + slot * strideOf(this.#limit);
    const bytes = this.#bytes.slice(from, from + length);
    const attempts = this.#load(at + 1) + 1;
    this.#store(at + 1, attempts);
    this.#store(at, HANDS + place);
    this.#store(CLAIMED, this.#load(CLAIMED) + 1);
    this.#store(HEAD, (head + 1) | 0);
    return { slot, attempts, bytes };
  }

  /** Ends a job that this place holds; returns whether it did. */
  finish(slot: number, place: number): boolean {
    if (!this.#isHeldBy(slot, place)) return false;
    this.#store(this.#slot(slot), FREE);
    this.#store(CLAIMED, this.#load(CLAIMED) - 1);
    this.#store(FILLED, this.#load(FILLED) - 1);
    return true;
  }

  /** Gives back a job that this place holds, to be the next that is given out. */
  giveBack(slot: number, place: number): boolean {
    if (!this.#isHeldBy(slot, place)) return false;
    const head = (this.#load(HEAD) - 1) | 0;
    this.#store(this.#entry(head), slot);
    this.#store(this.#slot(slot), READY);
    this.#store(CLAIMED, this.#load(CLAIMED) - 1);
    this.#store(HEAD, head);
    return true;
  }

  #isHeldBy(slot: number, place: number): boolean {
    return this.#load(this.#slot(slot)) === HANDS + place;
  }

  /** Makes ready what is in the hands of places that nobody has, and then the ring anew. */
  reclaim(isGone: (place: number) => boolean): void {
    let found = false;
    for (let slot = 0; slot < this.#capacity; slot++) {
      const state = this.#load(this.#slot(slot));
      if (state < HANDS || !isGone(state - HANDS)) continue;
      this.#store(this.#slot(slot), READY);
      found = true;
    }
    if (found) this.rebuild();
  }

  /** Makes the ring from the states: one who died with the lock can have left it half changed. */
  rebuild(): void {
    const slots = Array.from({ length: this.#capacity }, (_, slot) => slot);
    const stateOf = (slot: number) => this.#load(this.#slot(slot));
    const numberOf = (slot: number) => this.#load(this.#slot(slot) + 3);
    const next = this.#load(NEXT);
    // The oldest is furthest behind the next, whatever has wrapped around.
    const inOrder = slots.filter((slot) => stateOf(slot) === READY)
      .sort((a, b) => ((next - numberOf(b)) >>> 0) - ((next - numberOf(a)) >>> 0));
    for (const [index, slot] of inOrder.entries()) this.#store(this.#entry(index), slot);
    this.#store(FILLED, slots.filter((slot) => stateOf(slot) !== FREE).length);
    this.#store(CLAIMED, slots.filter((slot) => stateOf(slot) >= HANDS).length);
    this.#store(HEAD, 0);
    this.#store(TAIL, inOrder.length);
  }

  /**
   * Takes what the last owner of a place held out of its hands, without the lock: nobody who looks for the
   * dead would find it dead any more.
   */
  *disown(place: number): Flow<void> {
    let found = false;
    for (let slot = 0; slot < this.#capacity; slot++) {
      if (yield* compareExchange(this.#slot(slot), HANDS + place, HANDS)) found = true;
    }
    if (found) yield* setBits(DISOWNED, 1);
  }

  /** Sleeps until there may be what opens one of the gates: a job, or room. */
  await(gate: Gate, me: number): Flow<void> {
    return gate === ready ? this.awaitJob(me) : this.awaitRoom(me);
  }

  /** Sleeps until there may be a job; a death wakes too, as its jobs come back. */
  *awaitJob(me: number): Flow<void> {
    yield* this.#members.protocol.awaitGate(table, ready, me, function* () {
      if ((yield* load(HEAD)) !== (yield* load(TAIL))) return true;
      return (yield* look(DISOWNED, (word) => word !== 0)) || (yield* isIn(REMOVED));
    });
  }

  /** Sleeps until there may be room. */
  *awaitRoom(me: number): Flow<void> {
    const capacity = this.#capacity;
    yield* this.#members.protocol.awaitGate(table, vacant, me, function* () {
      return (yield* load(FILLED)) < capacity || (yield* isIn(REMOVED));
    });
  }
}
