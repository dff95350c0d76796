/**
 * The System V calls of libc under their C names, for those who know them: constants and struct
 * members are spelled as in C, results are plain values, and a call that fails throws
 * {@linkcode IpcError}. Nothing is hidden and nothing cleaned up. A call that waits blocks the thread.
 *
 * @example Counting with undo, line by line as in C or Python
 * ```ts
 * import { GETVAL, IPC_PRIVATE, IPC_RMID, SEM_UNDO, semctl, semget, semop } from "@sysv/ipc/libc";
 * import { assertEquals } from "@std/assert";
 *
 * const sem = semget(IPC_PRIVATE, 1, 0o600);
 * semop(sem, [[0, 1, SEM_UNDO]]);
 * assertEquals(semctl(sem, 0, GETVAL), 1);
 * semctl(sem, 0, IPC_RMID);
 * ```
 *
 * @module
 */

import { errors, IPC_RMID, IPC_SET, IPC_STAT, SHM_RDONLY, SHM_REMAP } from "../constants.ts";
import { abi, msginfo, seminfo, shm_info, shminfo } from "../platforms.ts";
import { type Layout, readStruct, writeStruct } from "../struct.ts";
import type { Pointer } from "../backend.ts";
import * as calls from "../calls.ts";
import { pointerTo, view } from "../memory.ts";
import { detach } from "../detach.ts";
import { IpcError, reasonOf } from "../error.ts";

export { IpcError, type IpcErrorOptions } from "../error.ts";
export {
  IPC_CREAT,
  IPC_EXCL,
  IPC_NOWAIT,
  IPC_PRIVATE,
  IPC_RMID,
  IPC_SET,
  IPC_STAT,
  MSG_NOERROR,
  SEM_UNDO,
  SHM_DEST,
  SHM_EXEC,
  SHM_HUGETLB,
  SHM_LOCKED,
  SHM_NORESERVE,
  SHM_RDONLY,
  SHM_REMAP,
  SHM_RND,
} from "../constants.ts";

// The commands are typed by their numbers on Linux, so that a command tells the type of its result;
// elsewhere the values differ and the types tell the same. -1 where the platform has no such command.
const c = abi.constants;

/** Asks for the limits of a kind of object (Linux). */
export const IPC_INFO = c.IPC_INFO as 3;
/** Asks for the process that operated last on a semaphore. */
export const GETPID = c.GETPID as 11;
/** Asks for the value of a semaphore. */
export const GETVAL = c.GETVAL as 12;
/** Asks for all values of a set. */
export const GETALL = c.GETALL as 13;
/** Asks how many wait for a semaphore to increase. */
export const GETNCNT = c.GETNCNT as 14;
/** Asks how many wait for a semaphore to be zero. */
export const GETZCNT = c.GETZCNT as 15;
/** Sets the value of a semaphore, and wipes every process's undo of it. */
export const SETVAL = c.SETVAL as 16;
/** Sets all values of a set, and wipes every process's undo of them. */
export const SETALL = c.SETALL as 17;
/** Describes the set at an index of the kernel's table (Linux). */
export const SEM_STAT = c.SEM_STAT as 18;
/** Asks how many sets and semaphores are in use (Linux). */
export const SEM_INFO = c.SEM_INFO as 19;
/** Does the same as `SEM_STAT` without permission to read (Linux). */
export const SEM_STAT_ANY = c.SEM_STAT_ANY as 20;
/** Receives the first message of any other type (Linux). */
export const MSG_EXCEPT = c.MSG_EXCEPT as 0o20000;
/** Copies the message at a position, and leaves it (Linux). */
export const MSG_COPY = c.MSG_COPY as 0o40000;
/** Describes the queue at an index of the kernel's table (Linux). */
export const MSG_STAT = c.MSG_STAT as 11;
/** Asks how many queues, messages and bytes are in use (Linux). */
export const MSG_INFO = c.MSG_INFO as 12;
/** Does the same as `MSG_STAT` without permission to read (Linux). */
export const MSG_STAT_ANY = c.MSG_STAT_ANY as 13;
/** Keeps a segment from being swapped out (Linux). */
export const SHM_LOCK = c.SHM_LOCK as 11;
/** Allows a segment to be swapped out again (Linux). */
export const SHM_UNLOCK = c.SHM_UNLOCK as 12;
/** Describes the segment at an index of the kernel's table (Linux). */
export const SHM_STAT = c.SHM_STAT as 13;
/** Asks how many segments and pages are in use (Linux). */
export const SHM_INFO = c.SHM_INFO as 14;
/** Does the same as `SHM_STAT` without permission to read (Linux). */
export const SHM_STAT_ANY = c.SHM_STAT_ANY as 15;

