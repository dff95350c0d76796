/**
 * The limits of a wait for descriptors or signals.
 *
 * @module
 */

import { checkOptions } from "../ffi/check.ts";
import { checkSignal, checkTimeout, type WaitOptions } from "../wait/options.ts";

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
  checkOptions(options);
  const timeout = checkTimeout(options?.timeout);
  const signal = checkSignal(options?.signal);
  return { timeout, deadline: performance.now() + timeout, signal };
}
