/**
 * Where everything stands in a ring, and how its members wait for each other.
 *
 * @module
 */

import { type Flow, isIn, load, repeat, setBits } from "./flow.ts";
import { CLOSED, ENDED, gateAt, header, LINE, lockAt, REMOVED } from "./layout.ts";
import { type Protocol, REFUSED } from "./protocol.ts";

/** Where those sleep who wait for a message: any of them can take it, so one is woken. */
export const filled = gateAt(5);
/** Where those sleep who wait for room: there may be enough for one and not for another, so all are. */
export const drained = gateAt(6, true);
/** The locks of producers and of consumers; each opens the gate of the other. */
export const producers = lockAt(1, filled);
export const consumers = lockAt(2, drained);
export const TAIL = 3 * LINE;
export const HEAD = 4 * LINE;
/** How many have died as they sent, and as they received. */
export const DEATHS = 7 * LINE;
/** Who sent last, and who received last: only they know what the other end was. */
export const LAST_PRODUCER = producers.word + 15;
export const LAST_CONSUMER = consumers.word + 15;
export const DATA = 8 * LINE;
export const DATA_BYTES = 4 * DATA;
export const HEADER_BYTES = 8;

/** The bytes of a segment with a ring of so many. */
export function ringSize(capacity: number): number {
  return DATA_BYTES + capacity;
}

/** The bytes that a message takes in the ring. */
export function roomFor(length: number): number {
  return (length + HEADER_BYTES + 7) & ~7;
}

/** The flows of a ring, beside the flows of its locks. */
export class RingFlows {
  readonly #protocol: Protocol;
  readonly #capacity: number;

  /** Makes the flows of a ring of so many bytes. */
  constructor(protocol: Protocol, capacity: number) {
    this.#protocol = protocol;
    this.#capacity = capacity;
  }

  /** Sleeps until there may be a message. */
  awaitMessage(me: number): Flow<void> {
    return this.#protocol.awaitGate(producers, filled, me, this.isReadable);
  }

  readonly isReadable = function* (): Flow<boolean> {
    if ((yield* load(TAIL)) !== (yield* load(HEAD))) return true;
    return yield* isIn(CLOSED | REMOVED);
  };

  /** Gives the lock back and leaves a message to others. */
  *leaveMessage(me: number): Flow<void> {
    yield* this.#protocol.unlock(consumers, me);
    yield* this.passOn(me);
  }

  /** Leaves to others what this one may have been woken for: one of them is woken instead, if any sleeps. */
  *passOn(me: number): Flow<void> {
    yield* this.#protocol.wakeOne(filled, me);
  }

  /** Sleeps until there may be room. */
  *awaitRoom(me: number, length: number): Flow<void> {
    const capacity = this.#capacity;
    yield* this.#protocol.awaitGate(consumers, drained, me, function* () {
      const used = ((yield* load(TAIL)) - (yield* load(HEAD))) >>> 0;
      const free = capacity - used;
      return free < 0 || roomFor(length) <= free || (yield* isIn(CLOSED | REMOVED));
    });
  }

  /** After a close: lets nobody send any more, and returns whether nothing is left to receive. */
  *isOver(me: number): Flow<boolean> {
    yield* setBits(producers.word, ENDED);
    return yield* repeat(() => this.#isOver(me));
  }

  *#isOver(me: number): Flow<boolean | undefined> {
    const protocol = this.#protocol;
    // Somebody may just be sending, or have died as it did.
    if ((yield* protocol.lock(producers, me)) === REFUSED) {
      return (yield* load(TAIL)) === (yield* load(HEAD));
    }
    yield* protocol.unlock(producers, me);
    return undefined;
  }

  /** Closes the ring: who dies in between leaves a closed one, as `isOver` ends what is begun. */
  *close(): Flow<void> {
    yield* setBits(header.state, CLOSED);
    yield* this.#protocol.end([producers]);
  }
}
