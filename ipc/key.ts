/**
 * Keys: how programs that share nothing but a name find the same object.
 *
 * @module
 */

import * as libc from "../ffi/libc/ipc.ts";
import { checkInteger, numberError } from "../ffi/check.ts";

/**
 * What unrelated programs find an object by: a number, as in C, or a name, which {@linkcode keyOf} turns into a
 * number.
 */
export type Key = number | string;

/**
 * Turns a name into a key: the first 4 bytes of its SHA-256, big-endian, without the sign bit; 0
 * becomes 1. Any language can compute it, so programs in any language meet at the name.
 *
 * Two names can have the same key, as likely as two random numbers below 2^31 are equal: `openOrCreate` and `open`
 * tell kinds apart, not names.
 *
 * @example
 * ```ts
 * import { keyOf } from "@sysv/ipc";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(keyOf("gunicorn"), 0x18f5d484);
 * ```
 *
 * @param name Any string but the empty one, hashed as UTF-8.
 * @returns A key from 1 to 2,147,483,647.
 * @throws {TypeError} If the name is empty or not a string.
 */
export function keyOf(name: string): number {
  if (typeof name !== "string" || name === "") {
    throw new TypeError(
      "Cannot make a key of no name: expected a string of at least one character",
    );
  }
  // Loaded with the first name: it takes Deno longer than all the rest of this module.
  const { createHash } = process.getBuiltinModule("node:crypto");
  return createHash("sha256").update(name).digest().readInt32BE(0) & 0x7fffffff || 1;
}

/**
 * Makes a key of a file and a number, as `ftok` does in C: two programs that name the same file, by
 * whatever path, get the same key. Removing the file and making it again changes the key.
 *
 * @example
 * ```ts
 * import { ftok } from "@sysv/ipc";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(ftok("/", 1), ftok("/.", 1));
 * ```
 *
 * @param path The path of a file that exists. It is looked up by libc, so no permission to read is
 * asked for.
 * @param project A number from 1 to 255, for several keys of one file.
 * @returns The key, which can be negative.
 * @throws {IpcError} ENOENT if the file does not exist, EACCES if a folder on the way may not be
 * searched, ENOTDIR if it is none, ENAMETOOLONG, ELOOP.
 * @throws {RangeError} If the project is not from 1 to 255.
 * @throws {TypeError} If the path is not a string or contains NUL.
 * @see https://man7.org/linux/man-pages/man3/ftok.3.html
 */
export function ftok(path: string, project: number): number {
  checkInteger(project, 1, 255, `use ${String(project)} as a project of a file`);
  return libc.ftok(path, project);
}

/** Returns the number of a key, and refuses anything else. */
export function keyNumber(key: Key): number {
  if (typeof key === "string") return keyOf(key);
  if (Number.isInteger(key) && key !== 0 && key >= -0x80000000 && key <= 0xffffffff) return key | 0;
  throw numberError(
    key,
    key === 0
      ? "Cannot use 0 as a key: it is IPC_PRIVATE: leave the key out for a private object"
      : `Cannot use ${key} as a key: expected a name or a whole number of 32 bits`,
  );
}

/** Names an object in messages by what the user called it, or else by its identifier. */
export function objectName(noun: string, key: Key | undefined, id?: number): string {
  if (typeof key === "string") return `${noun} ${JSON.stringify(key)} (${keyText(keyOf(key))})`;
  if (key !== undefined) return `${noun} ${keyText(key)}`;
  return id === undefined ? `a private ${noun}` : `${noun} ${id}`;
}

/** Shows a key as `ipcs` does. */
export function keyText(key: number): string {
  return `0x${(key >>> 0).toString(16).padStart(8, "0")}`;
}
