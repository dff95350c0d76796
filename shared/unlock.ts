/**
 * Giving a lock back and waking who sleeps, in plain code: the events of {@linkcode Protocol.unlock}, one by
 * one, to which a test holds it. A generator within generators takes 100 us for them in a program that has been
 * idle, and that is the way of each message to somebody who sleeps.
 *
 * @module
 */

import {
  flagsOf,
  type Gate,
  type Lock,
  lowestBit,
  ownerOf,
  placeOf,
  placesOf,
  WAKE,
} from "./layout.ts";
import type { Protocol } from "./protocol.ts";

/** Who unlocks: a place in a structure, which rings for others. */
export interface Unlocking {
  readonly place: number;
  readonly words: Int32Array;
  /** Rings for a place, and returns whether anybody has it. */
  ringFor(place: number): boolean;
  /** Rings for several, whether anybody has them or not. */
  ringForAll(places: readonly number[]): void;
}

/** Gives a lock back, clean, and wakes its sleepers. */
export function unlock(by: Unlocking, protocol: Protocol, lock: Lock): void {
  if (Atomics.compareExchange(by.words, lock.word, by.place, 0) === by.place) return;
  if (release(by, lock)) wakeFor(by, protocol, lock);
}

/** Gives the lock back, and returns whether somebody may sleep. */
function release({ words, place }: Unlocking, { word }: Lock): boolean {
  for (;;) {
    const seen = Atomics.load(words, word);
    if (ownerOf(seen) !== place) return false;
    if (Atomics.compareExchange(words, word, seen, flagsOf(seen)) === seen) {
      return (seen & WAKE) !== 0;
    }
  }
}

function wakeFor(by: Unlocking, protocol: Protocol, { word, opens }: Lock): void {
  for (const gate of opens) {
    if (isClosed(by, gate)) continue;
    if (gate.all) wakeAll(by, protocol, gate);
    else wakeOne(by, protocol, gate);
  }
  if (anyAwaited(by, protocol, opens)) return;
  Atomics.and(by.words, word, ~WAKE);
  // Somebody who came as WAKE was taken away may have relied on it.
  if (!anyAwaited(by, protocol, opens)) return;
  Atomics.or(by.words, word, WAKE);
  for (const gate of opens) wakeAll(by, protocol, gate);
}

function isClosed({ words }: Unlocking, { closedIf }: Gate): boolean {
  if (closedIf === undefined) return false;
  return Atomics.load(words, closedIf[0]) === Atomics.load(words, closedIf[1]);
}

function wakeOne(by: Unlocking, protocol: Protocol, gate: Gate): void {
  for (;;) {
    const place = claim(by, protocol, gate);
    if (place === 0 || (place !== undefined && by.ringFor(place))) return;
  }
}

/** Takes the mark of one of those who sleep away: its place, 0 if nobody does, `undefined` to look again. */
function claim(
  { words, place }: Unlocking,
  protocol: Protocol,
  { word }: Gate,
): number | undefined {
  const { gateWords } = protocol;
  const first = (place - 1) >> 5;
  const last = gateWords > 1 ? gateWords : 0;
  for (let k = 0; k <= last; k++) {
    const index = (first + k) % gateWords;
    const seen = Atomics.load(words, word + index);
    const marks = seen & protocol.validBits(index);
    if (marks === 0) continue;
    const after = k === 0 ? marks & (-2 << ((place - 1) & 31)) : marks;
    if (after === 0 && gateWords > 1) continue;
    const bit = lowestBit(after === 0 ? marks : after);
    const isClaimed = Atomics.compareExchange(words, word + index, seen, seen & ~bit) === seen;
    return isClaimed ? placeOf(bit, index) : undefined;
  }
  return 0;
}

function wakeAll(by: Unlocking, protocol: Protocol, { word }: Gate): void {
  for (let index = 0; index < protocol.gateWords; index++) {
    if (Atomics.load(by.words, word + index) === 0) continue;
    const marks = Atomics.exchange(by.words, word + index, 0);
    const places = placesOf(marks & protocol.validBits(index), index);
    if (places.length > 0) by.ringForAll(places);
  }
}

function anyAwaited({ words }: Unlocking, protocol: Protocol, gates: readonly Gate[]): boolean {
  for (const { word } of gates) {
    for (let index = 0; index < protocol.gateWords; index++) {
      if ((Atomics.load(words, word + index) & protocol.validBits(index)) !== 0) return true;
    }
  }
  return false;
}
