/**
 * What the models of the structures in shared memory have in common: who takes part, and what a search
 * must find.
 *
 * @module
 */

import { assert, assertMatch, assertStringIncludes } from "@std/assert";
import process from "node:process";
import { deathsOf, type Gate, type Lock } from "../../shared/layout.ts";
import type { Protocol } from "../../shared/protocol.ts";
import { type Act, type Facts, note } from "./acts.ts";
import { explore } from "./explore.ts";
import type { Model, Moment } from "./model.ts";

/** Whether there is time for the long searches. */
export const soak: boolean = process.env.IPC_TEST_SOAK === "1";

/** What is wrong if somebody is not woken. */
export const asleep = "sleeps for ever";

/** More deaths than so many are the same. */
export const MOST_DEATHS = 2;

/** Makes values of locks that differ in nothing that matters the same. */
export function fewDeaths(locks: readonly Lock[]): (word: number, value: number) => number {
  const words = new Set(locks.map(({ word }) => word));
  return (word, value) => {
    const deaths = words.has(word) ? deathsOf(value) : 0;
    return deaths > MOST_DEATHS ? value - ((deaths - MOST_DEATHS) << 12) : value;
  };
}

/** The words of locks and gates. */
export function wordsOf(locks: readonly Lock[]): Map<number, number> {
  const gates = locks.flatMap(({ opens }): readonly Gate[] => opens);
  return new Map([...locks, ...gates].map(({ word }) => [word, 0]));
}

/** Processes of which the first have places, and the semaphores then. */
export function seated(
  protocol: Protocol,
  facts: readonly Facts[],
): Pick<Model, "semaphores" | "processes"> {
  const arming = protocol.arm().some(({ undo }) => undo);
  const semaphores = [...protocol.values];
  semaphores[protocol.bound] = 1;
  const processes = facts.map((facts) => {
    const undo = semaphores.map(() => 0);
    if (facts.place === 0) return { facts, undo };
    semaphores[protocol.alive(facts.place!)] = 1;
    undo[protocol.alive(facts.place!)] = -1;
    for (let place = 1; arming && place <= protocol.places; place++) undo[protocol.bell(place)] = 1;
    return { facts, undo };
  });
  return { semaphores, processes };
}

/** Takes a place, and frees what its last owner left; returns the facts with it. */
export function* enter(protocol: Protocol, facts: Facts): Act {
  const place = yield* protocol.take(0);
  if (place === 0) return facts;
  const inside = { ...facts, place };
  yield* note(inside);
  yield* protocol.settle(place);
  return inside;
}

/** Says who sleeps though nobody goes on by itself, of those that should not. */
export function sleeper(
  { processes }: Moment,
  mayIt: (facts: Facts) => boolean = () => false,
): string | undefined {
  const stuck = processes.find(({ asleep, facts }) => asleep && !mayIt(facts));
  return stuck && `Place ${stuck.facts.place} ${asleep}`;
}

/** Asserts that nothing is wrong in any state. */
export function holds(model: Model, least = 500): void {
  const { states, failure } = explore(model);
  if (process.env.IPC_TEST_VERBOSE) console.log(states, "states");
  assert(failure === undefined, failure);
  assert(states > least, `Only ${states} states`);
}

/** Asserts that something is wrong, and that an interleaving that leads to it is told. */
export function fails(model: Model, why: string): void {
  const { states, failure = `Nothing is wrong in ${states} states` } = explore(model);
  if (process.env.IPC_TEST_VERBOSE) console.log(states, "states:", failure);
  assertStringIncludes(failure, why);
  assertMatch(failure, /\n {3}\d .* -> \S+ {2}[-0-9 ]+/);
}
