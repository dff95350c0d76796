/**
 * How long something may be unused.
 *
 * @module
 */

import { described } from "../ffi/check.ts";

const units: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** Reads a time, in milliseconds or such as "1h"; undefined stays undefined. */
export function idleMilliseconds(idle: number | string | undefined): number | undefined {
  if (idle === undefined) return undefined;
  const [, amount, unit] = /^(\d+)(ms|s|m|h|d)$/.exec(String(idle)) ?? [];
  const milliseconds = typeof idle === "number" ? idle : Number(amount) * (units[unit!] ?? NaN);
  if (milliseconds >= 100 && Number.isSafeInteger(milliseconds)) return milliseconds;
  const message = `Cannot use ${
    described(idle)
  } as idle: expected 100 milliseconds or more, as a number or such as "1h"`;
  throw typeof idle === "number" ? new RangeError(message) : new TypeError(message);
}
