/**
 * Objects of the kernel for tests of the face of libc, and what /proc tells of them.
 *
 * @module
 */

import { assert } from "@std/assert";
import { readFileSync } from "node:fs";
import { keyOf } from "@sysv/ipc";
import * as libc from "@sysv/ipc/libc";
import {
  GETALL,
  IPC_CREAT,
  IPC_EXCL,
  IPC_PRIVATE,
  IPC_RMID,
  msgctl,
  msgget,
  semctl,
  semget,
  shmctl,
  shmget,
} from "@sysv/ipc/libc";
import { freshName } from "./objects.ts";

/** An object of the kernel that goes at the end of the block. */
function kept(id: number, remove: (id: number) => void): { id: number } & Disposable {
  return {
    id,
    [Symbol.dispose]() {
      try {
        remove(id);
      } catch (error) {
        assert(error instanceof libc.IpcError && error.code === "EINVAL", String(error));
      }
    },
  };
}
export const newSet = (nsems = 1, key = IPC_PRIVATE, flags = IPC_CREAT | IPC_EXCL | 0o600) =>
  kept(semget(key, nsems, flags), (id) => semctl(id, 0, IPC_RMID));
export const newQueue = (key = IPC_PRIVATE, flags = IPC_CREAT | IPC_EXCL | 0o600) =>
  kept(msgget(key, flags), (id) => msgctl(id, IPC_RMID));
export const newSegment = (size = 100, key = IPC_PRIVATE, flags = IPC_CREAT | IPC_EXCL | 0o600) =>
  kept(shmget(key, size, flags), (id) => shmctl(id, IPC_RMID));

export const freshKey = () => keyOf(freshName());
export const bytes = (text: string) => new TextEncoder().encode(text);
export const text = (message: libc.Msgbuf) => new TextDecoder().decode(message.mtext);
export const values = (id: number) => semctl(id, 0, GETALL);

/** What /proc/sysvipc tells of an object, by the names there; its key is a signed number, its permissions are octal. */
export function proc(kind: "sem" | "msg" | "shm", id: number): Record<string, number> | undefined {
  const [head, ...rows] = readFileSync(`/proc/sysvipc/${kind}`, "utf8").trim().split("\n").map((
    line,
  ) => line.trim().split(/ +/));
  const row = rows.find((row) => row[1] === `${id}`);
  return row && Object.fromEntries(head!.map((name, index) => {
    return [name, name === "perms" ? parseInt(row[index]!, 8) : Number(row[index])];
  }));
}

/** The numbers in a file of /proc/sys/kernel. */
export const limits = (name: string) =>
  readFileSync(`/proc/sys/kernel/${name}`, "utf8").trim().split(/\s+/).map(Number);

/** Finds the index of an object in the kernel's table. */
export function indexOf(id: number, last: number, stat: (index: number) => number): number {
  for (let index = 0; index <= last; index++) {
    try {
      if (stat(index) === id) return index;
    } catch (error) {
      assert(error instanceof libc.IpcError && error.code === "EINVAL", String(error));
    }
  }
  throw new Error(`${id} has no index up to ${last}`);
}
