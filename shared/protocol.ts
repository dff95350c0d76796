/**
 * The protocol of the members of a structure: who takes part, how they lock, sleep and wake, and how
 * the living learn that one has died.
 *
 * A set of semaphores stands beside the segment. `heir` is 1 unless a process settles an inheritance.
 * For each of N places there are `alive`, 1 while a process has it, and a `bell`, on which that process
 * sleeps. A process that registers arms all bells: +1 and -1 with undo, which changes nothing now, but when
 * the process dies the kernel rings all of them, and every sleeper looks again.
 *
 * @module
 */

import {
  clearBits,
  compareExchange,
  type Flow,
  giveBack,
  load,
  look,
  part,
  read,
  repeat,
  ring,
  setBits,
  take,
  tryStep,
  waitFor,
} from "./flow.ts";
import type { Step } from "../sync/protocols.ts";
import {
  deathsOf,
  ENDED,
  flagsOf,
  type Gate,
  inheritedBy,
  type Lock,
  lowestBit,
  ownerOf,
  placeOf,
  placesOf,
  WAKE,
} from "./layout.ts";

/** What {@linkcode Protocol.lock} returns for a lock that is not given any more. */
export const REFUSED = -1;
/** Tells apart from a number of deaths that there is nothing to do but sleep. */
const ASLEEP = -2;
/** How often a bell may ring without being heard: as far from 32767, which no ring may pass, as from 0. */
const LOUD = 16384;

const add = (index: number, delta: number) => ({ index, delta });
const hold = (index: number, delta: number) => ({ index, delta, undo: true });

/** The steps and flows of a structure with so many places, numbered from 1. */
export class Protocol {
  /** How many places there are. */
  readonly places: number;
  /** The locks that a dead one may have left, and the gates at which it may be marked. */
  readonly locks: readonly Lock[];
  readonly gates: readonly Gate[];
  /** Frees what else the last owner of a place may have left; structures say how. */
  disown: (place: number) => Flow<void> = nothing;
  /** How many words of a gate have bits that count. */
  readonly gateWords: number;

  /** Makes the protocol of a structure. */
  constructor(places: number, locks: readonly Lock[], gates: readonly Gate[]) {
    this.places = places;
    this.locks = locks;
    this.gates = gates;
    this.gateWords = Math.ceil(places / 32);
  }

  // The semaphores.

  /** 1 unless somebody settles an inheritance. */
  readonly heir = 0;
  /** 1 once the set belongs to a segment. */
  readonly bound = 1;

  alive(place: number): number {
    return 1 + place;
  }

  bell(place: number): number {
    return 1 + this.places + place;
  }

  /** What the semaphores start with. */
  get values(): number[] {
    return [1, 0, ...new Array<number>(2 * this.places).fill(0)];
  }

  // The steps.

  /** Takes a place that is free. As long as somebody settles an inheritance, the dead stay dead. */
  register(place: number): Step {
    const alive = this.alive(place);
    return [...this.passHeir, add(alive, 0), hold(alive, +1), ...this.arm()];
  }

  /** Gives the place back. */
  leave(place: number): Step {
    return [hold(this.alive(place), -1), ...this.disarm()];
  }

  /** Has the kernel ring all bells if this process dies. */
  arm(): Step {
    return this.#bells((bell) => [add(bell, +1), hold(bell, -1)]);
  }

  disarm(): Step {
    return this.#bells((bell) => [hold(bell, +1), add(bell, -1)]);
  }

  /** Is possible if nobody settles an inheritance. */
  get passHeir(): Step {
    return [add(this.heir, -1), add(this.heir, +1)];
  }

  get becomeHeir(): Step {
    return [hold(this.heir, -1)];
  }

  get endHeir(): Step {
    return [hold(this.heir, +1)];
  }

  /** Rings for somebody who lives. */
  ring(place: number): Step {
    const alive = this.alive(place);
    return [add(alive, -1), add(alive, +1), add(this.bell(place), +1)];
  }

  /** Has a bell ring less often, but still ring. */
  quieten(place: number): Step {
    return [add(this.bell(place), 1 - LOUD)];
  }

