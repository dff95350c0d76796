/**
 * `<sys/sem.h>`: semaphores.
 *
 * @module
 */

import * as calls from "../calls.ts";
import { described } from "../check.ts";
import { errors } from "../constants.ts";
import { IpcError } from "../error.ts";
import { abi, seminfo } from "../platforms.ts";
import { pack, type Packed, point } from "../sembuf.ts";
import {
  arrayOf,
  change,
  type Control,
  describe,
  done,
  information,
  int,
  integer,
  keyOfC,
  struct,
} from "./common.ts";
import { IPC_INFO, IPC_RMID, IPC_SET, IPC_STAT, type IpcPerm, type IpcPermChange } from "./ipc.ts";

export { SEM_UNDO } from "../constants.ts";

const c = abi.constants;

/** Reads the process that operated last on a semaphore. */
export const GETPID = c.GETPID as 11;
/** Reads the value of a semaphore. */
export const GETVAL = c.GETVAL as 12;
/** Reads all values of a set. */
export const GETALL = c.GETALL as 13;
/** Reads how many wait for a semaphore to increase. */
export const GETNCNT = c.GETNCNT as 14;
/** Reads how many wait for a semaphore to be zero. */
export const GETZCNT = c.GETZCNT as 15;
/** Sets the value of a semaphore, and wipes every process's undo of it. */
export const SETVAL = c.SETVAL as 16;
/** Sets all values of a set, and wipes every process's undo of them. */
export const SETALL = c.SETALL as 17;
/** Describes the set at an index of the kernel's table (Linux). */
export const SEM_STAT = c.SEM_STAT as 18;
/** Reads how many sets and semaphores are in use (Linux). */
export const SEM_INFO = c.SEM_INFO as 19;
/** Does the same as `SEM_STAT` without permission to read (Linux). */
export const SEM_STAT_ANY = c.SEM_STAT_ANY as 20;

/** `struct semid_ds`: a semaphore set. Times are in seconds since 1970, 0 for never. */
export interface SemidDs {
  /** The identifier: the one passed, or the one found at the index. */
  semid: number;
  /** The owner and the permissions. */
  sem_perm: IpcPerm;
  /** The time of the last semop. */
  sem_otime: number;
  /** The time of the creation or the last change by semctl. */
  sem_ctime: number;
  /** The number of semaphores. */
  sem_nsems: number;
}

/** `struct seminfo` (Linux). Under `SEM_INFO`, `semusz` is the sets and `semaem` the semaphores in use. */
export interface Seminfo {
  /** The highest index in use. */
  index: number;
  /** Unused. */
  semmap: number;
  /** The maximum number of sets. */
  semmni: number;
  /** The maximum number of semaphores in all sets. */
  semmns: number;
  /** Unused. */
  semmnu: number;
  /** The maximum number of semaphores in one set. */
  semmsl: number;
  /** The maximum number of operations in one semop. */
  semopm: number;
  /** Unused. */
  semume: number;
  /** Size of the undo structure, or the sets in use. */
  semusz: number;
  /** The largest value of a semaphore. */
  semvmx: number;
  /** The largest undo, or the semaphores in use. */
  semaem: number;
}

/** `struct sembuf` as a tuple: `sem_num`, `sem_op`, `sem_flg`. */
export type Sembuf = readonly [num: number, op: number, flg?: number];

/**
 * Returns the set of a key, or creates one.
 *
 * @example
 * ```ts
 * import { IPC_PRIVATE, IPC_RMID, IPC_STAT, semctl, semget } from "@sysv/ipc/libc";
 * import { assertEquals } from "@std/assert";
 *
 * const id = semget(IPC_PRIVATE, 3, 0o600);
 * assertEquals(semctl(id, 0, IPC_STAT).sem_nsems, 3);
 * semctl(id, 0, IPC_RMID);
 * ```
 *
 * @param key The key, or `IPC_PRIVATE`.
 * @param nsems The number of semaphores; 0 will do for a set that exists.
 * @param semflg `IPC_CREAT`, `IPC_EXCL` and the mode.
 * @returns The identifier.
 * @throws {IpcError} EEXIST, ENOENT, EACCES, EINVAL (more semaphores than the set or the system allows), ENOSPC, ENOMEM.
 * @see https://man7.org/linux/man-pages/man2/semget.2.html
 */
export function semget(key: number, nsems: number, semflg: number): number {
  const k = keyOfC(key);
  return done(calls.semget(k, int(nsems, "nsems"), int(semflg, "semflg")), "semget", { key: k });
}

const SEMBUFS = "an array of [sem_num, sem_op, sem_flg]";