/** `struct ipc_perm`: who an object belongs to. */
export interface IpcPerm {
  /** The key, 0 for a private object. */
  __key: number;
  /** The user who owns it. */
  uid: number;
  /** The group that owns it. */
  gid: number;
  /** The user who made it. */
  cuid: number;
  /** The group of the user who made it. */
  cgid: number;
  /** The permissions in the low nine bits; segments have `SHM_DEST` and `SHM_LOCKED` above. */
  mode: number;
  /** The sequence number of the slot. */
  __seq: number;
}

/** What `IPC_SET` changes; what is left out stays as it is. */
export interface IpcPermChange {
  /** The user who shall own it. */
  uid?: number;
  /** The group that shall own it. */
  gid?: number;
  /** The permissions, low nine bits. */
  mode?: number;
}

/** `struct semid_ds`: a semaphore set. Times are in seconds since 1970, 0 for never. */
export interface SemidDs {
  /** The identifier: the one asked for, or the one found at the index. */
  semid: number;
  /** Who it belongs to. */
  sem_perm: IpcPerm;
  /** The time of the last semop. */
  sem_otime: number;
  /** The time of the creation or the last change by semctl. */
  sem_ctime: number;
  /** The number of semaphores. */
  sem_nsems: number;
}

/** `struct msqid_ds`: a message queue. Times are in seconds since 1970, 0 for never. */
export interface MsqidDs {
  /** The identifier: the one asked for, or the one found at the index. */
  msqid: number;
  /** Who it belongs to. */
  msg_perm: IpcPerm;
  /** The time of the last msgsnd. */
  msg_stime: number;
  /** The time of the last msgrcv. */
  msg_rtime: number;
  /** The time of the creation or the last change by msgctl. */
  msg_ctime: number;
  /** The bytes in the queue. */
  msg_cbytes: number;
  /** The messages in the queue. */
  msg_qnum: number;
  /** The most bytes that the queue holds. */
  msg_qbytes: number;
  /** The process that sent last. */
  msg_lspid: number;
  /** The process that received last. */
  msg_lrpid: number;
}

/** `struct shmid_ds`: a segment of shared memory. Times are in seconds since 1970, 0 for never. */
export interface ShmidDs {
  /** The identifier: the one asked for, or the one found at the index. */
  shmid: number;
  /** Who it belongs to. */
  shm_perm: IpcPerm;
  /** The size in bytes. */
  shm_segsz: number;
  /** The time of the last attach. */
  shm_atime: number;
  /** The time of the last detach. */
  shm_dtime: number;
  /** The time of the creation or the last change by shmctl. */
  shm_ctime: number;
  /** The process that created it. */
  shm_cpid: number;
  /** The process that attached or detached last. */
  shm_lpid: number;
  /** The number of attachments. */
  shm_nattch: number;
}

