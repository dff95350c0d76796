/**
 * What a mutex does, as flows.
 *
 * @module
 */

import { type Flow, giveBack, type Like, readTaken, tryStep, waitFor } from "../flow.ts";
import type { mutex } from "../protocols.ts";

type Protocol = Like<typeof mutex>;

/** The state in which a mutex was found. */
export interface Found {
  /** How many holders it had since it was clean, this one included. */
  readonly dirty: number;
  /** Whether it was given back at once, because a holder has died and the handle refuses then. */
  readonly refused: boolean;
}

/** The state of a mutex of which no holder has died. */
export const clean: Found = { dirty: 1, refused: false };

/** Locks. */
export function* lock(p: Protocol, refuses: boolean): Flow<Found> {
  return (yield* tryStep(p.takeClean)) ? clean : yield* lockInLine(p, refuses);
}

/** Locks behind other waits of its thread: they stand in the line of this step. */
export function* lockInLine(p: Protocol, refuses: boolean): Flow<Found> {
  yield* waitFor(p.take);
  return yield* accept(p, refuses);
}

/** Locks if it is free. */
export function* tryLock(p: Protocol, refuses: boolean): Flow<Found | undefined> {
  if (yield* tryStep(p.takeClean)) return clean;
  return (yield* tryStep(p.take)) ? yield* accept(p, refuses) : undefined;
}

/** Locks also when the handle refuses. */
export function recover(p: Protocol): Flow<Found> {
  return lockInLine(p, false);
}

/** Unlocks, and resets the count of dead holders. */
export function unlock(p: Protocol, dirty: number): Flow<void> {
  return giveBack(p.release(dirty));
}

/** Finds out how many holders have died. */
function* accept(p: Protocol, refuses: boolean): Flow<Found> {
  const dirty = yield* readTaken((values) => values[p.dirty]!, p.putBack);
  const refused = refuses && dirty > 1;
  if (refused) yield* giveBack(p.putBack);
  return { dirty, refused };
}
