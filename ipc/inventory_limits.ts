/**
 * The limits of System V IPC and how much of each is used.
 *
 * @module
 */

import { errors } from "../ffi/constants.ts";
import { msgctl, semctlBuffer, shmctl } from "../ffi/calls.ts";
import { abi, msginfo, seminfo, shm_info, shminfo } from "../ffi/platforms.ts";
import { type Layout, readStruct } from "../ffi/struct.ts";
import { ipcError } from "../ffi/error.ts";
import type { ObjectType } from "./inventory_objects.ts";

/** A limit of the system, as {@linkcode limits} lists it. */
export interface Limit {
  /** The name in C and of `lsipc`, such as `"SEMMNI"`. */
  readonly name: string;
  /** The type of objects that it limits. */
  readonly type: ObjectType;
  /** What it limits, in words. */
  readonly what: string;
  /** The limit. Those above 2^53 are rounded. */
  readonly max: number;
  /** How much is used, undefined for a limit on a single object or call. */
  readonly used: number | undefined;
  /** The same in per cent of the limit. */
  readonly percent: number | undefined;
  /** Where the limit is set: a sysctl, and which of its numbers. Undefined for what is fixed. */
  readonly setting: string | undefined;
}

/** Makes a control call that describes the system. */
type Ask = (command: number, buffer: Uint8Array) => number;

function ask(call: Ask, syscall: string, command: number, layout: Layout): Record<string, number> {
  const buffer = new Uint8Array(layout.size);
  const result = command === -1 ? -errors.ENOSYS : call(command, buffer);
  if (result < 0) throw ipcError(-result, "read the limits of the system", { syscall });
  return readStruct(layout, buffer);
}

function limit(
  type: ObjectType,
  name: string,
  what: string,
  max: number,
  setting: string | undefined,
  used?: number,
): Limit {
  const percent = used === undefined ? undefined : max === 0 ? 100 : 100 * used / max;
  return Object.freeze({ name, type, what, max, used, percent, setting });
}

function semaphoreLimits(): Limit[] {
  const call: Ask = (command, buffer) => semctlBuffer(0, 0, command, buffer);
  const max = ask(call, "semctl", abi.constants.IPC_INFO, seminfo);
  const { semusz: sets, semaem: semaphores } = ask(
    call,
    "semctl",
    abi.constants.SEM_INFO,
    seminfo,
  );
  return [
    limit("sem", "SEMMNI", "semaphore sets", max.semmni!, "kernel.sem, 4th number", sets),
    limit("sem", "SEMMNS", "semaphores", max.semmns!, "kernel.sem, 2nd number", semaphores),
    limit("sem", "SEMMSL", "semaphores of a set", max.semmsl!, "kernel.sem, 1st number"),
    limit("sem", "SEMOPM", "operations of a call", max.semopm!, "kernel.sem, 3rd number"),
    limit("sem", "SEMVMX", "value of a semaphore", max.semvmx!, undefined),
  ];
}

function queueLimits(): Limit[] {
  const call: Ask = (command, buffer) => msgctl(0, command, buffer);
  const max = ask(call, "msgctl", abi.constants.IPC_INFO, msginfo);
  const { msgpool: queues } = ask(call, "msgctl", abi.constants.MSG_INFO, msginfo);
  return [
    limit("queue", "MSGMNI", "message queues", max.msgmni!, "kernel.msgmni", queues),
    limit("queue", "MSGMAX", "bytes of a message", max.msgmax!, "kernel.msgmax"),
    limit("queue", "MSGMNB", "bytes of a queue, at first", max.msgmnb!, "kernel.msgmnb"),
  ];
}

function memoryLimits(): Limit[] {
  const call: Ask = (command, buffer) => shmctl(0, command, buffer);
  const max = ask(call, "shmctl", abi.constants.IPC_INFO, shminfo);
  const { used_ids: segments, shm_tot: pages } = ask(
    call,
    "shmctl",
    abi.constants.SHM_INFO,
    shm_info,
  );
  return [
    limit("memory", "SHMMNI", "segments", max.shmmni!, "kernel.shmmni", segments),
    limit("memory", "SHMALL", "pages of all segments", max.shmall!, "kernel.shmall", pages),
    limit("memory", "SHMMAX", "bytes of a segment", max.shmmax!, "kernel.shmmax"),
    limit("memory", "SHMMIN", "bytes of a segment, at least", max.shmmin!, undefined),
  ];
}

/**
 * Lists the limits of System V IPC in this IPC namespace, and how much of each is used. Needs no
 * permission but to call libc. Linux alone.
 *
 * @example
 * ```ts
 * import { limits } from "@sysv/ipc/inventory";
 * import { assert } from "@std/assert";
 *
 * const sets = limits().find(({ name }) => name === "SEMMNI")!;
 * assert(sets.used! <= sets.max);
 * ```
 *
 * @returns The limits, by type. Those on a single object or call have no `used`.
 * @throws {IpcError} ENOSYS where the system cannot tell.
 */
export function limits(): Limit[] {
  return [...semaphoreLimits(), ...queueLimits(), ...memoryLimits()];
}
