/**
 * How waits end from outside: by a signal, or by the time.
 *
 * @module
 */

import { timeoutError } from "../wait/options.ts";

/** What ends a wait. */
export interface Ends {
  readonly timeout: number;
  readonly signals: readonly (AbortSignal | undefined)[];
}

/** What is known of the end of a wait. */
export interface Ending {
  readonly ended: Promise<{ readonly reason: unknown }>;
  /** Has nothing end it any more. */
  forget(): void;
}

/** The longest time of a timer, in milliseconds. */
const MAX_TIMER = 0x7fffffff;

/** Waits for what ends a wait that began at some moment; `action` says what waits, for the error. */
export function endOf({ timeout, signals }: Ends, action: string, since: number): Ending {
  const { promise, resolve } = Promise.withResolvers<{ readonly reason: unknown }>();
  const forgets: (() => void)[] = [];
  for (const signal of signals) {
    if (signal === undefined) continue;
    const end = () => resolve({ reason: signal.reason });
    signal.addEventListener("abort", end);
    forgets.push(() => signal.removeEventListener("abort", end));
    if (signal.aborted) end();
  }
  let timer: ReturnType<typeof setTimeout> | undefined;
  const rest = () => {
    const left = timeout - (performance.now() - since);
    if (left <= 0) resolve({ reason: timeoutError(action, timeout) });
    else timer = setTimeout(rest, Math.min(Math.ceil(left), MAX_TIMER));
  };
  if (timeout !== Infinity) rest();
  forgets.push(() => clearTimeout(timer));
  return { ended: promise, forget: () => forgets.forEach((forget) => forget()) };
}
