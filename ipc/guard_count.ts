/**
 * How many processes use a guarded object that goes with the last of them: a semaphore set beside
 * the object, found by a key that is made of its identifier.
 *
 * Semaphore 0 counts the users, semaphore 1 is the tag, 0 at first. The first user sets the tag and
 * counts itself in one step; every other counts itself only where at least one is left. So once the
 * count has fallen to 0 it stays 0, and a process that reads that may remove the object: no other joins
 * it any more.
 *
 * @module
 */

import {
  errors,
  IPC_CREAT,
  IPC_EXCL,
  IPC_NOWAIT,
  IPC_RMID,
  IPC_STAT,
  SEM_UNDO,
} from "../ffi/constants.ts";
import { geteuid, semctl, semctlBuffer, semget } from "../ffi/calls.ts";
import { abi } from "../ffi/platforms.ts";
import { attempt } from "../ffi/attempt.ts";
import { pack } from "../ffi/sembuf.ts";
import { readStruct } from "../ffi/struct.ts";
import { keyOf } from "./key.ts";
import { ipcError } from "../ffi/error.ts";
import type { ObjectInfo } from "./object.ts";
import { tagOf } from "./set_tag.ts";

const users = 0, tag = 1, size = 2;

/** What joining comes to: counted, or too late, as the last user has gone. */
export type Joined = "joined" | "last user gone";

/** The count of the users of one object. */
export interface UserCount {
  readonly id: number;
  readonly key: number;
}

/** Returns the key of the count for an object, given as `ipcrm` is: its letter and identifier. */
export function countKey(place: string): number {
  return keyOf(`@sysv/ipc guard ${place}`);
}

/** Counts this process among the users, until it ends or leaves. */
export function join(key: number, object: ObjectInfo): { count: UserCount; joined: Joined } {
  for (;;) {
    const count = { id: openOrCreate(key, object), key };
    refuseForeign(count, object);
    const outcome = enter(count.id);
    if (outcome === "removed") continue;
    if (outcome === "last user gone" && isOlder(count, object)) {
      // It is of an object that had the same identifier long ago.
      semctl(count.id, 0, IPC_RMID, 0);
      continue;
    }
    return { count, joined: outcome };
  }
}

/** Uncounts this process, and returns whether it was the last. */
export function leave({ id }: UserCount): boolean {
  attempt(id, pack([users, -1, IPC_NOWAIT | SEM_UNDO]));
  return semctl(id, users, abi.constants.GETVAL, 0) === 0;
}

/** Removes the count. */
export function removeCount({ id }: UserCount): void {
  semctl(id, 0, IPC_RMID, 0);
}

function openOrCreate(key: number, object: ObjectInfo): number {
  const flags = IPC_CREAT | IPC_EXCL | (object.mode & 0o666);
  for (;;) {
    const found = semget(key, 0, 0);
    const id = found === -errors.ENOENT ? semget(key, size, flags) : found;
    if (id >= 0) return id;
    if (id !== -errors.EEXIST) throw failure(-id, "semget", key);
  }
}

function enter(id: number): Joined | "removed" {
  const undo = IPC_NOWAIT | SEM_UNDO;
  const next = [users, -1, IPC_NOWAIT, users, +1, IPC_NOWAIT, users, +1, undo];
  const first = [tag, 0, IPC_NOWAIT, tag, tagOf("guard"), IPC_NOWAIT, users, +1, undo];
  for (const step of [next, first]) {
    const result = attempt(id, pack(step));
    if (result >= 0) return "joined";
    if (result === -errors.EINVAL || result === -errors.EIDRM) return "removed";
    if (result !== -errors.EAGAIN) throw failure(-result, "semop", undefined, id);
  }
  return "last user gone";
}

/** Refuses a count that neither this user made, nor the owner or creator of the object. */
function refuseForeign({ id, key }: UserCount, object: ObjectInfo): void {
  const { cuid } = readStruct(abi.layouts.ipcPerm, describe(id));
  if ([geteuid(), object.uid, object.creatorUid, undefined].includes(cuid)) return;
  throw failure(errors.EPERM, "semget", key, id, `user ${cuid} created its count of users`);
}

/** Whether the last user had gone before the object was made. */
function isOlder({ id }: UserCount, { lastChange }: ObjectInfo): boolean {
  const { sem_otime: last = Infinity } = readStruct(abi.layouts.semid, describe(id));
  return last * 1000 < lastChange.getTime();
}

/** Reads the `semid_ds`; all zero where it cannot be read. */
function describe(id: number): Uint8Array {
  const buffer = new Uint8Array(abi.layouts.semid.size);
  semctlBuffer(id, 0, IPC_STAT, buffer);
  return buffer;
}

function failure(errno: number, syscall: string, key?: number, id?: number, reason?: string) {
  const action = "count the users of the object to guard";
  return ipcError(errno, action, { syscall, key, id, reason });
}
