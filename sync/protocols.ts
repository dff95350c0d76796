/**
 * The protocols of the primitives: what each semaphore of a set means, its first value, and the atomic
 * steps. The classes perform these very steps, a model check runs through their interleavings, and programs
 * in other languages can perform them with semop.
 *
 * `undo` is SEM_UNDO: the kernel reverses the step when its process dies.
 *
 * @module
 */

import type { SemaphoreOperation } from "../ipc/semop.ts";

/** One atomic step. */
export type Step = readonly SemaphoreOperation[];

const add = (index: number, delta: number): SemaphoreOperation => ({ index, delta });
const hold = (index: number, delta: number): SemaphoreOperation => ({ index, delta, undo: true });
const isZero = (index: number): SemaphoreOperation => ({ index, delta: 0 });
/** Succeeds only if the value is at least so much; changes nothing. */
const isAtLeast = (index: number, least: number): Step => [add(index, -least), add(index, least)];
/** Succeeds only if the value is `from`, and makes it `to`. */
const replace = (
  index: number,
  from: number,
  to: number,
): Step => [
  ...(from === 0 ? [] : [add(index, -from)]),
  isZero(index),
  ...(to === 0 ? [] : [add(index, to)]),
];

/** No value is ever large enough for this: a wait for it ends only when the semaphores are removed. */
export const impossible: Step = [add(0, -32767), add(0, -32767)];

/** Whether a step can be performed on these values. */
export function isPossible(step: Step, values: readonly number[]): boolean {
  const left = [...values];
  return step.every(({ index = 0, delta }) => {
    const value = left[index]!;
    left[index] = value + delta;
    return delta === 0 ? value === 0 : value + delta >= 0;
  });
}

// The semaphores of a mutex.
const lock = 0, dirty = 1;

const releaseClean: Step = [add(dirty, -1), hold(lock, +1)];

/**
 * A mutex: `lock` is 1 if it is free; `dirty` counts the holders that took it and did not give it back, dead
 * ones included.
 */
export const mutex = {
  lock,
  dirty,
  values: [1, 0],
  /** Takes the mutex if it is free and no holder has died. */
  takeClean: [isZero(dirty), hold(lock, -1), add(dirty, +1)],
  /** Takes the mutex; then `dirty - 1` holders have died since it was last given back. */
  take: [hold(lock, -1), add(dirty, +1)],
  /** Gives the mutex back, and makes `dirty`, which is `by`, 0. */
  release: (by: number): Step => by === 1 ? releaseClean : [add(dirty, -by), hold(lock, +1)],
  /** Gives the mutex back and leaves the count of dead holders. */
  putBack: releaseClean,
} as const;

// The semaphores of a lock of readers and writers.
const readers = 0, writer = 1, queue = 2;

/** Many readers or one writer: counts of readers, writers, and writers that wait. */
export const rwlock = {
  writer,
  values: [0, 0, 0],
  /** Begins to read when no writer writes or waits. */
  readAfterWriters: [isZero(writer), isZero(queue), hold(readers, +1)],
  /** Begins to read when no writer writes. */
  read: [isZero(writer), hold(readers, +1)],
  endRead: [hold(readers, -1)],
  /** Begins to write if there is no reader, no writer, and no waiting writer. */
  writeAtOnce: [isZero(readers), isZero(writer), isZero(queue), hold(writer, +1)],
  /** Announces a writer; new readers then wait behind it. */
  announce: [hold(queue, +1)],
  /** Begins to write, as announced. */
  write: [isZero(readers), isZero(writer), hold(writer, +1), hold(queue, -1)],
  withdraw: [hold(queue, -1)],
  endWrite: [hold(writer, -1)],
  /** Writes from now on, as the only reader. Two readers that waited for this would wait for each other. */
  upgrade: [hold(readers, -1), isZero(readers), isZero(writer), hold(writer, +1)],
  /** Reads from now on: no other writer comes in between. */
  downgrade: [hold(writer, -1), hold(readers, +1)],
} as const;

// The semaphore of a latch.
const count = 0;

/** A latch: the count that is left. */
export const latch = {
  count,
  values: (from: number): number[] => [from],
  countDown: (by: number): Step => [add(count, -by)],
  /** Begins anew, unless the count has changed meanwhile. */
  reset: (from: number, to: number): Step => replace(count, from, to),
  wait: [isZero(count)],
} as const;

// The semaphore of an event.
const unset = 0;

/** An event: 0 if it is set, else 1. */
export const event = {
  unset,
  values: (set: boolean): number[] => [set ? 0 : 1],
  set: [add(unset, -1)],
  reset: [isZero(unset), add(unset, +1)],
  wait: [isZero(unset)],
} as const;

/** The counters of a barrier, one for each of three rounds that can be told apart. */
const rounds = 3;
const counters = [0, 1, 2] as const;
// Its other semaphores.
const missing = 3, broken = 4, parties = 5;

/** Takes the tripwire of one party away. */
const disarm = (all: number): Step => [
  ...[...counters, missing].flatMap((index) => [add(index, +all), hold(index, -all)]),
  hold(broken, +1),
  add(broken, -1),
];

/**
 * A barrier. Each party has a token, which stands in the counter of its round as long as the party
 * has not arrived, and moves to the counter of the next round as it arrives: a round is complete when its
 * counter is 0. Three counters are enough, because no party can be two rounds ahead of another.
 *
 * If death shrinks the barrier, the token is reversed with its party. If death breaks it, the party carries a
 * tripwire: steps that change nothing but the undo of its process, which sets all counters to 0 and adds to
 * `broken`.
 */
