/**
 * What candidates and a leader do, as flows.
 *
 * @module
 */

import { type Flow, giveBack, type Like, readTaken, repeat, tryStep, waitFor } from "../flow.ts";
import type { leader, Step } from "../protocols.ts";

type Protocol = Like<typeof leader>;

/** Waits for the seat, and returns the term. */
export function* campaign(p: Protocol): Flow<number> {
  // The first candidate carries; after that the digit has room again.
  yield* repeat(function* () {
    return (yield* win(p, waitFor)) ? true : undefined;
  });
  return yield* readTaken(p.term, p.resign);
}

/** Takes the seat if it is vacant, and returns the term. */
export function* tryCampaign(p: Protocol): Flow<number | undefined> {
  return (yield* win(p, tryStep)) ? yield* readTaken(p.term, p.resign) : undefined;
}

/** Gives the seat back. */
export function resign(p: Protocol): Flow<void> {
  return giveBack(p.resign);
}

/** Takes the seat, with a carry if the low digit of the term can grow no more. */
function* win(p: Protocol, take: (step: Step) => Flow<boolean | void>): Flow<boolean> {
  try {
    return (yield* take(p.win)) !== false;
  } catch (error) {
    if (!isFull(error)) throw error;
    return yield* tryStep(p.winAndCarry);
  }
}

function isFull(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ERANGE";
}
