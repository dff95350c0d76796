/**
 * `<sys/shm.h>`: shared memory.
 *
 * @module
 */

import * as calls from "../calls.ts";
import { described } from "../check.ts";
import { SHM_RDONLY, SHM_REMAP } from "../constants.ts";
import { detach } from "../detach.ts";
import { ipcError } from "../error.ts";
import { view } from "../memory.ts";
import { abi, shm_info, shminfo } from "../platforms.ts";
import {
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

export {
  SHM_DEST,
  SHM_EXEC,
  SHM_HUGETLB,
  SHM_LOCKED,
  SHM_NORESERVE,
  SHM_R,
  SHM_W,
} from "../constants.ts";

const c = abi.constants;

/** The multiple that addresses of segments have, in bytes. */
export const SHMLBA: number = c.SHMLBA;
/** Keeps a segment from being swapped out (Linux). */
export const SHM_LOCK = c.SHM_LOCK as 11;
/** Allows a segment to be swapped out again (Linux). */
export const SHM_UNLOCK = c.SHM_UNLOCK as 12;
/** Describes the segment at an index of the kernel's table (Linux). */
export const SHM_STAT = c.SHM_STAT as 13;
/** Reads how many segments and pages are in use (Linux). */
export const SHM_INFO = c.SHM_INFO as 14;
/** Does the same as `SHM_STAT` without permission to read (Linux). */
export const SHM_STAT_ANY = c.SHM_STAT_ANY as 15;

/** `struct shmid_ds`: a segment of shared memory. Times are in seconds since 1970, 0 for never. */
export interface ShmidDs {
  /** The identifier: the one passed, or the one found at the index. */
  shmid: number;
  /** The owner and the permissions. */
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

/** `struct shminfo` (Linux). Numbers above 2^53 are rounded. */
export interface Shminfo {
  /** The highest index in use. */
  index: number;
  /** The maximum number of bytes of one segment. */
  shmmax: number;
  /** The least bytes of one segment. */
  shmmin: number;
  /** The maximum number of segments. */
  shmmni: number;
  /** Unused. */
  shmseg: number;
  /** The maximum number of pages in all segments. */
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

/**
 * Returns the segment of a key, or creates one.
 *
 * @example
 * ```ts
 * import { IPC_PRIVATE, IPC_RMID, IPC_STAT, shmctl, shmget } from "@sysv/ipc/libc";
 * import { assertEquals } from "@std/assert";
 *
 * const id = shmget(IPC_PRIVATE, 4096, 0o600);
 * assertEquals(shmctl(id, IPC_STAT).shm_segsz, 4096);
 * shmctl(id, IPC_RMID);
 * ```
 *
 * @param key The key, or `IPC_PRIVATE`.
 * @param size The size in bytes; 0 will do for a segment that exists.
 * @param shmflg `IPC_CREAT`, `IPC_EXCL`, `SHM_HUGETLB`, `SHM_NORESERVE` and the mode, such as `SHM_R | SHM_W`.
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
 * @example
 * ```ts
 * import { IPC_PRIVATE, IPC_RMID, shmat, shmctl, shmdt, shmget } from "@sysv/ipc/libc";
 * import { assertEquals } from "@std/assert";
 *
 * const id = shmget(IPC_PRIVATE, 4096, 0o600);
 * const memory = shmat(id);
 * shmctl(id, IPC_RMID); // it goes with its last attachment
 * assertEquals(new Uint8Array(memory)[0], 0);
 * shmdt(memory);
 * ```
 *
 * @param shmid The identifier.
 * @param shmaddr null, as unless given: no address may be chosen.
 * @param shmflg `SHM_EXEC`; 0 unless given. `SHM_RDONLY` of C is refused, since a write to such memory kills the
 * process: `SharedMemory.open(key, { readonly: true })` reads it safely.
 * @returns The memory itself, shared with every process that attaches it.
 * @throws {IpcError} EACCES, EIDRM, EINVAL, ENOMEM.
 * @see https://man7.org/linux/man-pages/man2/shmat.2.html
 */
export function shmat(shmid: number, shmaddr: null = null, shmflg = 0): ArrayBuffer {
  const id = int(shmid, "shmid");
  if (shmaddr !== null) {
    throw new TypeError(`Cannot attach at ${described(shmaddr)}: expected null`);
  }
  if (int(shmflg, "shmflg") & (SHM_RDONLY | SHM_REMAP)) {
    throw new TypeError(
      "Cannot attach with SHM_RDONLY or SHM_REMAP: a write to such memory kills the process",
    );
  }
  const address = done(calls.shmat(id, shmflg), "shmat", { id });
  try {
    const length = shmctl(id, IPC_STAT).shm_segsz;
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
 * @example
 * ```ts
 * import { IPC_PRIVATE, IPC_RMID, shmat, shmctl, shmdt, shmget } from "@sysv/ipc/libc";
 * import { assertEquals } from "@std/assert";
 *
 * const id = shmget(IPC_PRIVATE, 4096, 0o600);
 * const view = new Uint8Array(shmat(id));
 * shmctl(id, IPC_RMID);
 * shmdt(view.buffer);
 * assertEquals(view.length, 0);
 * ```
 *
 * @param memory The result of {@linkcode shmat}.
 * @throws {IpcError} EINVAL if it is detached already, EBUSY if it is in use and nothing can take its
 * place (macOS, huge pages).
 * @see https://man7.org/linux/man-pages/man2/shmdt.2.html
 */
export function shmdt(memory: ArrayBuffer): void {
  if (!(memory instanceof ArrayBuffer)) {
    throw new TypeError(`Cannot detach ${described(memory)}: expected the result of shmat`);
  }
  const attachment = attached.get(memory);
  if (attachment === undefined) {
    throw ipcError("EINVAL", "call shmdt", {
      syscall: "shmdt",
      reason: "the memory is not attached",
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
 * Controls a segment: the command determines the argument and the result.
 *
 * @example
 * ```ts
 * import { IPC_PRIVATE, IPC_RMID, IPC_SET, IPC_STAT, shmctl, shmget } from "@sysv/ipc/libc";
 * import { assertEquals } from "@std/assert";
 *
 * const id = shmget(IPC_PRIVATE, 4096, 0o600);
 * shmctl(id, IPC_SET, { shm_perm: { mode: 0o640 } });
 * assertEquals(shmctl(id, IPC_STAT).shm_perm.mode, 0o640);
 * shmctl(id, IPC_RMID);
 * ```
 *
 * @param shmid The identifier, or an index for `SHM_STAT` and `SHM_STAT_ANY`; of no meaning for the `..._INFO`.
 * @param cmd The command.
 * @param arg The argument of the command.
 * @returns The result of the command.
 * @throws {IpcError} EACCES, EPERM, EIDRM, EINVAL (no such segment or command), ENOMEM (more locked than allowed).
 * @see https://man7.org/linux/man-pages/man2/shmctl.2.html
 */
export function shmctl(shmid: number, cmd: number, arg?: unknown): unknown {
  const id = int(shmid, "shmid");
  const control: Control = (command, buffer) =>
    done(calls.shmctl(id, command, buffer), "shmctl", { id });
  switch (cmd) {
    case IPC_STAT:
    case SHM_STAT:
    case SHM_STAT_ANY:
      return describe(control, cmd, abi.layouts.shmid, { id: "shmid", perm: "shm_perm" }, id);
    case IPC_SET:
      return change(control, abi.layouts.shmid, struct(struct(arg, "buf").shm_perm, "shm_perm"));
    case IPC_INFO:
      return information(control, cmd, shminfo);
    case SHM_INFO:
      return information(control, cmd, shm_info);
    default: {
      const result = done(calls.shmctl(id, int(cmd, "cmd"), null), "shmctl", { id });
      const isVoid = cmd === IPC_RMID || cmd === SHM_LOCK || cmd === SHM_UNLOCK;
      return isVoid ? undefined : result;
    }
  }
}