/** `struct seminfo` (Linux). Under `SEM_INFO`, `semusz` is the sets and `semaem` the semaphores in use. */
export interface Seminfo {
  /** The highest index in use. */
  index: number;
  /** Unused. */
  semmap: number;
  /** The most sets. */
  semmni: number;
  /** The most semaphores in all sets. */
  semmns: number;
  /** Unused. */
  semmnu: number;
  /** The most semaphores in one set. */
  semmsl: number;
  /** The most operations in one semop. */
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

/** `struct msginfo` (Linux). Under `MSG_INFO`, `msgpool` is the queues, `msgmap` the messages and `msgtql` the bytes in use. */
export interface Msginfo {
  /** The highest index in use. */
  index: number;
  /** Unused, or the queues in use. */
  msgpool: number;
  /** Unused, or the messages in all queues. */
  msgmap: number;
  /** The most bytes of one message. */
  msgmax: number;
  /** The most bytes of a queue, unless raised. */
  msgmnb: number;
  /** The most queues. */
  msgmni: number;
  /** Unused. */
  msgssz: number;
  /** Unused, or the bytes in all queues. */
  msgtql: number;
  /** Unused. */
  msgseg: number;
}

/** `struct shminfo` (Linux). Numbers above 2^53 are rounded. */
export interface Shminfo {
  /** The highest index in use. */
  index: number;
  /** The most bytes of one segment. */
  shmmax: number;
  /** The least bytes of one segment. */
  shmmin: number;
  /** The most segments. */
  shmmni: number;
  /** Unused. */
  shmseg: number;
  /** The most pages in all segments. */
  shmall: number;
}

/** `struct shm_info` (Linux). */
export interface ShmInfo {
  /** The highest index in use. */
  index: number;
  /** The segments in use. */
  used_ids: number;
  /** The pages of all segments. */
  shm_tot: number;
  /** The pages that are in memory. */
  shm_rss: number;
  /** The pages that are swapped out. */
  shm_swp: number;
  /** Unused. */
  swap_attempts: number;
  /** Unused. */
  swap_successes: number;
}

/** `struct sembuf` as a tuple: `sem_num`, `sem_op`, `sem_flg`. */
export type Sembuf = readonly [num: number, op: number, flg?: number];

/** `struct msgbuf`: a message. */
export interface Msgbuf {
  /** The type. Types above 2^53 are rounded. */
  mtype: number;
  /** The bytes, in a buffer of their own. */
  mtext: Uint8Array;
}

function done(result: number, syscall: string, subject: { key?: number; id?: number }): number {
  if (result >= 0 || result < -4095) return result;
  throw new IpcError(`Call of ${syscall} failed: ${reasonOf(-result)}`, -result, {
    syscall,
    ...subject,
  });
}

function integer(value: number, least: number, most: number, name: string): number {
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  const message =
    `Cannot pass ${value} as ${name}: expected a whole number from ${least} to ${most}`;
  throw typeof value === "number" ? new RangeError(message) : new TypeError(message);
}

const int = (value: number, name: string) => integer(value, -0x80000000, 0x7fffffff, name);
const keyOfC = (value: number) => integer(value, -0x80000000, 0xffffffff, "key") | 0;

/** The most of each member that `IPC_SET` changes. The kernel takes `msg_qbytes` as an `int`. */
const mostOf = { uid: 0xffffffff, gid: 0xffffffff, mode: 0xffff, msg_qbytes: 0x7fffffff };

/** Checks a struct to be changed, and those of its members that are given. */
function struct(value: unknown, name: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null) {
    throw new TypeError(`Cannot pass ${value} as ${name}: expected an object`);
  }
  const members = value as Record<string, unknown>;
  for (const [member, most] of Object.entries(mostOf)) {
    if (members[member] !== undefined) integer(members[member] as number, 0, most, member);
  }
  return members;
}

/**
 * Changes a `..._ds`. What is not given stays as it is and is read first, for which C would need
 * permission to read; if all is given, it is not.
 */
function change(
  run: (command: number, buffer: Uint8Array) => number,
  layout: Layout,
  { uid, gid, mode }: Record<string, unknown>,
  members: Record<string, unknown> = {},
): void {
  const buffer = new Uint8Array(layout.size);
  const given = [uid, gid, mode, ...Object.values(members)];
  if (given.includes(undefined)) run(IPC_STAT, buffer);
  writeStruct(abi.layouts.ipcPerm, buffer, { uid, gid, mode });
  writeStruct(layout, buffer, members);
  run(IPC_SET, buffer);
}

/** Reads a `..._ds`: `perm` is the name of its first member. */
function readDs(layout: Layout, perm: string, bytes: Uint8Array): Record<string, unknown> {
  return { [perm]: readStruct(abi.layouts.ipcPerm, bytes), ...readStruct(layout, bytes) };
}

/**
 * Gets the set of a key, or makes one.
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

/** What was passed last: a pointer does not keep memory from the collector. */
let passed: Uint8Array | undefined;

function pass(memory: Uint8Array): Pointer {
  passed = memory;
  return pointerTo(passed);
}

