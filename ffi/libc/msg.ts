/**
 * `<sys/msg.h>`: message queues.
 *
 * @module
 */

import * as calls from "../calls.ts";
import { described } from "../check.ts";
import { abi, msginfo } from "../platforms.ts";
import {
  change,
  type Control,
  describe,
  done,
  information,
  int,
  integer,
  keyOfC,
  long,
  pass,
  struct,
} from "./common.ts";
import { IPC_INFO, IPC_RMID, IPC_SET, IPC_STAT, type IpcPerm, type IpcPermChange } from "./ipc.ts";

export { MSG_NOERROR } from "../constants.ts";

const c = abi.constants;

/** Receives the first message of any other type (Linux). */
export const MSG_EXCEPT = c.MSG_EXCEPT as 0o20000;
/** Copies the message at a position, and leaves it (Linux). */
export const MSG_COPY = c.MSG_COPY as 0o40000;
/** Describes the queue at an index of the kernel's table (Linux). */
export const MSG_STAT = c.MSG_STAT as 11;
/** Reads how many queues, messages and bytes are in use (Linux). */
export const MSG_INFO = c.MSG_INFO as 12;
/** Does the same as `MSG_STAT` without permission to read (Linux). */
export const MSG_STAT_ANY = c.MSG_STAT_ANY as 13;

/** `struct msqid_ds`: a message queue. Times are in seconds since 1970, 0 for never. */
export interface MsqidDs {
  /** The identifier: the one passed, or the one found at the index. */
  msqid: number;
  /** The owner and the permissions. */
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
  /** The maximum number of bytes that the queue holds. */
  msg_qbytes: number;
  /** The process that sent last. */
  msg_lspid: number;
  /** The process that received last. */
  msg_lrpid: number;
}

/** `struct msginfo` (Linux). Under `MSG_INFO`, `msgpool` is the queues, `msgmap` the messages and `msgtql` the bytes in use. */
export interface Msginfo {
  /** The highest index in use. */
  index: number;
  /** Unused, or the queues in use. */
  msgpool: number;
  /** Unused, or the messages in all queues. */
  msgmap: number;
  /** The maximum number of bytes of one message. */
  msgmax: number;
  /** The maximum number of bytes of a queue, unless raised. */
  msgmnb: number;
  /** The maximum number of queues. */
  msgmni: number;
  /** Unused. */
  msgssz: number;
  /** Unused, or the bytes in all queues. */
  msgtql: number;
  /** Unused. */
  msgseg: number;
}

/** `struct msgbuf`: a message. */
export interface Msgbuf {
  /** The type: a bigint if it is above 2^53, where a number would be rounded. */
  mtype: number | bigint;
  /** The bytes, in a buffer of their own. */
  mtext: Uint8Array;
}

/**
 * Returns the queue of a key, or creates one.
 *
 * @example
 * ```ts
 * import { IPC_PRIVATE, IPC_RMID, IPC_STAT, msgctl, msgget } from "@sysv/ipc/libc";
 * import { assertEquals } from "@std/assert";
 *
 * const id = msgget(IPC_PRIVATE, 0o600);
 * assertEquals(msgctl(id, IPC_STAT).msg_qnum, 0);
 * msgctl(id, IPC_RMID);
 * ```
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
 * Sends a message. Blocks the thread while the queue is full, unless the flags have `IPC_NOWAIT`.
 *
 * @example
 * ```ts
 * import { IPC_PRIVATE, IPC_RMID, IPC_STAT, msgctl, msgget, msgsnd } from "@sysv/ipc/libc";
 * import { assertEquals } from "@std/assert";
 *
 * const id = msgget(IPC_PRIVATE, 0o600);
 * msgsnd(id, { mtype: 1, mtext: new TextEncoder().encode("hello") });
 * assertEquals(msgctl(id, IPC_STAT).msg_cbytes, 5);
 * msgctl(id, IPC_RMID);
 * ```
 *
 * @param msqid The identifier.
 * @param msgp The type, at least 1, and the bytes.
 * @param msgflg `IPC_NOWAIT`; 0 unless given.
 * @throws {IpcError} EAGAIN, EACCES, EIDRM, EINTR, EINVAL (no such queue, type below 1, or too long).
 * @see https://man7.org/linux/man-pages/man2/msgsnd.2.html
 */
export function msgsnd(msqid: number, msgp: Msgbuf, msgflg = 0): void {
  const id = int(msqid, "msqid");
  const flags = int(msgflg, "msgflg");
  const { mtype, mtext } = struct(msgp, "msgp") as { readonly [Name in keyof Msgbuf]: unknown };
  if (!(mtext instanceof Uint8Array)) {
    throw new TypeError(`Cannot pass ${described(mtext)} as mtext: expected a Uint8Array`);
  }
  const message = new Uint8Array(new ArrayBuffer(8 + mtext.byteLength));
  const type = long(mtype as Msgbuf["mtype"], "mtype");
  new DataView(message.buffer).setBigInt64(0, BigInt(type), true);
  message.set(mtext, 8);
  done(calls.msgsnd(id, pass(message), message.byteLength - 8, flags), "msgsnd", { id });
}

