/**
 * What waits have in common for their callers: how long, until when, and how they end.
 *
 * @module
 */

import { checkOptions, described, numberError } from "../ffi/check.ts";

/** How long a blocking call waits. */
export interface TimeoutOptions {
  /**
   * The most milliseconds to wait; 0 tries once.
   *
   * @default {Infinity}
   */
  timeout?: number | undefined;
}

/** How long a promise waits, and until what. */
export interface WaitOptions extends TimeoutOptions {
  /** Ends the wait when it is aborted: the promise rejects with the reason of the signal. */
  signal?: AbortSignal | undefined;
}

/** Checks a timeout in milliseconds and gives it back, Infinity where there is none. */
export function checkTimeout(timeout: number | undefined): number {
  if (timeout === undefined) return Infinity;
  if (timeout >= 0 && typeof timeout === "number") return timeout;
  throw numberError(timeout, `Cannot wait for ${timeout} milliseconds: expected 0 or more`);
}

/** Checks for an AbortSignal, or undefined, and returns it. */
export function checkSignal(signal: AbortSignal | undefined): AbortSignal | undefined {
  if (signal === undefined || signal instanceof AbortSignal) return signal;
  throw new TypeError(`Cannot use ${described(signal)} as signal: expected an AbortSignal`);
}

/** How long a wait may take, as it was read once: nothing of the caller runs after that. */
export interface WaitLimits {
  readonly timeout: number;
  readonly signal: AbortSignal | undefined;
}

const UNLIMITED: WaitLimits = { timeout: Infinity, signal: undefined };

/** Reads the options of a wait, once, and checks them. */
export function readWaitOptions(options: WaitOptions | undefined): WaitLimits {
  if (options === undefined) return UNLIMITED;
  checkOptions(options);
  const { timeout, signal } = options;
  return { timeout: checkTimeout(timeout), signal: checkSignal(signal) };
}

/** Makes the error of a wait whose time is up. */
export function timeoutError(doing: string, timeout: number): DOMException {
  return new DOMException(`Cannot ${doing} within ${timeout} ms`, "TimeoutError");
}