  ringAll(places: readonly number[]): Step {
    return places.map((place) => add(this.bell(place), +1));
  }

  sleep(place: number): Step {
    return [add(this.bell(place), -1)];
  }

  #bells(step: (bell: number) => Step): Step {
    const places = Array.from({ length: this.places }, (_, index) => index + 1);
    return places.flatMap((place) => step(this.bell(place)));
  }

  // Who takes part.

  /** Takes a place, looking first at the one given; returns it, or 0 if all are taken. */
  *take(first: number): Flow<number> {
    return yield* repeat(() => this.#takeFree(first));
  }

  *#takeFree(first: number): Flow<number | undefined> {
    const found = yield* read((values) =>
      -this.#loudBell(values) || this.#freePlace(values, first)
    );
    if (found < 0) yield* tryStep(this.quieten(-found));
    if (found < 0) return undefined;
    if (found === 0 || (yield* tryStep(this.register(found)))) return found;
    yield* waitFor(this.passHeir);
    return undefined;
  }

  /** A place whose bell has rung for so many deaths that it could not be armed for long, else 0. */
  #loudBell(values: readonly number[]): number {
    const index = values.findIndex((value, index) => index > this.bell(0) && value > LOUD);
    return index < 0 ? 0 : index - this.bell(0);
  }

  #freePlace(values: readonly number[], first: number): number {
    for (let i = 0; i < this.places; i++) {
      const place = (first + i) % this.places + 1;
      if (values[this.alive(place)] === 0) return place;
    }
    return 0;
  }

  /**
   * What follows `take`: frees what the one who had this place before has left: locks, which counts as a death, marks, and
   * rings that nobody heard.
   */
  *settle(place: number): Flow<void> {
    for (const lock of this.locks) yield* repeat(() => this.#free(lock, place));
    yield* part(() => this.disown(place));
    yield* part(() => this.settleGates(place));
  }

  /** Passes on what nobody hears any more. */
  *settleGates(place: number): Flow<void> {
    for (const gate of this.gates) yield* this.unmark(gate.word);
    for (const gate of this.gates) yield* this.passOn(gate, place);
  }

  *#free({ word }: Lock, place: number): Flow<true | undefined> {
    const seen = yield* load(word);
    if (ownerOf(seen) !== place) return true;
    return (yield* compareExchange(word, seen, inheritedBy(0, seen))) ? true : undefined;
  }

  // Sleeping and waking.

  *mark(gate: number): Flow<void> {
    yield { ask: "mark", gate };
  }

  /** Takes the mark away, and returns whether nobody has rung for it. */
  *unmark(gate: number): Flow<boolean> {
    return (yield { ask: "unmark", gate }) === true;
  }

  /** Sleeps at a gate where it is marked. A ring that comes as the sleep is cancelled is passed on. */
  *sleepAt(gate: Gate, me: number): Flow<void> {
    try {
      yield { ask: "sleep", gate: gate.word };
    } catch (error) {
      yield* this.withdraw(gate, me);
      throw error;
    }
  }

  /** Takes the mark away; if somebody has rung for it, another may have to hear it. */
  *withdraw(gate: Gate, me: number): Flow<void> {
    if (!(yield* this.unmark(gate.word))) yield* this.passOn(gate, me);
  }

  *passOn(gate: Gate, me: number): Flow<void> {
    yield* this.wakeOne(gate, me);
  }

  /** Wakes one of those who sleep at a gate, if any: the first after this place, for fairness. */
  *wakeOne({ word }: Gate, me: number): Flow<void> {
    yield* repeat(() => this.#wake(word, me));
  }

  *#wake(word: number, me: number): Flow<true | undefined> {
    const place = yield* repeat(() => this.#claim(word, me));
    return place === 0 || (yield* ring(this.ring(place))) ? true : undefined;
  }

  /** Takes the mark of one of those who sleep away, and returns its place, 0 if nobody does. */
  *#claim(word: number, me: number): Flow<number | undefined> {
    const first = (me - 1) >> 5;
    // Of several words its own comes last again, for the places before this one.
    const last = this.gateWords > 1 ? this.gateWords : 0;
    for (let k = 0; k <= last; k++) {
      const index = (first + k) % this.gateWords;
      const seen = yield* load(word + index);
      const marks = seen & this.validBits(index);
      if (marks === 0) continue;
      const after = k === 0 ? marks & (-2 << ((me - 1) & 31)) : marks;
      if (after === 0 && this.gateWords > 1) continue;
      const bit = lowestBit(after === 0 ? marks : after);
      const claimed = yield* compareExchange(word + index, seen, seen & ~bit);
      return claimed ? placeOf(bit, index) : undefined;
    }
    return 0;
  }

  /** The bits of a word of a gate that belong to places: others can only have been put there by mistake. */
  validBits(index: number): number {
    const bits = this.places - 32 * index;
    return bits >= 32 ? -1 : (1 << bits) - 1;
  }

  /** Wakes all of those who sleep at a gate. */
  *wakeAll({ word }: Gate): Flow<void> {
    yield* part(() => this.#wakeAll(word));
  }

  *#wakeAll(word: number): Flow<void> {
    for (let index = 0; index < this.gateWords; index++) {
      if (!(yield* look(word + index, (marks) => marks !== 0))) continue;
      const marks = yield* take(word + index);
      const places = placesOf(marks & this.validBits(index), index);
      if (places.length > 0) yield* giveBack(this.ringAll(places));
    }
  }

  /** Whether anybody may sleep at one of these gates. */
  *anyAwaited(gates: readonly Gate[]): Flow<boolean> {
    for (const { word } of gates) {
      for (let index = 0; index < this.gateWords; index++) {
        const valid = this.validBits(index);
        if (yield* look(word + index, (marks) => (marks & valid) !== 0)) return true;
      }
    }
    return false;
  }

  // The locks.

  /**
   * Takes a lock, and returns how many of its holders have died since it was clean; -1 if it is not
   * given any more. The first event is the fast path, which the classes perform without a flow.
   */
  *lock(lock: Lock, me: number): Flow<number> {
    if (yield* compareExchange(lock.word, 0, me)) return 0;
    return yield* repeat(() => this.#lockOrSleep(lock, me));
  }

  *#lockOrSleep(lock: Lock, me: number): Flow<number | undefined> {
    const gate = lock.opens[0]!;
    let outcome: number | undefined;
    try {
      yield* this.mark(gate.word);
      outcome = yield* part(() => this.takeOrAnnounce(lock, me));
    } catch (error) {
      yield* this.withdraw(gate, me);
      throw error;
    }
    if (outcome === undefined) return undefined;
    if (outcome !== ASLEEP) {
      yield* this.unmark(gate.word);
      return outcome;
    }
    yield* this.sleepAt(gate, me);
    return undefined;
  }

  /** Takes a lock as one who may have been woken at a gate: who gives up leaves that to another. */
  *lockFor(gate: Gate, lock: Lock, me: number): Flow<number> {
    try {
      return yield* this.lock(lock, me);
    } catch (error) {
      yield* this.passOn(gate, me);
      throw error;
    }
  }

  /** Takes a lock that is free, or whose owner has died; returns `undefined` if somebody has it. */
  *tryLock(lock: Lock, me: number): Flow<number | undefined> {
    const outcome = yield* repeat(() => this.#takeNow(lock, me));
    return outcome === ASLEEP ? undefined : outcome;
  }

  *#takeNow(lock: Lock, me: number): Flow<number | undefined> {
    return yield* this.takeIfFree(lock, me, yield* load(lock.word));
  }

  /** Takes the lock if it can be had; else sees to it that the unlock wakes. */
  *takeOrAnnounce(lock: Lock, me: number): Flow<number | undefined> {
    const seen = yield* load(lock.word);
    const outcome = yield* this.takeIfFree(lock, me, seen);
    if (outcome !== ASLEEP || (seen & WAKE) !== 0) return outcome;
    const announced = yield* compareExchange(lock.word, seen, seen | WAKE);
    return announced ? ASLEEP : undefined;
  }

  /** Takes a lock that was seen so; `undefined` says to look again. */
  *takeIfFree(lock: Lock, me: number, seen: number): Flow<number | undefined> {
    const owner = ownerOf(seen);
    if (owner !== 0) {
      return (yield* this.isDead(owner)) ? yield* this.inherit(lock, me) : ASLEEP;
    }
    if ((seen & ENDED) !== 0) return REFUSED;
    const taken = yield* compareExchange(lock.word, seen, seen | me);
    return taken ? deathsOf(seen) : undefined;
  }

  *isDead(place: number): Flow<boolean> {
    // A place that does not exist was written by mistake, and nobody has it.
    return (yield* read((values) => place > this.places ? 0 : values[this.alive(place)]!)) === 0;
  }

  /** Takes a lock over from an owner who has died: as the heir, so that one death counts once. */
  *inherit(lock: Lock, me: number): Flow<number | undefined> {
    yield* waitFor(this.becomeHeir);
    const outcome = yield* this.#takeOver(lock, me);
    yield* giveBack(this.endHeir);
    return outcome;
  }

  *#takeOver({ word }: Lock, me: number): Flow<number | undefined> {
    const seen = yield* load(word);
    if (ownerOf(seen) === 0 || !(yield* this.isDead(ownerOf(seen)))) return undefined;
    const inherited = inheritedBy(me, seen);
    return (yield* compareExchange(word, seen, inherited)) ? deathsOf(inherited) : undefined;
  }

  /** Gives a lock back, clean, and wakes its sleepers. The first event is the fast path. */
  *unlock(lock: Lock, me: number): Flow<void> {
    if (yield* compareExchange(lock.word, me, 0)) return;
    if (yield* repeat(() => this.#release(lock, me))) yield* part(() => this.wakeFor(lock, me));
  }

  /** Gives the lock back, and returns whether somebody may sleep. */
  *#release({ word }: Lock, me: number): Flow<boolean | undefined> {
    const seen = yield* load(word);
    // Somebody else's by now: this process was taken for dead, or the word was spoilt.
    if (ownerOf(seen) !== me) return false;
    const released = yield* compareExchange(word, seen, flagsOf(seen));
    return released ? (seen & WAKE) !== 0 : undefined;
  }

  /** Wakes at each gate of a lock, and takes WAKE away once nobody sleeps at any. */
  *wakeFor(lock: Lock, me: number): Flow<void> {
    for (const gate of lock.opens) {
      if (yield* part(() => this.#isClosed(gate))) continue;
      if (gate.all) yield* this.wakeAll(gate);
      else yield* this.wakeOne(gate, me);
    }
    if (yield* part(() => this.anyAwaited(lock.opens))) return;
    yield* clearBits(lock.word, WAKE);
    yield* this.lookAgain(lock);
  }

  *#isClosed({ closedIf }: Gate): Flow<boolean> {
    return closedIf !== undefined && (yield* load(closedIf[0])) === (yield* load(closedIf[1]));
  }

  /** Somebody who came as WAKE was taken away may have relied on it. */
  *lookAgain(lock: Lock): Flow<void> {
    if (!(yield* part(() => this.anyAwaited(lock.opens)))) return;
    yield* setBits(lock.word, WAKE);
    for (const gate of lock.opens) yield* this.wakeAll(gate);
  }

  /**
   * Sleeps at a gate that a lock's holders open, unless a look after the mark shows that there is no
   * need to. Returns in both cases: the caller looks again.
   */
  *awaitGate(lock: Lock, gate: Gate, me: number, isReady: () => Flow<boolean>): Flow<void> {
    try {
      yield* this.mark(gate.word);
      yield* setBits(lock.word, WAKE);
      // What follows the sleep is the way of each message to one who sleeps: no generators within it.
      if (!(yield* part(isReady))) yield { ask: "sleep", gate: gate.word };
    } catch (error) {
      yield* this.withdraw(gate, me);
      throw error;
    }
    yield { ask: "unmark", gate: gate.word };
  }

  /** Has no lock given any more, and wakes all who sleep. */
  *end(locks: readonly Lock[]): Flow<void> {
    for (const lock of locks) yield* setBits(lock.word, ENDED);
    for (const gate of this.gates) yield* this.wakeAll(gate);
  }
}

function* nothing(): Flow<void> {}
