/**
 * The protocols of the primitives: what each semaphore of a set means, what it starts with, and the
 * atomic steps that are made of them. The classes perform these very steps, a model check runs
 * through all their interleavings, and programs in other languages can perform them with semop.
 *
 * `undo` is SEM_UNDO: the kernel reverses the step when its process dies.
 *
 * @module
 */

import type { SemaphoreOperation } from "../operations.ts";

/** One atomic step. */
export type Step = readonly SemaphoreOperation[];

const add = (index: number, delta: number): SemaphoreOperation => ({ index, delta });
const hold = (index: number, delta: number): SemaphoreOperation => ({ index, delta, undo: true });
const isZero = (index: number): SemaphoreOperation => ({ index, delta: 0 });
/** Is possible only if the value is at least so much, and changes nothing. */
const isAtLeast = (index: number, least: number): Step => [add(index, -least), add(index, least)];
/** Is possible only if the value is exactly this, and makes it another. */
const replace = (
  index: number,
  from: number,
  to: number,
): Step => [
  ...(from === 0 ? [] : [add(index, -from)]),
  isZero(index),
  ...(to === 0 ? [] : [add(index, to)]),
];

const releaseClean: Step = [add(1, -1), hold(0, +1)];

/**
 * A mutex: `lock` is 1 if it is free; `dirty` counts those who took it and have not given it back,
 * the dead among them.
 */
export const mutex = {
  lock: 0,
  dirty: 1,
  values: [1, 0],
  /** Takes a mutex that is free and clean. */
  takeClean: [isZero(1), hold(0, -1), add(1, +1)],
  /** Takes it, whatever happened before: `dirty - 1` holders have died since it was clean. */
  take: [hold(0, -1), add(1, +1)],
  /** Gives back a mutex whose `dirty` is so much, and clean. */
  release: (dirty: number): Step => dirty === 1 ? releaseClean : [add(1, -dirty), hold(0, +1)],
  /** Gives it back as it was found. */
  putBack: [add(1, -1), hold(0, +1)],
} as const;

/** Many readers or one writer: how many read, write, and queue to write. */
export const rwlock = {
  readers: 0,
  writer: 1,
  queue: 2,
  values: [0, 0, 0],
  /** Begins to read when nobody writes, nor waits to. */
  readAfterWriters: [isZero(1), isZero(2), hold(0, +1)],
  /** Begins to read when nobody writes. */
  read: [isZero(1), hold(0, +1)],
  endRead: [hold(0, -1)],
  /** Begins to write if nobody reads, writes, or waits to write. */
  writeAtOnce: [isZero(0), isZero(1), isZero(2), hold(1, +1)],
  /** Announces a writer, whom new readers then let go first. */
  announce: [hold(2, +1)],
  /** Begins to write, as announced. */
  write: [isZero(0), isZero(1), hold(1, +1), hold(2, -1)],
  withdraw: [hold(2, -1)],
  endWrite: [hold(1, -1)],
} as const;

/** A latch: how many have still to count down. */
export const latch = {
  count: 0,
  values: (count: number): number[] => [count],
  countDown: (by: number): Step => [add(0, -by)],
  wait: [isZero(0)],
} as const;

/** An event: 0 if it is set, else 1. */
export const event = {
  unset: 0,
  values: (set: boolean): number[] => [set ? 0 : 1],
  set: [add(0, -1)],
  reset: [isZero(0), add(0, +1)],
  wait: [isZero(0)],
} as const;

/** The counters of a barrier, one for each of three rounds that can be told apart. */
const rounds = 3;

/**
 * A barrier. Each party has a token, which stands in the counter of its round as long as the party
 * has not arrived, and moves on to the next round's as it arrives: a round is complete when its
 * counter is 0. Three counters do for ever, since nobody can be two rounds ahead of another.
 *
 * If a barrier shrinks on death, the token goes with its party. If it breaks, a tripwire does: steps
 * that change nothing but what the kernel will undo, which is to set all counters to 0 and `broken`.
 */
