/**
 * What is done to a gauge, as flows.
 *
 * @module
 */

import { type Flow, giveBack, type Like, tryStep, waitFor } from "../flow.ts";
import type { gauge } from "../protocols.ts";

type Protocol = Like<typeof gauge>;

/** Enters, and returns whether there was room to count it. */
export function enter(p: Protocol, by: number): Flow<boolean> {
  return tryStep(p.enter(by));
}

/** Leaves. */
export function leave(p: Protocol, by: number): Flow<void> {
  return giveBack(p.leave(by));
}

/** Waits until the count is 0. */
export function waitForIdle(p: Protocol): Flow<void> {
  return waitFor(p.isIdle);
}

/** Waits until the count is at least so much. */
export function waitForAtLeast(p: Protocol, least: number): Flow<void> {
  return waitFor(p.isAtLeast(least));
}

/** Waits until the count is at most so much. */
export function waitForAtMost(p: Protocol, limit: number): Flow<void> {
  return waitFor(p.isAtMost(limit));
}
