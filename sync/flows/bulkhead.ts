/**
 * What is done to a bulkhead, as flows. Where a quota is the rule, each of them adjusts the tickets.
 *
 * @module
 */

import {
  type Flow,
  giveBack,
  giveUp,
  type Like,
  read,
  repeat,
  tryFor,
  tryStep,
  waitFor,
} from "../flow.ts";
import type { bulkhead, Step } from "../protocols.ts";

type Protocol = Like<typeof bulkhead>;
/** The tickets for each worker, if that is the rule. */
type Quota = number | undefined;

/** Waits for a ticket. */
export function* acquire(p: Protocol, quota: Quota): Flow<void> {
  yield* adjust(p, quota);
  yield* waitFor(p.acquire);
}

/** Takes a ticket if one is left. */
export function* tryAcquire(p: Protocol, quota: Quota): Flow<boolean> {
  yield* adjust(p, quota);
  return yield* tryStep(p.acquire);
}

/** Gives a ticket back. */
export function release(p: Protocol): Flow<void> {
  return giveBack(p.release);
}

/** Registers a worker. */
export function* register(p: Protocol, quota: Quota): Flow<void> {
  yield* tryStep(p.register);
  try {
    yield* adjust(p, quota);
  } catch (error) {
    yield* giveUp(p.unregister, error);
  }
}

/** Counts a worker off. */
export function unregister(p: Protocol): Flow<void> {
  return giveBack(p.unregister);
}

/** Changes the number of tickets. */
export function* resize(p: Protocol, tickets: number): Flow<void> {
  yield* repeat(function* () {
    const values = yield* read((values) => values);
    const step = p.resize(values[p.limit]!, tickets);
    return (yield* tryFor(values, step)) ? true : undefined;
  });
}

/** Makes the number of tickets what the quota says. */
export function* adjust(p: Protocol, quota: Quota): Flow<void> {
  if (quota === undefined) return;
  yield* repeat(function* () {
    const values = yield* read((values) => dueOf(p, quota, values) === undefined ? null : values);
    if (values === null) return true;
    yield* tryFor(values, dueOf(p, quota, values)!);
    return undefined;
  });
}

/** Reads all values when the number of tickets is what the quota says. */
export function state(p: Protocol, quota: Quota): Flow<readonly number[]> {
  return repeat(function* () {
    const values = yield* read((values) => values);
    const step = dueOf(p, quota, values);
    if (step === undefined) return values;
    yield* tryFor(values, step);
    return undefined;
  });
}

/** The step by which the number of tickets becomes what the quota says, if it is not. */
function dueOf(p: Protocol, quota: Quota, values: readonly number[]): Step | undefined {
  if (quota === undefined) return undefined;
  const limit = values[p.limit]!;
  const workers = values[p.workers]!;
  const due = share(p, workers, quota);
  return due === limit ? undefined : p.resize(limit, due, workers);
}

/** The tickets for a number of workers: rounded up, but not for the error of a binary fraction, as 0.7 of 10 is 7. */
export function share(p: Protocol, workers: number, quota: number): number {
  return Math.min(Math.max(1, Math.ceil(workers * quota - 1e-9)), p.floor);
}
