/**
 * How long names and items may be.
 *
 * @module
 */

import { described } from "../ffi/check.ts";
import { ipcError } from "../ffi/error.ts";

/** The most bytes of a name, as it has to fit into an index. */
const MAX_NAME = 2000;
/** The most bytes of an item. While a longer one is on its way, the session would be taken for lost. */
const MAX_BYTES = 16 * 1024 * 1024;

const encoder = new TextEncoder();

/** Checks a text that goes into the database, which has no NUL characters. */
export function checkText(text: string, name: string): void {
  if (typeof text === "string" && !text.includes("\0")) return;
  throw new TypeError(`Cannot use ${described(text)} as ${name}: expected a text without NUL`);
}

/** Checks a name. */
export function checkName(name: string): void {
  if (typeof name !== "string" || name === "") {
    throw new TypeError("Cannot open this: expected a name");
  }
  checkText(name, "name");
  const { length } = encoder.encode(name);
  if (length <= MAX_NAME) return;
  const start = JSON.stringify(name.slice(0, 20));
  throw new RangeError(
    `Cannot open ${start}...: the name has ${length} bytes, and the most are ${MAX_NAME}`,
  );
}

/** Checks the length of an item. */
export function checkBytes({ length }: Uint8Array, action: string, syscall: string): void {
  if (length <= MAX_BYTES) return;
  const reason = `the most are ${MAX_BYTES}: send it in parts, or put it elsewhere`;
  throw ipcError("EINVAL", action, { syscall, reason });
}
