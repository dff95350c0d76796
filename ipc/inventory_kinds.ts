/**
 * What the values of a semaphore set mean, by the kind that its tag names. sync/protocols.ts, in a room
 * above, has the same layouts; a test lists one of each to hold both together.
 *
 * @module
 */

import type { SetKind } from "./set_tag.ts";

/** What a set's values say. */
export interface Meaning {
  /** In a few words, such as `3 of 5 tickets out`. */
  readonly text: string;
  /** Whether a process holds something of it, which the kernel would have taken back from a dead one. */
  readonly held: boolean;
}

type Read = (values: readonly number[], pidOf: (index: number) => number) => Meaning;

const MAX_VALUES_SHOWN = 8;

/** How values without a meaning of their own are shown. */
export function plain(values: readonly number[]): Meaning {
  const shown = values.slice(0, MAX_VALUES_SHOWN).join(", ");
  const more = values.length > MAX_VALUES_SHOWN ? ", ..." : "";
  return { text: `${values.length === 1 ? "value" : "values"} ${shown}${more}`, held: false };
}

/** Names a number of things: `1 reader`, `3 readers`. */
export function several(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

const readers: Readonly<Record<SetKind, Read>> = {
  set: plain,
  mutex([free = 0, dirty = 0], pidOf) {
    const held = free === 0;
    const dead = held ? dirty - 1 : dirty;
    const state = held ? `held by pid ${pidOf(0)}` : "free";
    return { text: dead > 0 ? `${state}, ${several(dead, "holder")} died` : state, held };
  },
  rwlock([reading = 0, writing = 0, queued = 0], pidOf) {
    const state = writing > 0
      ? `written by pid ${pidOf(1)}`
      : reading > 0
      ? several(reading, "reader")
      : "free";
    const text = queued > 0 ? `${state}, ${several(queued, "writer")} waiting` : state;
    return { text, held: writing + reading + queued > 0 };
  },
  latch: ([left = 0]) => ({ text: left === 0 ? "open" : `${left} to count down`, held: false }),
  event: ([unset = 0]) => ({ text: unset === 0 ? "set" : "not set", held: false }),
  barrier([first = 0, second = 0, third = 0, missing = 0, broken = 0, parties = 0]) {
    const joined = `${parties - missing} of ${parties} parties joined`;
    const text = broken > 0 ? `broken, ${joined}` : joined;
    return { text, held: first + second + third > 0 };
  },
  gauge: ([value = 0]) => ({ text: value === 0 ? "idle" : `${value} inside`, held: value > 0 }),
  bulkhead([room = 0, tickets = 0, workers = 0]) {
    const FLOOR = 16383;
    const out = FLOOR + tickets - room;
    const text = `${out} of ${several(tickets, "ticket")} out`;
    return {
      text: workers > 0 ? `${text}, ${several(workers, "worker")}` : text,
      held: out > 0 || workers > 0,
    };
  },
  leader([seat = 0, low = 0, high = 0], pidOf) {
    const term = `term ${high * 32768 + low}`;
    const held = seat === 0;
    return { text: held ? `led by pid ${pidOf(0)}, ${term}` : `vacant, ${term}`, held };
  },
  guard: ([users = 0]) => ({ text: `${several(users, "user")} of an object`, held: users > 0 }),
  members(values) {
    // After two of their own come as many that are 1 while a place is taken as there are bells.
    const places = (values.length - 2) / 2;
    const taken = values.slice(2, 2 + places).filter((alive) => alive > 0).length;
    const text = `${taken} of ${several(places, "place")} in shared memory taken`;
    return { text, held: taken > 0 };
  },
};

/** Reads the values of a set; `pidOf` returns the process that operated last on a semaphore. */
export function meaningOf(
  kind: SetKind | undefined,
  values: readonly number[],
  pidOf: (index: number) => number,
): Meaning {
  return (kind === undefined ? plain : readers[kind])(values, pidOf);
}
