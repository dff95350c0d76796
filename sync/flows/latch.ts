/**
 * What is done to a latch, as flows.
 *
 * @module
 */

import { type Flow, type Like, read, repeat, tryFor, tryStep, waitFor } from "../flow.ts";
import type { latch } from "../protocols.ts";

type Protocol = Like<typeof latch>;

/** Counts down if the count is large enough. */
export function countDown(p: Protocol, by: number): Flow<boolean> {
  return tryStep(p.countDown(by));
}

/** Sets the count. */
export function* reset(p: Protocol, count: number): Flow<void> {
  yield* repeat(function* () {
    const values = yield* read((values) => values);
    const step = p.reset(values[p.count]!, count);
    return (yield* tryFor(values, step)) ? true : undefined;
  });
}

/** Waits until the count is 0. */
export function wait(p: Protocol): Flow<void> {
  return waitFor(p.wait);
}

/** Asks whether it is. */
export function tryWait(p: Protocol): Flow<boolean> {
  return tryStep(p.wait);
}
