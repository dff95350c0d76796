/**
 * Where everything stands in a segment of this room, for this module and for programs in other
 * languages. All words have 32 bits, in the byte order of the machine; word n is at byte 4 * n.
 *
 * Each group of words has lines of its own, so that processors that write to one do not slow those
 * that read another.
 *
 * @module
 */

/** What a structure is. */
export type Kind = "mutex" | "channel" | "work queue" | "variable" | "broadcast" | "counters";

/** The numbers of the kinds, in the header. */
export const kinds: Readonly<Record<Kind, number>> = {
  mutex: 1,
  channel: 2,
  "work queue": 3,
  variable: 4,
  broadcast: 5,
  counters: 6,
};

/** "SVSH" in memory, where the first byte is the lowest. */
export const MAGIC = 0x48535653;
export const VERSION = 1;

/** The words of a line: 128 bytes, as processors fetch 64-byte lines in pairs. */
export const LINE = 32;

/** The words of the header. All but `state` never change once `magic` is there, which comes last. */
export const header = {
  magic: 0,
  version: 1,
  kind: 2,
  /** The bytes of the whole structure. */
  size: 3,
  /** The identifier of the semaphore set. */
  semaphores: 4,
  /** How many can take part at once. */
  places: 5,
  /** What the kind makes of them: how much it holds, and how large one item can be. */
  capacity: 6,
  limit: 7,
  /** A hash of the name of the codec, or of the names of counters. */
  format: 8,
  /** Bits: 1 once the structure is closed, 2 once it is removed. */
  state: 9,
} as const;

export const CLOSED = 1;
export const REMOVED = 2;

/** The most places, as one semop has to ring a bell for each: SEMOPM is 500. */
export const MAX_PLACES = 240;

/** The words of a gate: a bit for each place, set by who is about to sleep there. */
export const GATE_WORDS = 8;

// A lock word: who holds it, how many holders have died since it was clean, and two flags.

/** Somebody may sleep at a gate of this lock: who unlocks has to wake. */
export const WAKE = 1 << 30;
/** The lock is not given any more, as the structure is closed or removed. */
export const ENDED = 1 << 29;
const FLAGS = WAKE | ENDED;
const MAX_DEATHS = 0xfff;

/** The place that holds a lock, 0 for none. */
export function ownerOf(word: number): number {
  return word & 0xfff;
}

/** How many holders have died since the lock was clean. */
export function deathsOf(word: number): number {
  return (word >>> 12) & MAX_DEATHS;
}

/** The flags of a lock word. */
export function flagsOf(word: number): number {
  return word & FLAGS;
}

/** The word of a lock with one death more than before, which this place holds, or none. */
export function inheritedBy(place: number, word: number): number {
  const deaths = Math.min(deathsOf(word) + 1, MAX_DEATHS);
  return place | deaths << 12 | flagsOf(word);
}

/** A gate: where to sleep, and whether all who do are woken, or one. */
export interface Gate {
  readonly word: number;
  readonly all: boolean;
  /**
   * Two words that are equal as long as nobody who sleeps there has anything to do. Where each look takes the
   * lock, those who find nothing would else wake each other for ever.
   */
  readonly closedIf?: readonly [number, number];
}

/** The lowest of some bits. */
export function lowestBit(bits: number): number {
  return bits & -bits;
}

/** The place that a bit of a word of a gate stands for. */
export function placeOf(bit: number, index: number): number {
  return 32 * index + 32 - Math.clz32(bit);
}

/** The places that the bits of a word of a gate stand for. */
export function placesOf(marks: number, index: number): number[] {
  const places: number[] = [];
  for (let rest = marks; rest !== 0; rest &= rest - 1) {
    places.push(placeOf(lowestBit(rest), index));
  }
  return places;
}

/** A lock: its word, the gate of those who want it, and the gates that its holders open. */
export interface Lock {
  readonly word: number;
  readonly gate: number;
  /** All gates whose sleepers an unlock may have to wake: its own first. */
  readonly opens: readonly Gate[];
}

/** A lock in a line of its own: the word, then its gate. */
export function lockAt(line: number, ...opens: Gate[]): Lock {
  const word = line * LINE;
  const gate = word + 1;
  return { word, gate, opens: [{ word: gate, all: false }, ...opens] };
}

/** A gate in a line of its own. */
export function gateAt(line: number, all = false): Gate {
  return { word: line * LINE, all };
}

/** A gate in a line of its own at which one is woken, unless two words are equal. */
export function gateUnless(line: number, ...closedIf: [number, number]): Gate {
  return { word: line * LINE, all: false, closedIf };
}

/** Hashes a name to a word: FNV-1a of its UTF-16 units. */
export function hashOf(name: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) {
    hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
  }
  return hash | 0;
}
