/**
 * What the kernel holds: every semaphore set, message queue and segment of this IPC namespace, of all
 * users; the limits; and what dead programs have left behind. Linux alone.
 *
 * It asks the kernel and reads no files, so `--allow-ffi` is the only permission.
 *
 * @example
 * ```ts
 * import { MessageQueue } from "@sysv/ipc";
 * import { list, orphans } from "@sysv/ipc/inventory";
 * import { assertEquals } from "@std/assert";
 *
 * using queue = MessageQueue.create();
 * queue.trySend("hello");
 * const listed = list({ type: "queue" }).find(({ id }) => id === queue.id)!;
 * assertEquals(listed.meaning, "1 message");
 * assertEquals(orphans().some(({ object }) => object.id === queue.id), false);
 * ```
 *
 * @module
 */

import { checkOptions, checkWord } from "../ffi/check.ts";
import {
  type KnownProcess,
  type ListedByType,
  type ListedObject,
  type ObjectType,
  readObjects,
} from "./inventory_objects.ts";

export { type Limit, limits } from "./inventory_limits.ts";
export type {
  KnownProcess,
  ListedByType,
  ListedInfo,
  ListedMemory,
  ListedObject,
  ListedQueue,
  ListedSemaphores,
  ObjectType,
  ProcessRole,
} from "./inventory_objects.ts";
export type { ObjectInfo } from "./object.ts";
export type { SetKind } from "./set_tag.ts";

const types: readonly ObjectType[] = ["sem", "queue", "memory"];

/** Options of {@linkcode list} and {@linkcode orphans}. */
export interface ListOptions<Type extends ObjectType = ObjectType> {
  /**
   * The type to list.
   *
   * @default {undefined} All three.
   */
  type?: Type | undefined;
}

/** An object that dead programs seem to have left behind, as {@linkcode orphans} lists it. */
export interface Orphan {
  /** The object. */
  readonly object: ListedObject;
  /** Why it is taken for an orphan, in words. */
  readonly reason: string;
  /** How long it has not been used nor changed, in milliseconds. */
  readonly age: number;
}

/**
 * Lists the objects of this IPC namespace, by type and then by their places in the kernel's tables.
 *
 * Of an object that this user may not read, owner, mode, sizes and times are listed all the same; the
 * values, waiters and users of a semaphore set are not, and `hidden` says so.
 *
 * It is no snapshot: each object is read at its own moment, and what is removed meanwhile is left out.
 *
 * @example
 * ```ts
 * import { Semaphore } from "@sysv/ipc";
 * import { list } from "@sysv/ipc/inventory";
 * import { assertEquals } from "@std/assert";
 *
 * using semaphore = Semaphore.create({ value: 3 });
 * const listed = list({ type: "sem" }).find(({ id }) => id === semaphore.id)!;
 * assertEquals([listed.kind, listed.values, listed.waiting], ["set", [3], [0]]);
 * ```
 *
 * @param options The type.
 * @returns The objects.
 * @throws {IpcError} ENOSYS where the system cannot tell.
 */
export function list<Type extends ObjectType = ObjectType>(
  options: ListOptions<Type> = {},
): ListedByType[Type][] {
  checkOptions(options);
  const { type } = options;
  const listed = readObjects(type === undefined ? types : [checkWord(type, types, "type")]);
  return listed as ListedByType[Type][];
}

/**
 * Lists the objects that look left behind: all processes that the kernel remembers of them are dead,
 * none is attached, waits or holds anything, and nothing about them is hidden from this user.
 *
 * It is never certain. A queue may be meant to outlive its programs; processes that wait at a queue
 * cannot be seen; and a process that keeps a plain semaphore without waiting is seen only if no other
 * operated on it since. An object that was never used is not listed, because its creator is not recorded and may be
 * about to use it. The number of a dead process may belong to another by now, which hides an orphan.
 *
 * @example
 * ```ts
 * import { Semaphore } from "@sysv/ipc";
 * import { orphans } from "@sysv/ipc/inventory";
 * import { assertEquals } from "@std/assert";
 *
 * using semaphore = Semaphore.create(); // of a process that lives
 * assertEquals(orphans().some(({ object }) => object.id === semaphore.id), false);
 * ```
 *
 * @param options The type.
 * @returns The orphans, each with the reason and its age.
 * @throws {IpcError} ENOSYS where the system cannot tell.
 */
export function orphans(options: ListOptions = {}): Orphan[] {
  const now = Date.now();
  return list(options).flatMap((object: ListedObject) => {
    const { processes, inUse, hidden, lastUse } = object;
    if (inUse || hidden !== undefined || processes.length === 0) return [];
    if (processes.some(({ alive }) => alive)) return [];
    // The kernel counts whole seconds.
    const age = Math.max(now - lastUse.getTime(), 0);
    return [Object.freeze({ object, reason: reasonFor(object), age })];
  });
}

/** Says why an object is taken for an orphan. */
function reasonFor({ type, processes }: ListedObject): string {
  if (type === "sem") return `${goneUsers(processes)}, and nobody waits for it`;
  const [first, second] = processes;
  const isOne = second === undefined || first!.pid === second.pid;
  const gone = isOne
    ? `its ${processes.map(({ role }) => role).join(" and ")}, pid ${first!.pid}, is gone`
    : `its ${first!.role}, pid ${first!.pid}, and its ${second.role}, pid ${second.pid}, are gone`;
  return type === "queue" ? gone : `${gone}, and nobody is attached`;
}

function goneUsers(processes: readonly KnownProcess[]): string {
  const pids = processes.map(({ pid }) => pid).join(", ");
  return processes.length === 1
    ? `its last user, pid ${pids}, is gone`
    : `its last users, pids ${pids}, are gone`;
}