/** Packs operations as an array of `struct sembuf { unsigned short sem_num; short sem_op; short sem_flg; }`. */
function packSembufs(sops: readonly Sembuf[]): Pointer {
  if (!Array.isArray(sops)) {
    throw new TypeError("Cannot pass sops: expected an array of [sem_num, sem_op, sem_flg]");
  }
  const packed = new Int16Array(new ArrayBuffer(6 * sops.length));
  sops.forEach(([num, op, flg = 0], i) => {
    packed[3 * i] = integer(num, 0, 0xffff, "sem_num");
    packed[3 * i + 1] = integer(op, -0x8000, 0x7fff, "sem_op");
    packed[3 * i + 2] = integer(flg, -0x8000, 0x7fff, "sem_flg");
  });
  return pass(new Uint8Array(packed.buffer));
}

/**
 * Performs operations on a set, all or none. Blocks the thread until it can, unless `IPC_NOWAIT` says otherwise.
 *
 * @param semid The identifier.
 * @param sops The operations in order.
 * @throws {IpcError} EAGAIN, EIDRM, EINVAL, EINTR, EACCES, EFBIG (no such semaphore), E2BIG, ERANGE.
 * @see https://man7.org/linux/man-pages/man2/semop.2.html
 */
export function semop(semid: number, sops: readonly Sembuf[]): void {
  done(calls.semop(int(semid, "semid"), packSembufs(sops), sops.length), "semop", { id: semid });
}

/**
 * Performs operations on a set as {@linkcode semop} does, and waits no longer than the timeout (Linux).
 *
 * @param semid The identifier.
 * @param sops The operations in order.
 * @param timeout Milliseconds; left out, it waits without limit. (C takes a `struct timespec`.)
 * @throws {IpcError} EAGAIN if the time is up, and as semop.
 * @see https://man7.org/linux/man-pages/man2/semtimedop.2.html
 */