/** Checks operations and packs them; what C would cut to 16 bits is refused. */
function packed(sops: readonly Sembuf[]): Packed {
  const numbers: number[] = [];
  // By index, as forEach() passes over holes.
  const given = arrayOf(sops, "sops", SEMBUFS);
  for (let i = 0; i < given.length; i++) {
    const sembuf = arrayOf(given[i], `sops[${i}]`, "[sem_num, sem_op, sem_flg]");
    if (sembuf.length > 3) {
      throw new TypeError(`Cannot pass sops: expected ${SEMBUFS}, got ${sembuf.length} numbers`);
    }
    const [num, op, flg = 0] = sembuf;
    numbers.push(
      integer(num, 0, 0xffff, "sem_num"),
      integer(op, -0x8000, 0x7fff, "sem_op"),
      integer(flg, -0x8000, 0x7fff, "sem_flg"),
    );
  }
  return pack(numbers);
}

/**
 * Performs operations on a set, all or none. Blocks the thread until it can, unless they have `IPC_NOWAIT`.
 *
 * @example
 * ```ts
 * import { GETALL, IPC_PRIVATE, IPC_RMID, SEM_UNDO, semctl, semget, semop } from "@sysv/ipc/libc";
 * import { assertEquals } from "@std/assert";
 *
 * const id = semget(IPC_PRIVATE, 2, 0o600);
 * semop(id, [[0, +2, SEM_UNDO], [1, +1]]);
 * assertEquals(semctl(id, 0, GETALL), [2, 1]);
 * semctl(id, 0, IPC_RMID);
 * ```
 *
 * @param semid The identifier.
 * @param sops The operations in order, each `[sem_num, sem_op, sem_flg]`, with flags 0 unless given.
 * @throws {IpcError} EAGAIN, EIDRM, EINVAL, EINTR, EACCES, EFBIG (no such semaphore), E2BIG, ERANGE.
 * @see https://man7.org/linux/man-pages/man2/semop.2.html
 */
export function semop(semid: number, sops: readonly Sembuf[]): void {
  const id = int(semid, "semid");
  const operations = packed(sops);
  done(calls.semop(id, point(operations), operations.count), "semop", { id });
}

/**
 * Performs operations on a set as {@linkcode semop} does, and waits no longer than the timeout (Linux).
 *
 * @example
 * ```ts
 * import { IPC_PRIVATE, IPC_RMID, IpcError, semctl, semget, semtimedop } from "@sysv/ipc/libc";
 * import { assertEquals, assertThrows } from "@std/assert";
 *
 * const id = semget(IPC_PRIVATE, 1, 0o600);
 * const error = assertThrows(() => semtimedop(id, [[0, -1]], 10), IpcError);
 * assertEquals(error.code, "EAGAIN"); // the value is 0
 * semctl(id, 0, IPC_RMID);
 * ```
 *
 * @param semid The identifier.
 * @param sops The operations in order, each `[sem_num, sem_op, sem_flg]`, with flags 0 unless given.
 * @param timeout Milliseconds, without limit unless given. (C takes a `struct timespec`.)
 * @throws {IpcError} EAGAIN if the timeout expires, and as semop.
 * @see https://man7.org/linux/man-pages/man2/semtimedop.2.html
 */
export function semtimedop(semid: number, sops: readonly Sembuf[], timeout?: number): void {
  const id = int(semid, "semid");
  const operations = packed(sops);
  const limit = limitOf(timeout);
  done(calls.semtimedop(id, point(operations), operations.count, limit), "semtimedop", { id });
}

/** Packs a timeout, null for none. */
function limitOf(timeout: number | undefined): Uint8Array | null {
  if (timeout === undefined || timeout === Infinity) return null;
  if (typeof timeout === "number" && timeout >= 0) return calls.timespec(timeout);
  const shown = typeof timeout === "number" ? timeout : described(timeout);
  const message = `Cannot wait for ${shown} ms: expected 0 or more`;
  throw typeof timeout === "number" ? new RangeError(message) : new TypeError(message);
}

