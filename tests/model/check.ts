/**
 * What the tests of the models have in common.
 *
 * In each model every process does whatever the class can do, in any order, dies at any point, has
 * any of its waits cancelled, and is refused any of its requests.
 *
 * @module
 */

import { assert, assertMatch, assertStringIncludes } from "@std/assert";
import type { Step } from "../../sync/protocols.ts";
import {
  type Act,
  explore,
  type Model,
  note,
  type Process,
  Refusal,
  type State,
} from "./explore.ts";
import { die } from "./semop.ts";

/** Asserts that nothing is wrong. */
export function passes<Facts>(model: Model<Facts>): void {
  const { states, failure } = explore(model);
  assert(failure === undefined, failure);
  assert(states > 20, "Hardly anything was explored");
}

/** Asserts that something is wrong, and that a shortest interleaving that leads to it is told. */
export function fails<Facts>(model: Model<Facts>, why: string): void {
  const { failure = "Nothing is wrong" } = explore(model);
  assertStringIncludes(failure, why);
  assertMatch(failure, /\n {3}[0-9 ]+\n {3}\d\S* .* -> [0-9 ]+/);
}

/** What is wrong if somebody waits for ever. */
export const stuck = "Somebody who lives can never come to rest";

/** What is true of one who could not give back what it should. */
export interface Keeper {
  /** Whether it keeps something until it dies. */
  keeps?: boolean;
}

/** Does something; who cannot give back what it took before it failed rests from then on. */
export function* keeping<Facts extends Keeper>(
  facts: Facts,
  act: Act<void, Facts>,
): Act<void, Facts> {
  try {
    yield* act;
  } catch (error) {
    if (!(error instanceof Refusal && error.keeps)) throw error;
    yield* note({ ...facts, keeps: true });
  }
}

/** The facts of all flows: of the living, unless told otherwise. */
export function facts<Facts>(
  { processes }: State<Facts>,
  which: (process: Process<Facts>) => boolean = ({ alive }) => alive,
): Facts[] {
  return processes.filter(which).flatMap(({ flows }) => flows.map((place) => place.facts));
}

/** How many who live are so. */
export function count<Facts>(state: State<Facts>, is: (facts: Facts) => unknown): number {
  return facts(state).filter(is).length;
}

/** Who has died between two states. */
export function died<Facts>(before: State<Facts>, after: State<Facts>): Process<Facts> | undefined {
  return before.processes.find(({ alive }, i) => alive && !after.processes[i]!.alive);
}

/** Whether anybody who lives keeps what it should have given back. */
export function isKept(state: State<Keeper>): boolean {
  return count(state, ({ keeps }) => keeps) > 0;
}

/** A state as it will be when those have died who keep something. */
export function withoutKeepers<Facts extends Keeper>(state: State<Facts>): State<Facts> {
  let { values } = state;
  const processes = state.processes.map((process) => {
    const keeps = process.flows.some(({ facts }) => facts.keeps);
    if (!process.alive || !keeps) return process;
    values = die(values, process.undo);
    return { ...process, alive: false, undo: process.undo.map(() => 0) };
  });
  return { ...state, values, processes };
}

/** Asserts what the values are. */
export function assertValues({ values }: State<unknown>, expected: readonly number[]): void {
  assert(`${values}` === `${expected}`, "The values have drifted");
}

/** Asserts that the kernel has nothing to reverse. */
export function assertNoUndo({ processes }: State<unknown>): void {
  for (const { undo } of processes) assert(undo.every((one) => one === 0), "The undo has drifted");
}

/** A step as it would be without undo. */
export function withoutUndo(step: Step): Step {
  return step.map(({ index, delta }) => ({ index, delta }));
}
