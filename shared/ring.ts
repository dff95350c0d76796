/**
 * A ring of messages in shared memory. Producers and consumers have a lock each. A message is there as
 * soon as its producer has stored the tail, and gone as soon as its consumer has stored the head: who
 * dies before has done nothing, who dies after has done it all.
 *
 * A message stands at a multiple of 8: its length, 4 bytes that mean nothing, and its bytes, which go on
 * at the start of the ring where it ends. Head and tail count bytes, modulo 2^32.
 *
 * What a lock protects is read and written plainly, as taking and giving back the lock put that in order.
 * Atomics are for the locks and for what the other side reads without them: each costs 5 ns, and in Bun
 * even a look takes the line of memory away from the processor that writes there.
 *
 * @module
 */

import { CLOSED, header, type Lock, ownerOf, REMOVED, WAKE } from "./layout.ts";
import type { Members } from "./members.ts";
import { REFUSED } from "./protocol.ts";
import { RingBytes } from "./ring_bytes.ts";
import {
  consumers,
  DATA,
  DATA_BYTES,
  DEATHS,
  HEAD,
  HEADER_BYTES,
  LAST_CONSUMER,
  LAST_PRODUCER,
  producers,
  RingFlows,
  roomFor,
  TAIL,
} from "./ring_flows.ts";
import { Pace, SPINS } from "./spin.ts";

/**
 * So many bytes are fetched from the other side's processor at once. Else each message waits for its own
 * line of memory, as no atomic overtakes what is under way: 70 to 200 ns. A longer message has its lines
 * under way together as it is copied, and writing a word of each before costs it a third.
 */
const AHEAD = 1024;

/** What became of a message that was to be sent or received. */
export const DONE = 1;
/** There is no message, or no room for it. */
export const NOT_NOW = -1;
/** Somebody keeps the lock. */
export const BUSY = -2;
/** The ring takes no more. */
export const OVER = -3;

/** Whether something is one of these instead of a message or its length. */
export function isFailure(outcome: unknown): outcome is number {
  return typeof outcome === "number" && outcome < 0;
}

/** Whether what was fetched up to here reaches a place; what longer messages have passed by does not. */
function isWithin(fetched: number, place: number): boolean {
  return ((fetched - place) >>> 0) < AHEAD;
}

/** A ring, as one handle sends and receives. */
export class Ring {
  readonly sending: Pace = new Pace();
  readonly receiving: Pace = new Pace();
  readonly flows: RingFlows;
  readonly #members: Members;
  readonly #seat: Members["seat"];
  readonly #words: Int32Array;
  readonly #bytes: RingBytes;
  readonly #capacity: number;
  readonly #mask: number;
  readonly #limit: number;
  /** What is known of the other end as long as nobody else has been at this one. */
  #head = 0;
  #tail = 0;
  /** Where the head was after this handle's last message. */
  #taken = 0;
  /** Up to where the ring was fetched, to be written and to be read. */
  #claimed = 0;
  #fetched = 0;

