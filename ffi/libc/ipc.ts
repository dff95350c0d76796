/**
 * `<sys/ipc.h>`: what the three kinds of objects have in common.
 *
 * @module
 */

import * as calls from "../calls.ts";
import { described } from "../check.ts";
import { ipcError } from "../error.ts";
import { abi } from "../platforms.ts";
import { int } from "./common.ts";

export {
  IPC_CREAT,
  IPC_EXCL,
  IPC_NOWAIT,
  IPC_PRIVATE,
  IPC_RMID,
  IPC_SET,
  IPC_STAT,
} from "../constants.ts";

// Commands are typed by their numbers on Linux, so that a command determines the type of its result;
// elsewhere the values differ and the types do not. -1 where the platform has no such command.

/** Reads the limits of a kind of object (Linux). */
export const IPC_INFO = abi.constants.IPC_INFO as 3;

/** `struct ipc_perm`: the owner and the permissions of an object. */
export interface IpcPerm {
  /** The key, 0 for a private object. */
  __key: number;
  /** The user id of the owner. */
  uid: number;
  /** The group id of the owner. */
  gid: number;
  /** The user id of the creator. */
  cuid: number;
  /** The group id of the creator. */
  cgid: number;
  /** The permissions in the low nine bits; segments have `SHM_DEST` and `SHM_LOCKED` above. */
  mode: number;
  /** The sequence number of the slot. */
  __seq: number;
}

/** What `IPC_SET` changes; what is left out stays as it is. */
export interface IpcPermChange {
  /** The user id of the new owner. */
  uid?: number;
  /** The group id of the new owner. */
  gid?: number;
  /** The permissions, low nine bits. */
  mode?: number;
}

/**
 * Makes a key of a file and a number.
 *
 * @example
 * ```ts
 * import { ftok } from "@sysv/ipc/libc";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(ftok("/", 1), ftok("/.", 1));
 * ```
 *
 * @param pathname The path of a file that exists.
 * @param proj_id Any number: its low eight bits count, and POSIX wants one of them set.
 * @returns The key, which can be negative.
 * @throws {IpcError} ENOENT, EACCES and the other errors of stat.
 * @see https://man7.org/linux/man-pages/man3/ftok.3.html
 */
export function ftok(pathname: string, proj_id: number): number {
  int(proj_id, "proj_id");
  if (typeof pathname !== "string" || pathname.includes("\0")) {
    throw new TypeError(
      `Cannot pass ${described(pathname)} as pathname: expected a string without NUL`,
    );
  }
  const failure = { errno: 0 };
  const key = calls.ftok(new TextEncoder().encode(`${pathname}\0`), proj_id, failure);
  const { errno } = failure;
  if (errno === 0) return key;
  throw ipcError(errno, `call ftok for "${pathname}"`, { syscall: "ftok" });
}
