/**
 * Removal that survives SIGKILL of its owner: {@linkcode guard}.
 *
 * @module
 */

import { checkFlag, checkOptions } from "../ffi/check.ts";
import { IPC_RMID } from "../ffi/constants.ts";
import { geteuid, msgctl, semctl, shmctl } from "../ffi/calls.ts";
import { countKey, join, leave, removeCount, type UserCount } from "./guard_count.ts";
import { Watchdog } from "./guard_watchdog.ts";
import { type ErrorCode, ipcError } from "../ffi/error.ts";
import { endListeners, type Handle } from "./handle.ts";
import type { ObjectInfo, ObjectType } from "./object.ts";
import type { Removable } from "./remove_on_exit.ts";

/** What can be guarded, as semaphores, sets, queues, shared memory and what is made of them can. */
export interface Guardable extends Removable {
  /** The identifier. */
  readonly id: number;
  /** Describes the object. */
  stat(): ObjectInfo;
}

/** Options of {@linkcode guard}. */
export interface GuardOptions {
  /**
   * Whether the object goes with the last of the processes that guard it so, instead of with this one.
   *
   * @default {false}
   */
  shared?: boolean | undefined;
}

/** What is guarded by one call. */
interface Guarded {
  readonly object: Guardable;
  /** Where the object stands among all of the kernel. */
  readonly place: Place;
  /** The line that the watchdog gets. */
  readonly item: string;
  readonly count: UserCount | undefined;
}

/** An object of the kernel: the letter by which `ipcrm` knows its type, and its identifier. */
type Place = `${ObjectType["letter"]} ${number}`;

/** What is guarded of each object. The watchdog holds an item once, however often it is guarded. */
const guarded = new Map<Place, Set<Guarded>>();
/** How many calls without objects keep the watchdog. */
let kept = 0;
let watchdog: Watchdog | undefined;

/**
 * Removes objects when this process ends, however it ends: by SIGKILL, by a crash of the runtime, by
 * the lack of memory too. A child process, the watchdog, waits for that end and removes them.
 *
 * - **When:** at the end of the process, usually within some milliseconds. The kernel has undone the
 *   semaphore operations of the process by then.
 * - **The watchdog:** one `sh` for a thread, which needs `ipcrm`, `ipcs` (both of util-linux) and `grep`.
 *   It survives Ctrl-C, the end of the terminal, and SIGTERM, and holds no file and no pipe open.
 *   The first call blocks the thread for some milliseconds to start it; others write a line.
 * - **Called off** when the object is removed or its handle disposed, or by disposing what this returns.
 *   The watchdog ends when nothing is left to guard.
 * - **Not removed:** what was created when SIGKILL came before `guard` had started the watchdog.
 *   To make that a matter of microseconds, call `guard()` without objects first. Nor does it help if all
 *   processes are killed at once, as with their container.
 * - **exec** ends a guard: `bun --watch` restarts so.
 *
 * With `{ shared: true }` on every user of an object, it is removed when the last of them ends or
 * calls it off. A process that comes when the last is gone gets EIDRM and opens or creates it again.
 * The count is a semaphore with undo.
 *
 * @example
 * ```ts
 * import { guard, MessageQueue } from "@sysv/ipc";
 *
 * using queue = MessageQueue.create({ key: "my-app/jobs" });
 * guard(queue); // gone even after SIGKILL
 * ```
 *
 * @param objects What to remove: handles of objects that this user may remove.
 * @returns What calls it off when disposed.
 * @throws {IpcError} ENOENT if `sh`, `ipcrm`, `ipcs` or `grep` is not in PATH, EPERM if this user may not
 * remove the object, EIDRM if it is removed, ENOSYS but on Linux.
 * @throws {ReferenceError} If a handle is disposed.
 */
export function guard(...objects: Guardable[]): Disposable;
/**
 * Removes an object when this process, or the last of its users, ends, however it ends.
 *
 * @param object What to remove.
 * @param options Whether it goes with its last user.
 * @returns What calls it off when disposed.
 */
export function guard(object: Guardable, options: GuardOptions): Disposable;
export function guard(...given: (Guardable | GuardOptions)[]): Disposable {
  const { objects, shared } = readArguments(given);
  const described = objects.map((object) => ({ object, info: describe(object) }));
  const made: Guarded[] = [];
  try {
    // A counted process must not die before the watchdog knows of it: so the watchdog runs first.
    if (shared || objects.length === 0) watchdog ??= new Watchdog([]);
    for (const { object, info } of described) made.push(prepare(object, info, shared));
    hold(made);
  } catch (error) {
    for (const one of made) withdraw(one);
    throw error;
  }
  if (objects.length === 0) kept++;
  endListeners.add(callOff);
  return { [Symbol.dispose]: once(() => release(made, objects.length === 0)) };
}