  /** Makes a ring of memory. */
  constructor(members: Members) {
    const { capacity, limit } = members.shape;
    this.#members = members;
    this.#seat = members.seat;
    this.#words = members.words;
    this.#bytes = new RingBytes(members.bytes.subarray(DATA_BYTES, DATA_BYTES + capacity));
    this.#capacity = capacity;
    this.#mask = capacity - 1;
    this.#limit = limit;
    this.flows = new RingFlows(members.protocol, capacity);
    members.seat.onSit = (place) => {
      // The process that had the place before knew other ends.
      Atomics.compareExchange(this.#words, LAST_PRODUCER, place, 0);
      Atomics.compareExchange(this.#words, LAST_CONSUMER, place, 0);
    };
  }

  /** How many bytes its messages take. */
  get used(): number {
    return (Atomics.load(this.#words, TAIL) - Atomics.load(this.#words, HEAD)) >>> 0;
  }

  /** Whether there seems to be a message, or none will come any more. */
  get isReadable(): boolean {
    const words = this.#words;
    if (Atomics.load(words, TAIL) !== Atomics.load(words, HEAD)) return true;
    return (Atomics.load(words, header.state) & (CLOSED | REMOVED)) !== 0;
  }

  /** How many members died as they held one of the ends. */
  deaths(end: "producers" | "consumers"): number {
    return Atomics.load(this.#words, DEATHS + (end === "producers" ? 0 : 1));
  }

  /** Whether a message of this length seems to fit. */
  fits(length: number): boolean {
    const free = this.#capacity - this.used;
    // What cannot be is for `trySend` to refuse.
    return free < 0 || roomFor(length) <= free;
  }

  // Sending.

  /** Sends a message if there is room and nobody keeps the lock. */
  trySend(bytes: Uint8Array): number {
    const me = this.#seat.place;
    if (me === 0) return BUSY;
    if (Atomics.compareExchange(this.#words, producers.word, 0, me) === 0) return this.#send(bytes);
    return this.#spin(producers.word) ? this.#send(bytes) : BUSY;
  }

  /** Sends a message with the lock of producers, and unlocks. */
  sendLocked(bytes: Uint8Array, deaths: number): number {
    if (deaths === REFUSED) return OVER;
    if (deaths > 0) Atomics.add(this.#words, DEATHS, deaths);
    return this.#send(bytes);
  }

  #send(bytes: Uint8Array): number {
    const words = this.#words;
    const me = this.#seat.place;
    const room = roomFor(bytes.length);
    const tail = words[TAIL]!;
    if (words[LAST_PRODUCER] !== me) {
      words[LAST_PRODUCER] = me;
      this.#claimed = tail;
      this.#head = Atomics.load(words, HEAD);
    }
    let free = this.#capacity - ((tail - this.#head) >>> 0);
    if (room > free) {
      this.#head = Atomics.load(words, HEAD);
      free = this.#capacity - ((tail - this.#head) >>> 0);
      if (room > free) return this.#noRoom(free, tail);
    }
    if (this.sending.paused) this.sending.found(free / room, this.#capacity / room);
    const at = tail & this.#mask;
    if (room < AHEAD && !isWithin(this.#claimed, tail + room)) this.#claim(tail, free);
    words[DATA + (at >> 2)] = bytes.length;
    this.#bytes.write(bytes, (at + HEADER_BYTES) & this.#mask);
    Atomics.store(words, TAIL, (tail + room) | 0);
    if (Atomics.compareExchange(words, producers.word, me, 0) !== me) this.#unlock(producers);
    return DONE;
  }

  #claim(tail: number, free: number): void {
    const count = Math.min(free, AHEAD);
    this.#bytes.claim(tail & this.#mask, count);
    this.#claimed = (tail + count) | 0;
  }

  #noRoom(free: number, tail: number): number {
    this.#unlock(producers);
    if (free < 0 || ((tail | this.#head) & 7) !== 0) throw this.#spoilt("send to");
    return NOT_NOW;
  }

  // Receiving.

  /** Receives a message if there is one: its bytes, or what became of it. */
  tryReceive(): Uint8Array<ArrayBuffer> | number {
    const outcome = this.#begin();
    return outcome === DONE ? this.#receive() : outcome;
  }

  /** Receives a message into a buffer: its length, or what became of it. */
  tryReceiveInto(buffer: Uint8Array): number {
    const outcome = this.#begin();
    return outcome === DONE ? this.#receiveInto(buffer) : outcome;
  }

  /** Receives a message with the lock of consumers. */
  receiveLocked(deaths: number): Uint8Array<ArrayBuffer> | number {
    return this.#accept(deaths) ? this.#receive() : NOT_NOW;
  }

  /** Gives the lock of consumers back, as the message is not wanted any more, and leaves it to others. */
  decline(deaths: number): false {
    if (deaths > 0) Atomics.add(this.#words, DEATHS + 1, deaths);
    this.#members.driveSync(this.flows.leaveMessage(this.#seat.place), "unlock");
    return false;
  }

  /** The same into a buffer. */
  receiveLockedInto(buffer: Uint8Array, deaths: number): number {
    return this.#accept(deaths) ? this.#receiveInto(buffer) : NOT_NOW;
  }

  /** Takes the lock of consumers if there is a message: without, not even a look at the lock is needed. */
  #begin(): number {
    const words = this.#words;
    const me = this.#seat.place;
    if (me === 0) return BUSY;
    if (this.#tail === this.#taken && this.#isEmpty()) return NOT_NOW;
    if (Atomics.compareExchange(words, consumers.word, 0, me) !== 0) {
      if (!this.#spin(consumers.word)) return BUSY;
    }
    return this.#look() ? DONE : NOT_NOW;
  }

  /** Looks without the lock: so a consumer that waits does not slow the one that receives. */
  #isEmpty(): boolean {
    this.#tail = Atomics.load(this.#words, TAIL);
    return this.#tail === Atomics.load(this.#words, HEAD);
  }

  #accept(deaths: number): boolean {
    if (deaths > 0) Atomics.add(this.#words, DEATHS + 1, deaths);
    return this.#look();
  }

  /** Looks for a message with the lock, which goes back if there is none. */
  #look(): boolean {
    const words = this.#words;
    const me = this.#seat.place;
    const head = words[HEAD]!;
    if (words[LAST_CONSUMER] !== me) {
      words[LAST_CONSUMER] = me;
      this.#fetched = head;
      this.#tail = Atomics.load(words, TAIL);
    }
    if (head === this.#tail) this.#tail = Atomics.load(words, TAIL);
    if (head === this.#tail) {
      this.#unlock(consumers);
      return false;
    }
    return true;
  }

  #fetch(head: number): void {
    const count = Math.min((this.#tail - head) >>> 0, AHEAD);
    this.#bytes.fetch(head & this.#mask, count);
    this.#fetched = (head + count) | 0;
  }

  /** The length of the first message. What it says may be anything. */
  #first(head: number): number {
    const length = this.#words[DATA + ((head & this.#mask) >> 2)]!;
    const filled = (this.#tail - head) >>> 0;
    if (length >>> 0 <= this.#limit && roomFor(length) <= filled && filled <= this.#capacity) {
      const room = roomFor(length);
      if (room < AHEAD && !isWithin(this.#fetched, head + 1)) this.#fetch(head);
      if (this.receiving.paused) this.receiving.found(filled / room, this.#capacity / room);
      return length;
    }
    this.#unlock(consumers);
    throw this.#spoilt("receive from");
  }

  #receive(): Uint8Array<ArrayBuffer> {
    const head = this.#words[HEAD]!;
    const length = this.#first(head);
    const bytes = this.#bytes.read((head + HEADER_BYTES) & this.#mask, length);
    this.#end(head, length);
    return bytes;
  }

  #receiveInto(buffer: Uint8Array): number {
    const head = this.#words[HEAD]!;
    const length = this.#first(head);
    if (length > buffer.length) {
      this.#members.driveSync(this.flows.leaveMessage(this.#seat.place), "unlock");
      throw new RangeError(
        `Cannot receive into a buffer of ${buffer.length} bytes: the message has ${length}`,
      );
    }
    this.#bytes.readInto(buffer, (head + HEADER_BYTES) & this.#mask, length);
    this.#end(head, length);
    return length;
  }

  #end(head: number, length: number): void {
    const words = this.#words;
    const me = this.#seat.place;
    this.#taken = (head + roomFor(length)) | 0;
    Atomics.store(words, HEAD, this.#taken);
    if (Atomics.compareExchange(words, consumers.word, me, 0) !== me) this.#unlock(consumers);
  }

  // The slow ways.

  /** Looks for a while whether a lock becomes free and clean. */
  #spin(word: number): boolean {
    const words = this.#words;
    for (let i = 0; i < SPINS; i++) {
      const seen = Atomics.load(words, word);
      if (ownerOf(seen) !== 0) continue;
      // Deaths and ends are for the flow to see.
      if ((seen & ~WAKE) !== 0) return false;
      const taken = seen | this.#seat.place;
      if (Atomics.compareExchange(words, word, seen, taken) === seen) return true;
    }
    return false;
  }

  #unlock(lock: Lock): void {
    this.#members.unlock(lock);
  }

  #spoilt(action: string): Error {
    return this.#members.error("EIO", action, "another program has overwritten its memory");
  }
}