export const barrier = {
  rounds,
  /** How many have still to join. */
  missing: 3,
  /** How many have died, if death breaks it. */
  broken: 4,
  values: (parties: number): number[] => [0, 0, 0, parties, 0],
  next: (round: number): number => (round + 1) % rounds,
  /** Takes one of the places; before all are taken no round can end, so the token goes to the first. */
  join: (token: boolean): Step => [add(3, -1), token ? hold(0, +1) : add(0, +1), isZero(4)],
  /** Has the kernel clear all that is waited for, and mark the barrier broken, if this process dies. */
  arm: (
    parties: number,
  ): Step => [
    ...[0, 1, 2, 3].flatMap((index) => [hold(index, +parties), add(index, -parties)]),
    add(4, +1),
    hold(4, -1),
  ],
  disarm: (
    parties: number,
  ): Step => [
    ...[0, 1, 2, 3].flatMap((index) => [add(index, +parties), hold(index, -parties)]),
    hold(4, +1),
    add(4, -1),
  ],
  /** Moves the token on. */
  arrive: (round: number, token: boolean): Step => {
    const [from, to] = [round, (round + 1) % rounds];
    return token
      ? [isZero(4), hold(from, -1), hold(to, +1)]
      : [isZero(4), add(from, -1), add(to, +1)];
  },
  /** Waits until all have joined and arrived. */
  wait: (round: number): Step => [isZero(3), isZero(round)],
  /** The steps of which one, in this order, takes the token back, unless the round is complete. */
  retreat: (round: number, token: boolean): Step[] => {
    const [from, to] = [(round + 1) % rounds, round];
    const back = token ? [hold(from, -1), hold(to, +1)] : [add(from, -1), add(to, +1)];
    return [[...isAtLeast(3, 1), ...back], [...isAtLeast(round, 1), ...back]];
  },
  /** Takes the token out for good. */
  leave: (round: number, token: boolean): Step => [token ? hold(round, -1) : add(round, -1)],
} as const;

/** The largest value that a gauge can have. */
const most = 32767;

/** A gauge: its value, and what is left to the largest, by which one can wait for it to fall. */
export const gauge = {
  value: 0,
  rest: 1,
  most,
  values: [0, most],
  enter: (by: number): Step => [hold(1, -by), hold(0, +by)],
  leave: (by: number): Step => [hold(0, -by), hold(1, +by)],
  isIdle: [isZero(0)],
  isAtLeast: (least: number): Step => isAtLeast(0, least),
  isAtMost: (limit: number): Step => isAtLeast(1, most - limit),
} as const;

/** How far below its limit the room of a bulkhead can be counted, and the most tickets. */
const floor = 16383;

/**
 * A bulkhead: `room` is 16383 plus the tickets that are left, so that it can fall below 16383 when
 * the limit shrinks while permits are held; `limit` is the number of tickets, `workers` who registered.
 */
export const bulkhead = {
  room: 0,
  limit: 1,
  workers: 2,
  floor,
  values: (tickets: number): number[] => [floor + tickets, tickets, 0],
  /** Takes a ticket if one is left. */
  acquire: [hold(0, -(floor + 1)), hold(0, +floor)],
  release: [hold(0, +1)],
  register: [hold(2, +1)],
  unregister: [hold(2, -1)],
  /** Changes the number of tickets, unless it or the number of workers has changed meanwhile. */
  resize: (
    from: number,
    to: number,
    workers?: number,
  ): Step => [
    ...replace(1, from, to),
    ...(to === from ? [] : [add(0, to - from)]),
    ...(workers === undefined ? [] : replace(2, workers, workers)),
  ],
} as const;

/** The largest low digit of a leader's term. */
const digit = 32767;

/** A leader: `seat` is 1 if it is vacant; `low` and `high` are the digits of the term, base 32768. */
export const leader = {
  seat: 0,
  low: 1,
  high: 2,
  /** Nobody ever adds to it: who waits for it learns when the set is removed. */
  never: 3,
  values: [1, 0, 0, 0],
  /** Takes the seat and begins the next term. */
  win: [hold(0, -1), add(1, +1)],
  /** The same when the low digit is full. */
  winAndCarry: [hold(0, -1), add(1, -digit), add(2, +1)],
  resign: [hold(0, +1)],
  untilRemoved: [add(3, -1)],
  term: (values: readonly number[]): number => values[2]! * (digit + 1) + values[1]!,
} as const;