function readArguments(given: readonly (Guardable | GuardOptions)[]) {
  const last = given.at(-1);
  const options = last !== undefined && !isGuardable(last) ? last : undefined;
  const objects = (options === undefined ? given : given.slice(0, -1)) as Guardable[];
  if (options !== undefined) checkOptions(options);
  const { shared = false } = options ?? {};
  checkFlag(shared, "shared");
  if (objects.every(isGuardable) && (options === undefined || objects.length === 1)) {
    return { objects, shared };
  }
  throw new TypeError(
    "Cannot guard this: expected handles of IPC objects, or one handle and { shared }",
  );
}

function isGuardable(value: unknown): value is Guardable {
  return typeof value === "object" && value !== null && "remove" in value && "stat" in value;
}

/** Describes an object that this user may remove. */
function describe(object: Guardable): ObjectInfo {
  const info = object.stat();
  const user = geteuid();
  if (user === 0 || user === info.uid || user === info.creatorUid) return info;
  const reason = `user ${info.uid} owns it: only its owner, its creator or root can remove it`;
  throw failure("EPERM", "stat", info, reason);
}

/** Makes the item of an object, and counts this process among its users. */
function prepare(object: Guardable, info: ObjectInfo, shared: boolean): Guarded {
  const letter = letterOf(info);
  const place: Place = `${letter} ${info.id}`;
  const item = `${place} ${info.key ?? 0} ${info.creatorUid}`;
  if (!shared) return { object, place, item, count: undefined };
  const counted = [...guarded.get(place) ?? []].find(({ count }) => count !== undefined);
  const count = counted?.count ?? joinUsers(place, info);
  return { object, place, item: `${item} ${count.id} ${count.key}`, count };
}

/** Counts this process among the users of an object, unless the last of them has gone. */
function joinUsers(place: Place, info: ObjectInfo): UserCount {
  const { count, joined } = join(countKey(place), info);
  if (joined === "joined") return count;
  removeAll(place, count);
  throw failure("EIDRM", "semop", info, "its last user is gone: open or create it again");
}

/** Says by which letter `ipcrm` knows an object, from what its type alone describes. */
function letterOf(info: ObjectInfo): ObjectType["letter"] {
  if ("attachments" in info) return "m";
  return "messages" in info ? "q" : "s";
}

/** Whether the watchdog holds an item for any call. */
function isHeld({ place, item }: Guarded): boolean {
  return [...guarded.get(place) ?? []].some((other) => other.item === item);
}

/** Has the watchdog remove what was made ready. */
function hold(made: readonly Guarded[]): void {
  const fresh = new Set(made.filter((one) => !isHeld(one)).map(({ item }) => item));
  for (const one of made) guarded.set(one.place, (guarded.get(one.place) ?? new Set()).add(one));
  if (watchdog !== undefined && [...fresh].every((item) => watchdog!.add(item))) return;
  // There is none yet, or it was killed.
  watchdog?.end();
  watchdog = undefined;
  const items = [...guarded.values()].flatMap((all) => [...all]).map(({ item }) => item);
  if (items.length > 0) watchdog = new Watchdog(new Set(items));
}

/** Forgets what is guarded, and returns whether no other call here guards the object so. */
function forget(one: Guarded): boolean {
  const others = guarded.get(one.place);
  others?.delete(one);
  if (others?.size === 0) guarded.delete(one.place);
  return !isHeld(one);
}

/** Takes back what could not be guarded. */
function withdraw(one: Guarded): void {
  if (forget(one) && one.count !== undefined && leave(one.count)) removeCount(one.count);
}

/** Calls off what ended with a handle. */
function callOff({ type, id, state }: Handle): void {
  const all = guarded.get(`${type.letter} ${id}`);
  for (const one of [...all ?? []]) {
    if (state === "removed" || isDisposed(one.object)) release([one]);
  }
}

function isDisposed(object: Guardable): boolean {
  try {
    object.stat();
    return false;
  } catch {
    return true;
  }
}

/** Calls off what one call has guarded. */
function release(made: readonly Guarded[], wasKept = false): void {
  if (wasKept) kept--;
  for (const one of made) {
    if (!guarded.get(one.place)?.has(one) || !forget(one)) continue;
    watchdog?.drop(one.item);
    if (one.count !== undefined && leave(one.count)) removeAll(one.place, one.count);
  }
  if (guarded.size > 0 || kept > 0 || watchdog === undefined) return;
  watchdog.end();
  watchdog = undefined;
}

/** Removes an object that is not used any more, and the count of its users. */
function removeAll(place: Place, count: UserCount): void {
  const [letter, id] = place.split(" ") as [string, string];
  if (letter === "m") shmctl(Number(id), IPC_RMID, null);
  else if (letter === "q") msgctl(Number(id), IPC_RMID, null);
  else semctl(Number(id), 0, IPC_RMID, 0);
  removeCount(count);
}

function once(action: () => void): () => void {
  let done = false;
  return () => {
    if (!done) action();
    done = true;
  };
}

function failure(
  code: ErrorCode,
  syscall: string,
  { id, key }: ObjectInfo,
  reason: string,
): Error {
  return ipcError(code, `guard object ${id}`, { syscall, id, key, reason });
}
