/**
 * The limits of a wait for descriptors or signals.
 *
 * @module
 */

import { readWaitOptions, type WaitOptions } from "../wait/options.ts";

/** The limits of a wait. */
export interface Limits {
  /** In milliseconds from the call on. */
  readonly timeout: number;
  /** The same on the clock of `performance`. */
  readonly deadline: number;
  readonly signal: AbortSignal | undefined;
}

/** Checks the options of a wait and reads each of them once. */
export function limitsOf(options: WaitOptions | undefined): Limits {
  const { timeout, signal } = readWaitOptions(options);
  return { timeout, deadline: performance.now() + timeout, signal };
}