export const barrier = {
  rounds,
  /** How many parties have not joined yet. */
  missing,
  /** Above 0 once a party has died, if death breaks it. */
  broken,
  /** How many parties there are, which never changes. */
  parties,
  values: (all: number): number[] => [0, 0, 0, all, 0, all],
  next: (round: number): number => (round + 1) % rounds,
  /**
   * Takes one of the places, unless the values have changed; undefined if all are taken. When no party is
   * in, all places are free again. No round can end before all are taken, so the token goes to the first
   * counter.
   */
  join: (values: readonly number[], token: boolean): Step | undefined => {
    const places = values[missing]!;
    const enter = [isZero(broken), token ? hold(0, +1) : add(0, +1)];
    const taken = counters.find((counter) => values[counter] !== 0);
    if (taken === undefined) {
      return [...counters.map(isZero), ...replace(missing, places, values[parties]! - 1), ...enter];
    }
    // The last of the others may leave meanwhile, and end the run that this party would join.
    return places === 0 ? undefined : [...isAtLeast(taken, 1), add(missing, -1), ...enter];
  },
  /** Arms the tripwire: if this process dies, the kernel clears the counters and marks the barrier broken. */
  arm: (
    all: number,
  ): Step => [
    ...[...counters, missing].flatMap((index) => [hold(index, +all), add(index, -all)]),
    add(broken, +1),
    hold(broken, -1),
  ],
  disarm,
  /** Does what the tripwire would, unless the values have changed, and takes it away. */
  trip: (values: readonly number[], all: number): Step => [
    ...[...counters, missing].flatMap((index) => replace(index, values[index]!, 0)),
    add(broken, +1),
    ...disarm(all),
  ],
  /** Moves the token on. */
  arrive: (round: number, token: boolean): Step => {
    const [from, to] = [round, (round + 1) % rounds];
    return token
      ? [isZero(broken), hold(from, -1), hold(to, +1)]
      : [isZero(broken), add(from, -1), add(to, +1)];
  },
  /** Waits until all have joined and arrived. */
  wait: (round: number): Step => [isZero(missing), isZero(round)],
  /** The steps of which one, in this order, takes the token back, unless the round is complete. */
  retreat: (round: number, token: boolean): Step[] => {
    const [from, to] = [(round + 1) % rounds, round];
    const back = token ? [hold(from, -1), hold(to, +1)] : [add(from, -1), add(to, +1)];
    return [[...isAtLeast(missing, 1), ...back], [...isAtLeast(round, 1), ...back]];
  },
  /** Takes the token out for good. */
  leave: (round: number, token: boolean): Step => [token ? hold(round, -1) : add(round, -1)],
} as const;

// The semaphores of a gauge.
const value = 0, rest = 1;
/** The largest value that it can have. */
const most = 32767;

/** A gauge: its value, and the rest up to the maximum, which makes it possible to wait until it falls. */
export const gauge = {
  value,
  most,
  values: [0, most],
  enter: (by: number): Step => [hold(rest, -by), hold(value, +by)],
  leave: (by: number): Step => [hold(value, -by), hold(rest, +by)],
  isIdle: [isZero(value)],
  isAtLeast: (least: number): Step => isAtLeast(value, least),
  isAtMost: (limit: number): Step => isAtLeast(rest, most - limit),
} as const;

// The semaphores of a bulkhead.
const room = 0, limit = 1, workers = 2;
/** How far the room can fall below its limit, and the maximum number of tickets. */
const floor = 16383;

/**
 * A bulkhead: `room` is 16383 plus the tickets that are left, so that it can fall below 16383 when
 * the limit shrinks while permits are held; `limit` is the number of tickets, `workers` the registered workers.
 */
export const bulkhead = {
  room,
  limit,
  workers,
  floor,
  values: (tickets: number): number[] => [floor + tickets, tickets, 0],
  /** Takes a ticket if one is left. */
  acquire: [hold(room, -(floor + 1)), hold(room, +floor)],
  release: [hold(room, +1)],
  register: [hold(workers, +1)],
  unregister: [hold(workers, -1)],
  /** Changes the number of tickets, unless it or the number of workers has changed meanwhile. */
  resize: (
    from: number,
    to: number,
    registered?: number,
  ): Step => [
    ...replace(limit, from, to),
    ...(to === from ? [] : [add(room, to - from)]),
    ...(registered === undefined ? [] : replace(workers, registered, registered)),
  ],
} as const;

// The semaphores of a leader.
const seat = 0, low = 1, high = 2;
/** Always 0: a wait for it ends when the set is removed. */
const never = 3;
/** The largest low digit of a term. */
const digit = 32767;

/** A leader: `seat` is 1 if it is vacant; `low` and `high` are the digits of the term, base 32768. */
export const leader = {
  seat,
  values: [1, 0, 0, 0],
  /** Takes the seat and begins the next term. */
  win: [hold(seat, -1), add(low, +1)],
  /** The same when the low digit is full. */
  winAndCarry: [hold(seat, -1), add(low, -digit), add(high, +1)],
  resign: [hold(seat, +1)],
  untilRemoved: [add(never, -1)],
  term: (values: readonly number[]): number => values[high]! * (digit + 1) + values[low]!,
} as const;