/** Reads a value: `GETVAL`, `GETPID`, `GETNCNT` or `GETZCNT`. */
export function semctl(
  semid: number,
  semnum: number,
  cmd: typeof GETVAL | typeof GETPID | typeof GETNCNT | typeof GETZCNT,
): number;
/** Removes the set. */
export function semctl(semid: number, semnum: number, cmd: typeof IPC_RMID): void;
/** Sets the value of a semaphore. */
export function semctl(semid: number, semnum: number, cmd: typeof SETVAL, val: number): void;
/** Reads all values. */
export function semctl(semid: number, semnum: number, cmd: typeof GETALL): number[];
/** Sets all values. */
export function semctl(
  semid: number,
  semnum: number,
  cmd: typeof SETALL,
  array: readonly number[],
): void;
/** Describes the set; `SEM_STAT` and `SEM_STAT_ANY` take an index for the identifier. */
export function semctl(
  semid: number,
  semnum: number,
  cmd: typeof IPC_STAT | typeof SEM_STAT | typeof SEM_STAT_ANY,
): SemidDs;
/** Changes owner, group or mode. */
export function semctl(
  semid: number,
  semnum: number,
  cmd: typeof IPC_SET,
  buf: { sem_perm: IpcPermChange },
): void;
/** Reads the limits, or what is in use. */
export function semctl(
  semid: number,
  semnum: number,
  cmd: typeof IPC_INFO | typeof SEM_INFO,
): Seminfo;
/**
 * Controls a set: the command determines the argument and the result.
 *
 * @example
 * ```ts
 * import { GETVAL, IPC_PRIVATE, IPC_RMID, semctl, semget, SETALL, SETVAL } from "@sysv/ipc/libc";
 * import { assertEquals } from "@std/assert";
 *
 * const id = semget(IPC_PRIVATE, 2, 0o600);
 * semctl(id, 0, SETALL, [1, 2]);
 * semctl(id, 1, SETVAL, 5);
 * assertEquals(semctl(id, 1, GETVAL), 5);
 * semctl(id, 0, IPC_RMID);
 * ```
 *
 * @param semid The identifier, or an index for `SEM_STAT` and `SEM_STAT_ANY`; of no meaning for the `..._INFO`.
 * @param semnum The semaphore, where the command is about one.
 * @param cmd The command.
 * @param arg The argument of the command.
 * @returns The result of the command.
 * @throws {IpcError} EACCES, EPERM, EIDRM, EINVAL (no such set, semaphore or command), ERANGE.
 * @see https://man7.org/linux/man-pages/man2/semctl.2.html
 */
export function semctl(semid: number, semnum: number, cmd: number, arg?: unknown): unknown {
  const id = int(semid, "semid");
  const index = int(semnum, "semnum");
  const control = (command: number, buffer: Uint8Array) =>
    done(calls.semctlBuffer(id, index, command, buffer), "semctl", { id });
  const controlValue = (value: number) =>
    done(calls.semctl(id, index, int(cmd, "cmd"), value), "semctl", { id });
  switch (cmd) {
    case IPC_RMID:
      return void controlValue(0);
    case SETVAL:
      return void controlValue(int(arg as number, "val"));
    case GETALL:
      return getAll(id, control);
    case SETALL:
      return setAll(id, control, arg);
    case IPC_STAT:
    case SEM_STAT:
    case SEM_STAT_ANY:
      return describe(control, cmd, abi.layouts.semid, { id: "semid", perm: "sem_perm" }, id);
    case IPC_SET:
      return change(control, abi.layouts.semid, struct(struct(arg, "buf").sem_perm, "sem_perm"));
    case IPC_INFO:
    case SEM_INFO:
      return information(control, cmd, seminfo);
    default:
      return controlValue(0);
  }
}

function getAll(id: number, control: Control): number[] {
  const values = new Uint16Array(semctl(id, 0, IPC_STAT).sem_nsems);
  control(GETALL, new Uint8Array(values.buffer));
  return [...values];
}

function setAll(id: number, control: Control, array: unknown): void {
  const given = arrayOf(array, "array", "an array of numbers");
  const values = Uint16Array.from(given, (value) => integer(value, 0, 0xffff, "value"));
  const count = countOf(id);
  if (count !== undefined && count !== values.length) {
    throw new RangeError(
      `Cannot set all values of ${id}: expected ${count} numbers, got ${values.length}`,
    );
  }
  const passed = count === undefined ? padded(values) : values;
  control(SETALL, new Uint8Array(passed.buffer));
}

/** The size of a set; undefined without permission to read, which setting all values does not need. */
function countOf(id: number): number | undefined {
  try {
    return semctl(id, 0, IPC_STAT).sem_nsems;
  } catch (error) {
    const isHidden = error instanceof IpcError && error.errno === errors.EACCES;
    if (isHidden && abi.isLinux) return undefined;
    throw error;
  }
}

/** The maximum number of semaphores of a set, as their numbers have 16 bits. */
const MAX_SEMAPHORES = 2 ** 16;
/** No semaphore can have this value: the kernel refuses all values of the call (ERANGE). */
const IMPOSSIBLE = 0xffff;

/** Fills up values for a set of unknown size, so that too few of them set nothing. */
function padded(values: Uint16Array): Uint16Array {
  const all = new Uint16Array(Math.max(MAX_SEMAPHORES, values.length)).fill(IMPOSSIBLE);
  all.set(values);
  return all;
}
