/**
 * Sleeping at a gate in plain code: the events of {@linkcode Protocol.awaitGate}, one by one, to which a test
 * holds it. It is the way of each message to somebody who sleeps, as unlock.ts is.
 *
 * @module
 */

import type { WaitOptions } from "../wait/options.ts";
import type { Failure } from "./flow.ts";
import { type Gate, type Lock, WAKE } from "./layout.ts";

/** Who sleeps: a place in a structure. */
export interface Sleeping {
  readonly words: Int32Array;
  /** Marks the place at a gate. */
  mark(gate: number): void;
  /** Takes the mark away. */
  unmark(gate: number): boolean;
  /** The same as the sleep is cancelled: a ring that has come is passed on. */
  withdraw(gate: Gate): void;
  /** Calls back, later, once the bell of the place has rung, or with a failure. */
  sleep(gate: number, options: WaitOptions, then: (failure?: Failure) => void): void;
}

/**
 * Sleeps at a gate that a lock's holders open, and calls back then. Does neither, and returns true, if a
 * look after the mark shows that there is no need to.
 */
export function awaitGate(
  by: Sleeping,
  lock: Lock,
  gate: Gate,
  isReady: () => boolean,
  options: WaitOptions,
  then: (failure?: Failure) => void,
): boolean {
  by.mark(gate.word);
  Atomics.or(by.words, lock.word, WAKE);
  if (isReady()) {
    by.unmark(gate.word);
    return true;
  }
  by.sleep(gate.word, options, (failure) => {
    let outcome = failure;
    try {
      if (failure === undefined) by.unmark(gate.word);
      else by.withdraw(gate);
    } catch (reason) {
      outcome = { reason };
    }
    then(outcome);
  });
  return false;
}
