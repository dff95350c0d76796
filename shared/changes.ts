/**
 * Iterating over the changes of a value.
 *
 * @module
 */

import { checkInteger, checkOptions } from "../ffi/check.ts";
import { isRemoved } from "../ffi/error.ts";
import { Iteration } from "../wait/iteration.ts";
import { checkSignal, type WaitOptions } from "../wait/options.ts";

/** Than what a value has to be newer. */
export interface NewerOptions {
  /**
   * The version that is known already.
   *
   * @default {undefined} The version at the time of the call.
   */
  newerThan?: number | undefined;
}

/** A value and its version. */
export interface Versioned<Item> {
  /** The value. */
  readonly value: Item;
  /** Its version: 1 for the first that was set. */
  readonly version: number;
}

/** Options of an iteration over changes. */
export type ChangesOptions = Pick<WaitOptions, "signal"> & NewerOptions;

/** Checks a version that is known already, and returns it. */
export function checkVersion(version: number): number {
  checkInteger(version, 0, Number.MAX_SAFE_INTEGER, `wait for a version newer than ${version}`);
  return version;
}

/** Iterates over what becomes of the changes that `wait` returns, each newer than the one before. */
export function changesOf<Item, Step>(
  wait: (options: ChangesOptions) => Promise<Versioned<Item>>,
  options: ChangesOptions,
  stepOf: (change: Versioned<Item>) => Step,
): AsyncGenerator<Step, void, void> {
  checkOptions(options);
  checkSignal(options.signal);
  let newerThan = checkVersion(options.newerThan ?? 0);
  const next = async ({ signal }: { readonly signal: AbortSignal }) => {
    for (;;) {
      const change = await wait({ signal, newerThan });
      // Another step of this iteration can have had it meanwhile.
      if (change.version <= newerThan) continue;
      newerThan = change.version;
      return stepOf(change);
    }
  };
  return new Iteration({ next, isEnd: isRemoved }, options.signal);
}
