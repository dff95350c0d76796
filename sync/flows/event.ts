/**
 * What is done to an event, as flows.
 *
 * @module
 */

import { type Flow, type Like, tryStep, waitFor } from "../flow.ts";
import type { event } from "../protocols.ts";

type Protocol = Like<typeof event>;

/** Sets it, and returns whether it was not. */
export function set(p: Protocol): Flow<boolean> {
  return tryStep(p.set);
}

/** Resets it, and returns whether it was set. */
export function reset(p: Protocol): Flow<boolean> {
  return tryStep(p.reset);
}

/** Waits until it is set. */
export function wait(p: Protocol): Flow<void> {
  return waitFor(p.wait);
}

/** Asks whether it is. */
export function tryWait(p: Protocol): Flow<boolean> {
  return tryStep(p.wait);
}
