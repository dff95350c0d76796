/**
 * What a search is given, and what it finds.
 *
 * @module
 */

import type { Act, Facts } from "./acts.ts";

/** A process at one moment. */
export interface Actor {
  readonly alive: boolean;
  readonly facts: Facts;
  readonly asleep: boolean;
}

/** All that is, at one moment. */
export interface Moment {
  readonly word: (word: number) => number;
  /** In no order that means anything: equal processes change places. */
  readonly processes: readonly Actor[];
  /** What the model remembers beside. */
  readonly ghost: number;
}

/** What is to be explored. */
export interface Model {
  /** The words that are used, with what they are at first. */
  readonly words: ReadonlyMap<number, number>;
  readonly semaphores: readonly number[];
  /** The facts and the undo with which each process begins. */
  readonly processes: readonly { facts: Facts; undo: readonly number[] }[];
  /** The facts of the process that is started in place of a dead one with these; none is if left out. */
  again?(facts: Facts): Facts;
  /** How many may die, Infinity for no limit. */
  readonly deaths: number;
  /** Whether processes give their places back. @default {false} */
  readonly leaves?: boolean;
  /** How many sleeps and waits may be cancelled, Infinity for no limit. */
  readonly cancels: number;
  /**
   * Whether nobody else changes a word while a process is so and it is as it is. To read it then is no event
   * of its own, as it makes no difference when that happens; the search makes sure that it is true.
   */
  isStable?(word: number, facts: Facts, read: Moment["word"]): boolean;
  /**
   * Whether nobody else touches a word while a process is so. What it does there is one with what it does
   * next, as nobody can tell; the search makes sure that it is true, and has it die in between all the same.
   */
  isOwn?(word: number, facts: Facts, read: Moment["word"]): boolean;
  act(facts: Facts): Act;
  /** Says what is wrong with a moment. */
  check(moment: Moment): string | undefined;
  /** Says what is wrong if nobody goes on by itself. */
  checkAtRest(moment: Moment): string | undefined;
  /** What the model remembers at first. @default {0} */
  readonly ghost?: number;
  /** What the model remembers after an event of a process, and whether that was its death. */
  remember?(before: Moment, after: Moment, process: number, died: boolean): number;
  /** Makes values of a word that differ in nothing that matters the same. */
  same?(word: number, value: number): number;
  readonly maxStates: number;
}

/** What a search found. */
export interface Found {
  readonly states: number;
  readonly failure: string | undefined;
}
