/**
 * What waits have in common for their callers: how long, until when, and how they end.
 *
 * @module
 */

import { checkOptions, described, numberError } from "../ffi/check.ts";

/** Options of blocking calls. */
export interface TimeoutOptions {
  /**
   * The maximum time to wait, in milliseconds; 0 tries once.
   *
   * @default {Infinity}
   */
  timeout?: number | undefined;
}

/** Options of promises. */
export interface WaitOptions extends TimeoutOptions {
  /** Ends the wait when it is aborted: the promise rejects with the reason of the signal. */
  signal?: AbortSignal | undefined;
}

/** Checks a timeout in milliseconds and returns it; Infinity if there is none. */
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

/** The options of a wait, read once: no code of the caller, such as a getter, runs after that. */
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

/** Checks the options of a call that blocks; what nobody gave costs nothing. */
export function checkTimeoutOptions(options: TimeoutOptions | undefined): void {
  if (options === undefined) return;
  checkOptions(options);
  checkTimeout(options.timeout);
}

/** Makes the error of a wait that timed out. */
export function timeoutError(doing: string, timeout: number): DOMException {
  return new DOMException(`Cannot ${doing} within ${timeout} ms`, "TimeoutError");
}
