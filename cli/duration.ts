/**
 * Times as they are written on a command line.
 *
 * @module
 */

import type { Arguments } from "./command.ts";
import { CommandError, NOT_IN_TIME, UsageError } from "./errors.ts";

const units: Readonly<Record<string, number>> = {
  "": 1000,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** Reads `10`, `0.5s`, `5m`, `1h`, `2d` as milliseconds; a number alone is seconds. */
export function duration(text: string, option: string): number {
  const [, number, unit = ""] = /^(\d+(?:\.\d+)?|\.\d+)(ms|s|m|h|d)?$/.exec(text) ?? [];
  if (number !== undefined) return Number(number) * units[unit]!;
  throw new UsageError(`--${option} is a time such as 10, 0.5s, 5m, 1h or 2d, not "${text}"`);
}

/** The milliseconds to wait: what `--timeout` says, 0 with `--no-wait`, else for ever. */
export function patience(given: Arguments): number {
  if (given.has("no-wait")) return 0;
  const text = given.get("timeout");
  return text === undefined ? Infinity : duration(text, "timeout");
}

/** The options that {@linkcode patience} reads. */
export const WAIT_OPTIONS = [
  { name: "timeout", short: "t", value: "TIME", help: "wait no longer: 10, 0.5s, 5m" },
  { name: "no-wait", short: "n", help: "do not wait" },
] as const;

/**
 * Makes a blocking call that a signal may interrupt, until it is done or its time is up: then it says
 * what did not happen.
 */
export function persist<Result>(
  timeout: number,
  missed: string,
  call: (timeout: number) => Result,
): Result {
  const deadline = performance.now() + timeout;
  for (;;) {
    try {
      return call(timeout === Infinity ? Infinity : Math.max(deadline - performance.now(), 0));
    } catch (error) {
      const { code, name } = error as { code?: string; name?: string };
      if (code === "EINTR") continue;
      if (name !== "TimeoutError" && code !== "ETIMEDOUT") throw error;
      const when = timeout === 0 ? "now" : `within ${timeout / 1000} s`;
      throw new CommandError(`${missed} ${when}`, NOT_IN_TIME);
    }
  }
}
