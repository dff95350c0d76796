/**
 * Removing objects, whatever they are.
 *
 * @module
 */

import { IPC_RMID } from "../ffi/constants.ts";
import { msgctl, semctl, shmctl } from "../ffi/calls.ts";
import { reasonOf } from "../ffi/error.ts";
import { abi } from "../ffi/platforms.ts";
import type { ListedObject } from "../ipc/inventory.ts";
import { user } from "./output.ts";
import { nameOf } from "./target.ts";

const { EIDRM } = abi.errors;
const EPERM = 1, EINVAL = 22;

/** Removes an object, and returns why it cannot; undefined once it is gone. */
export function remove(object: ListedObject): string | undefined {
  const { type, id, uid } = object;
  const result = type === "sem"
    ? semctl(id, 0, IPC_RMID, 0)
    : type === "queue"
    ? msgctl(id, IPC_RMID, null)
    : shmctl(id, IPC_RMID, null);
  if (result >= 0 || result === -EIDRM || result === -EINVAL) return undefined;
  const reason = result === -EPERM
    ? `user ${user(uid)} owns it, and only its owner, its creator or root may`
    : reasonOf(-result);
  return `cannot remove ${nameOf(object)}: ${reason}`;
}
