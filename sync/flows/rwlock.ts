/**
 * What a lock of readers and writers does, as flows.
 *
 * @module
 */

import { type Flow, giveBack, giveUp, type Like, tryStep, waitFor } from "../flow.ts";
import type { rwlock } from "../protocols.ts";

type Protocol = Like<typeof rwlock>;

/** Begins to read, behind waiting writers or regardless of them. */
export function read(p: Protocol, afterWriters: boolean): Flow<void> {
  return waitFor(afterWriters ? p.readAfterWriters : p.read);
}

/** Begins to read if that is possible now. */
export function tryRead(p: Protocol, afterWriters: boolean): Flow<boolean> {
  return tryStep(afterWriters ? p.readAfterWriters : p.read);
}

/** Ends reading. */
export function endRead(p: Protocol): Flow<void> {
  return giveBack(p.endRead);
}

/** Begins to write, announced to later readers. */
export function* write(p: Protocol): Flow<void> {
  if (yield* tryStep(p.writeAtOnce)) return;
  // Always possible.
  yield* tryStep(p.announce);
  try {
    yield* waitFor(p.write);
  } catch (error) {
    yield* giveUp(p.withdraw, error);
  }
}

/** Begins to write if that is possible now. */
export function tryWrite(p: Protocol): Flow<boolean> {
  return tryStep(p.writeAtOnce);
}

/** Ends writing. */
export function endWrite(p: Protocol): Flow<void> {
  return giveBack(p.endWrite);
}

/** Goes on as a writer if it is the only reader. */
export function tryUpgrade(p: Protocol): Flow<boolean> {
  return tryStep(p.upgrade);
}

/** Goes on as a reader. */
export function downgrade(p: Protocol): Flow<void> {
  return giveBack(p.downgrade);
}