/**
 * Receives a message. Blocks the thread until there is one, unless the flags have `IPC_NOWAIT`.
 *
 * @example
 * ```ts
 * import { IPC_PRIVATE, IPC_RMID, msgctl, msgget, msgrcv, msgsnd } from "@sysv/ipc/libc";
 * import { assertEquals } from "@std/assert";
 *
 * const id = msgget(IPC_PRIVATE, 0o600);
 * for (const mtype of [3, 2]) msgsnd(id, { mtype, mtext: new Uint8Array(8) });
 * const { mtype, mtext } = msgrcv(id, 64, -3); // the lowest type up to 3
 * assertEquals([mtype, mtext.length], [2, 8]);
 * msgctl(id, IPC_RMID);
 * ```
 *
 * @param msqid The identifier.
 * @param msgsz The maximum number of bytes to receive. (C takes a buffer as well.)
 * @param msgtyp 0 for the oldest, positive for the oldest of that type, negative for the lowest type
 * up to its amount; with `MSG_COPY` a position. 0 unless given; beyond 2^53 a bigint.
 * @param msgflg `IPC_NOWAIT`, `MSG_NOERROR`, `MSG_EXCEPT` and `MSG_COPY`; 0 unless given.
 * @returns The message.
 * @throws {IpcError} ENOMSG, E2BIG (longer than `msgsz`: it stays in the queue), EACCES, EIDRM, EINTR, EINVAL.
 * @see https://man7.org/linux/man-pages/man2/msgrcv.2.html
 */
export function msgrcv(
  msqid: number,
  msgsz: number,
  msgtyp: number | bigint = 0,
  msgflg = 0,
): Msgbuf {
  const id = int(msqid, "msqid");
  const size = integer(msgsz, 0, 0x7fffffff, "msgsz");
  const type = long(msgtyp, "msgtyp");
  const flags = int(msgflg, "msgflg");
  const message = new Uint8Array(new ArrayBuffer(8 + size));
  const result = typeof type === "bigint"
    ? calls.msgrcvLong(id, pass(message), size, type, flags)
    : calls.msgrcv(id, pass(message), size, type, flags);
  const length = done(result, "msgrcv", { id });
  const received = new DataView(message.buffer).getBigInt64(0, true);
  const isExact = Number.isSafeInteger(Number(received));
  return {
    mtype: isExact ? Number(received) : received,
    mtext: message.slice(8, 8 + length),
  };
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
 * Controls a queue: the command determines the argument and the result.
 *
 * @example
 * ```ts
 * import { IPC_PRIVATE, IPC_RMID, IPC_SET, IPC_STAT, msgctl, msgget } from "@sysv/ipc/libc";
 * import { assertEquals } from "@std/assert";
 *
 * const id = msgget(IPC_PRIVATE, 0o600);
 * msgctl(id, IPC_SET, { msg_qbytes: 4096 });
 * assertEquals(msgctl(id, IPC_STAT).msg_qbytes, 4096);
 * msgctl(id, IPC_RMID);
 * ```
 *
 * @param msqid The identifier, or an index for `MSG_STAT` and `MSG_STAT_ANY`; of no meaning for the `..._INFO`.
 * @param cmd The command.
 * @param arg The argument of the command.
 * @returns The result of the command.
 * @throws {IpcError} EACCES, EPERM, EIDRM, EINVAL (no such queue or command).
 * @see https://man7.org/linux/man-pages/man2/msgctl.2.html
 */
export function msgctl(msqid: number, cmd: number, arg?: unknown): unknown {
  const id = int(msqid, "msqid");
  const control: Control = (command, buffer) =>
    done(calls.msgctl(id, command, buffer), "msgctl", { id });
  switch (cmd) {
    case IPC_STAT:
    case MSG_STAT:
    case MSG_STAT_ANY:
      return describe(control, cmd, abi.layouts.msqid, { id: "msqid", perm: "msg_perm" }, id);
    case IPC_SET: {
      const { msg_perm = {}, msg_qbytes } = struct(arg, "buf");
      return change(control, abi.layouts.msqid, struct(msg_perm, "msg_perm"), { msg_qbytes });
    }
    case IPC_INFO:
    case MSG_INFO:
      return information(control, cmd, msginfo);
    default: {
      const result = done(calls.msgctl(id, int(cmd, "cmd"), null), "msgctl", { id });
      return cmd === IPC_RMID ? undefined : result;
    }
  }
}