export function semtimedop(semid: number, sops: readonly Sembuf[], timeout?: number): void {
  if (timeout !== undefined && !(typeof timeout === "number" && timeout >= 0)) {
    const message = `Cannot wait for ${timeout} milliseconds: expected 0 or more`;
    throw typeof timeout === "number" ? new RangeError(message) : new TypeError(message);
  }
  const limit = timeout === undefined || timeout === Infinity ? null : calls.timespec(timeout);
  done(calls.semtimedop(int(semid, "semid"), packSembufs(sops), sops.length, limit), "semtimedop", {
    id: semid,
  });
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
 * Controls a set: what it takes and gives depends on the command.
 *
 * @param semid The identifier, or an index for `SEM_STAT` and `SEM_STAT_ANY`; of no meaning for the `..._INFO`.
 * @param semnum The semaphore, where the command is about one.
 * @param cmd The command.
 * @param arg What the command takes.
 * @returns What the command gives.
 * @throws {IpcError} EACCES, EPERM, EIDRM, EINVAL (no such set, semaphore or command), ERANGE.
 * @see https://man7.org/linux/man-pages/man2/semctl.2.html
 */
export function semctl(semid: number, semnum: number, cmd: number, arg?: unknown): unknown {
  const subject = { id: int(semid, "semid") };
  const run = (command: number, buffer: Uint8Array) =>
    done(calls.semctlBuffer(semid, int(semnum, "semnum"), command, buffer), "semctl", subject);
  const layout = abi.layouts.semid;
  switch (cmd) {
    case IPC_RMID:
      return void done(calls.semctl(semid, 0, cmd, 0), "semctl", subject);
    case SETVAL: {
      const value = int(arg as number, "val");
      return void done(calls.semctl(semid, int(semnum, "semnum"), cmd, value), "semctl", subject);
    }
    case GETALL: {
      const values = new Uint16Array(semctl(semid, 0, IPC_STAT).sem_nsems);
      run(cmd, new Uint8Array(values.buffer));
      return [...values];
    }
    case SETALL: {
      const given = arg as readonly number[];
      const count = semctl(semid, 0, IPC_STAT).sem_nsems;
      if (given?.length !== count) {
        throw new RangeError(
          `Cannot set all values of ${semid}: expected ${count} numbers, got ${given?.length}`,
        );
      }
      const values = Uint16Array.from(given, (value) => integer(value, 0, 0xffff, "value"));
      return void run(cmd, new Uint8Array(values.buffer));
    }
    case IPC_STAT:
    case SEM_STAT:
    case SEM_STAT_ANY: {
      const buffer = new Uint8Array(layout.size);
      const result = run(cmd, buffer);
      return { semid: cmd === IPC_STAT ? semid : result, ...readDs(layout, "sem_perm", buffer) };
    }
    case IPC_SET:
      return change(run, layout, struct(struct(arg, "buf").sem_perm, "sem_perm"));
    case IPC_INFO:
    case SEM_INFO: {
      const buffer = new Uint8Array(seminfo.size);
      return { index: run(cmd, buffer), ...readStruct(seminfo, buffer) };
    }
    default:
      return done(
        calls.semctl(semid, int(semnum, "semnum"), int(cmd, "cmd"), 0),
        "semctl",
        subject,
      );
  }
}

/**
 * Gets the queue of a key, or makes one.
 *
 * @param key The key, or `IPC_PRIVATE`.
 * @param msgflg `IPC_CREAT`, `IPC_EXCL` and the mode.
 * @returns The identifier.
 * @throws {IpcError} EEXIST, ENOENT, EACCES, ENOSPC, ENOMEM.
 * @see https://man7.org/linux/man-pages/man2/msgget.2.html
 */
export function msgget(key: number, msgflg: number): number {
  const k = keyOfC(key);
  return done(calls.msgget(k, int(msgflg, "msgflg")), "msgget", { key: k });
}

/**
 * Sends a message. Blocks the thread while the queue is full, unless `IPC_NOWAIT` says otherwise.
 *
 * @param msqid The identifier.
 * @param msgp The type, at least 1, and the bytes.
 * @param msgflg `IPC_NOWAIT`, or 0.
 * @throws {IpcError} EAGAIN, EACCES, EIDRM, EINTR, EINVAL (no such queue, type below 1, or too long).
 * @see https://man7.org/linux/man-pages/man2/msgsnd.2.html
 */
export function msgsnd(msqid: number, msgp: Msgbuf, msgflg = 0): void {
  const { mtype, mtext } = msgp;
  if (!(mtext instanceof Uint8Array)) {
    throw new TypeError("Cannot pass mtext: expected a Uint8Array");
  }
  const message = new Uint8Array(new ArrayBuffer(8 + mtext.byteLength));
  const type = integer(mtype, Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER, "mtype");
  new DataView(message.buffer).setBigInt64(0, BigInt(type), true);
  message.set(mtext, 8);
  done(
    calls.msgsnd(int(msqid, "msqid"), pass(message), mtext.byteLength, int(msgflg, "msgflg")),
    "msgsnd",
    { id: msqid },
  );
}

/**
 * Receives a message. Blocks the thread until there is one, unless `IPC_NOWAIT` says otherwise.
 *
 * @param msqid The identifier.
 * @param msgsz The most bytes to take. (C takes a buffer as well.)
 * @param msgtyp 0 for the oldest, positive for the oldest of that type, negative for the lowest type
 * up to its amount; with `MSG_COPY` a position.
 * @param msgflg `IPC_NOWAIT`, `MSG_NOERROR`, `MSG_EXCEPT` and `MSG_COPY`, or 0.
 * @returns The message.
 * @throws {IpcError} ENOMSG, E2BIG (longer than `msgsz`: it stays in the queue), EACCES, EIDRM, EINTR, EINVAL.
 * @see https://man7.org/linux/man-pages/man2/msgrcv.2.html
 */
export function msgrcv(msqid: number, msgsz: number, msgtyp = 0, msgflg = 0): Msgbuf {
  const message = new Uint8Array(new ArrayBuffer(8 + integer(msgsz, 0, 0x7fffffff, "msgsz")));
  const type = integer(msgtyp, Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER, "msgtyp");
  const length = done(
    calls.msgrcv(int(msqid, "msqid"), pass(message), msgsz, type, int(msgflg, "msgflg")),
    "msgrcv",
    { id: msqid },
  );
  const mtype = Number(new DataView(message.buffer).getBigInt64(0, true));
  return { mtype, mtext: message.slice(8, 8 + length) };
}

/** Removes the queue. */
export function msgctl(msqid: number, cmd: typeof IPC_RMID): void;
/** Describes the queue; `MSG_STAT` and `MSG_STAT_ANY` take an index for the identifier. */
export function msgctl(
  msqid: number,
  cmd: typeof IPC_STAT | typeof MSG_STAT | typeof MSG_STAT_ANY,
): MsqidDs;
/** Changes owner, group, mode or the most bytes. */
export function msgctl(
  msqid: number,
  cmd: typeof IPC_SET,
  buf: { msg_perm?: IpcPermChange; msg_qbytes?: number },
): void;
/** Reads the limits, or what is in use. */
export function msgctl(msqid: number, cmd: typeof IPC_INFO | typeof MSG_INFO): Msginfo;
/**
 * Controls a queue: what it takes and gives depends on the command.
 *
 * @param msqid The identifier, or an index for `MSG_STAT` and `MSG_STAT_ANY`; of no meaning for the `..._INFO`.
 * @param cmd The command.
 * @param arg What the command takes.
 * @returns What the command gives.
 * @throws {IpcError} EACCES, EPERM, EIDRM, EINVAL (no such queue or command).
 * @see https://man7.org/linux/man-pages/man2/msgctl.2.html
 */
export function msgctl(msqid: number, cmd: number, arg?: unknown): unknown {
  const subject = { id: int(msqid, "msqid") };
  const run = (command: number, buffer: Uint8Array | null) =>
    done(calls.msgctl(msqid, command, buffer), "msgctl", subject);
  const layout = abi.layouts.msqid;
  switch (cmd) {
    case IPC_RMID:
      return void run(cmd, null);
    case IPC_STAT:
    case MSG_STAT:
    case MSG_STAT_ANY: {
      const buffer = new Uint8Array(layout.size);
      const result = run(cmd, buffer);
      return { msqid: cmd === IPC_STAT ? msqid : result, ...readDs(layout, "msg_perm", buffer) };
    }
    case IPC_SET: {
      const { msg_perm = {}, msg_qbytes } = struct(arg, "buf");
      return change(run, layout, struct(msg_perm, "msg_perm"), { msg_qbytes });
    }
    case IPC_INFO:
    case MSG_INFO: {
      const buffer = new Uint8Array(msginfo.size);
      return { index: run(cmd, buffer), ...readStruct(msginfo, buffer) };
    }
    default:
      return run(int(cmd, "cmd"), null);
  }
}

/**
 * Gets the segment of a key, or makes one.
 *
 * @param key The key, or `IPC_PRIVATE`.
 * @param size The size in bytes; 0 will do for a segment that exists.
 * @param shmflg `IPC_CREAT`, `IPC_EXCL`, `SHM_HUGETLB`, `SHM_NORESERVE` and the mode.
 * @returns The identifier.
 * @throws {IpcError} EEXIST, ENOENT, EACCES, EINVAL (a size the segment or the system does not have), ENOSPC, ENOMEM.
 * @see https://man7.org/linux/man-pages/man2/shmget.2.html
 */
export function shmget(key: number, size: number, shmflg: number): number {
  const k = keyOfC(key);
  const bytes = integer(size, 0, Number.MAX_SAFE_INTEGER, "size");
  return done(calls.shmget(k, bytes, int(shmflg, "shmflg")), "shmget", { key: k });
}

const attached = new WeakMap<ArrayBuffer, { address: number; length: number }>();

/**
 * Attaches a segment where the kernel finds room.
 *
 * @param shmid The identifier.
 * @param shmaddr null: no address may be chosen.
 * @param shmflg `SHM_EXEC`, or 0. `SHM_RDONLY` is refused, since a write to such memory kills the
 * process: `SharedMemory.open(key, { readonly: true })` reads it safely.
 * @returns The memory itself, shared with every process that attaches it.
 * @throws {IpcError} EACCES, EIDRM, EINVAL, ENOMEM.
 * @see https://man7.org/linux/man-pages/man2/shmat.2.html
 */
export function shmat(shmid: number, shmaddr: null = null, shmflg = 0): ArrayBuffer {
  if (shmaddr !== null) {
    throw new TypeError("Cannot attach at an address: expected null");
  }
  if (int(shmflg, "shmflg") & (SHM_RDONLY | SHM_REMAP)) {
    throw new TypeError(
      "Cannot hand out memory attached with SHM_RDONLY or SHM_REMAP: a write to it kills the process",
    );
  }
  const address = done(calls.shmat(int(shmid, "shmid"), shmflg), "shmat", { id: shmid });
  try {
    const length = shmctl(shmid, IPC_STAT).shm_segsz;
    const memory = view(address, length);
    attached.set(memory, { address, length });
    return memory;
  } catch (error) {
    calls.shmdt(address);
    throw error;
  }
}

/**
 * Detaches a segment. All views of the memory have length 0 from then on. What a call of the runtime
 * that is under way still reads there, and what was transferred, is zeros of this process alone.
 *
 * @param memory What {@linkcode shmat} gave.
 * @throws {IpcError} EINVAL if it is detached already, EBUSY if it is in use and nothing can take its
 * place (macOS, huge pages).
 * @see https://man7.org/linux/man-pages/man2/shmdt.2.html
 */
export function shmdt(memory: ArrayBuffer): void {
  const attachment = attached.get(memory);
  if (attachment === undefined) {
    throw new IpcError("Call of shmdt failed: the memory is not attached", errors.EINVAL, {
      syscall: "shmdt",
    });
  }
  done(detach(memory, attachment.address, attachment.length), "shmdt", {});
  attached.delete(memory);
}

/** Removes the segment, or locks it in memory, or unlocks it. */
export function shmctl(
  shmid: number,
  cmd: typeof IPC_RMID | typeof SHM_LOCK | typeof SHM_UNLOCK,
): void;
/** Describes the segment; `SHM_STAT` and `SHM_STAT_ANY` take an index for the identifier. */
export function shmctl(
  shmid: number,
  cmd: typeof IPC_STAT | typeof SHM_STAT | typeof SHM_STAT_ANY,
): ShmidDs;
/** Changes owner, group or mode. */
export function shmctl(shmid: number, cmd: typeof IPC_SET, buf: { shm_perm: IpcPermChange }): void;
/** Reads the limits. */
export function shmctl(shmid: number, cmd: typeof IPC_INFO): Shminfo;
/** Reads what is in use. */
export function shmctl(shmid: number, cmd: typeof SHM_INFO): ShmInfo;
/**
 * Controls a segment: what it takes and gives depends on the command.
 *
 * @param shmid The identifier, or an index for `SHM_STAT` and `SHM_STAT_ANY`; of no meaning for the `..._INFO`.
 * @param cmd The command.
 * @param arg What the command takes.
 * @returns What the command gives.
 * @throws {IpcError} EACCES, EPERM, EIDRM, EINVAL (no such segment or command), ENOMEM (more locked than allowed).
 * @see https://man7.org/linux/man-pages/man2/shmctl.2.html
 */
export function shmctl(shmid: number, cmd: number, arg?: unknown): unknown {
  const subject = { id: int(shmid, "shmid") };
  const run = (command: number, buffer: Uint8Array | null) =>
    done(calls.shmctl(shmid, command, buffer), "shmctl", subject);
  const layout = abi.layouts.shmid;
  switch (cmd) {
    case IPC_RMID:
    case SHM_LOCK:
    case SHM_UNLOCK:
      return void run(cmd, null);
    case IPC_STAT:
    case SHM_STAT:
    case SHM_STAT_ANY: {
      const buffer = new Uint8Array(layout.size);
      const result = run(cmd, buffer);
      return { shmid: cmd === IPC_STAT ? shmid : result, ...readDs(layout, "shm_perm", buffer) };
    }
    case IPC_SET:
      return change(run, layout, struct(struct(arg, "buf").shm_perm, "shm_perm"));
    case IPC_INFO:
    case SHM_INFO: {
      const info = cmd === IPC_INFO ? shminfo : shm_info;
      const buffer = new Uint8Array(info.size);
      return { index: run(cmd, buffer), ...readStruct(info, buffer) };
    }
    default:
      return run(int(cmd, "cmd"), null);
  }
}

/**
 * Makes a key of a file and a number.
 *
 * @param pathname The path of a file that exists.
 * @param proj_id A number from 1 to 255.
 * @returns The key, which can be negative.
 * @throws {IpcError} ENOENT, EACCES and the other errors of stat.
 * @see https://man7.org/linux/man-pages/man3/ftok.3.html
 */
export function ftok(pathname: string, proj_id: number): number {
  integer(proj_id, 1, 255, "proj_id");
  if (typeof pathname !== "string" || pathname.includes("\0")) {
    throw new TypeError("Cannot pass pathname: expected a string without NUL");
  }
  const failure = { errno: 0 };
  const key = calls.ftok(new TextEncoder().encode(`${pathname}\0`), proj_id, failure);
  if (failure.errno === 0) return key;
  throw new IpcError(
    `Call of ftok for "${pathname}" failed: ${reasonOf(failure.errno)}`,
    failure.errno,
    { syscall: "ftok" },
  );
}
