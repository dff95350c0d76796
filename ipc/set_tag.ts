/**
 * The tag: a semaphore that says what a set is, and that it is finished.
 *
 * A set has one semaphore more than it shows, the last. It is 0 until the set is initialised and
 * then a number for the kind of the set. Initialisation is one atomic semop that succeeds only while all values are
 * still 0, so the first process performs it, and a creator that dies before leaves a set that the next
 * `openOrCreate` finishes.
 *
 * Until then the mode of a set with a key shows that it is one of ours: execute permission for the
 * group alone, which means nothing to semaphores. It is dropped once the set is initialised.
 *
 * @module
 */

import { errors, IPC_NOWAIT, IPC_SET, IPC_STAT } from "../ffi/constants.ts";
import { abi } from "../ffi/platforms.ts";
import { readStruct, writeStruct } from "../ffi/struct.ts";
import { semctlBuffer } from "../ffi/calls.ts";
import { attempt } from "../ffi/attempt.ts";
import { pack } from "../ffi/sembuf.ts";
import { checkWord } from "../ffi/check.ts";
import { type ErrorCode, ipcError } from "../ffi/error.ts";
import type { Handle } from "./handle.ts";

/** The kind of a semaphore set: a class of `@sysv/ipc/sync`, or `"set"`, whose values can mean anything. */
export type SetKind =
  | "set"
  | "mutex"
  | "rwlock"
  | "latch"
  | "event"
  | "barrier"
  | "gauge"
  | "bulkhead"
  | "leader"
  | "guard"
  | "members";

/** The number in the last semaphore, by kind: "SV" in ASCII and the following. */
const tags: Readonly<Record<SetKind, number>> = {
  set: 0x5356,
  mutex: 0x5357,
  rwlock: 0x5358,
  latch: 0x5359,
  event: 0x535a,
  barrier: 0x535b,
  gauge: 0x535c,
  bulkhead: 0x535d,
  leader: 0x535e,
  guard: 0x535f,
  members: 0x5360,
};
const kinds: ReadonlyMap<number, SetKind> = new Map(
  Object.entries(tags).map(([kind, tag]) => [tag, kind as SetKind]),
);

const perm = abi.layouts.ipcPerm.fields;
const { fields } = abi.layouts.semid;

/** Returns the tag of a kind. */
export function tagOf(kind: SetKind): number {
  return tags[kind];
}

/** Returns the kind that a tag stands for, undefined if it is no tag. */
export function kindOf(tag: number): SetKind | undefined {
  return kinds.get(tag);
}

/** Checks a kind, before anything is made. */
export function checkKind(kind: SetKind): void {
  checkWord(kind, [...kinds.values()], "kind");
}

/** The execute bits of a set that is not initialised. */
export const UNFINISHED = 0o010;
const EXECUTE = 0o111;

/** The kind and size of a set. */
export interface Shape {
  /** The number of semaphores that are the user's. */
  readonly size: number;
  /** What the last semaphore holds; undefined for another program's set, which has no tag. */
  readonly tag: number | undefined;
}

/** Initialises a set that no other process can find. */
export function initialisePrivate(handle: Handle, values: readonly number[], kind: SetKind): Shape {
  writeAll(handle, [...values, tags[kind]]);
  return { size: values.length, tag: tags[kind] };
}

/** Sets all semaphores of a set. */
export function writeAll(handle: Handle, values: readonly number[]): void {
  const packed = Uint16Array.from(values);
  const result = semctlBuffer(handle.id, 0, abi.constants.SETALL, new Uint8Array(packed.buffer));
  if (result < 0) {
    throw handle.error(-result, "semctl", `set the values of ${handle.name}`);
  }
}

/** Reads all semaphores of a set. */
export function readAll(handle: Handle, count: number): Uint16Array {
  const values = new Uint16Array(count);
  const result = semctlBuffer(handle.id, 0, abi.constants.GETALL, new Uint8Array(values.buffer));
  if (result < 0) {
    throw handle.error(-result, "semctl", `read the values of ${handle.name}`);
  }
  return values;
}

/** Finishes a set that may be new, half made, done, or another program's. */
export function finish(
  handle: Handle,
  values: readonly number[],
  kind: SetKind,
): { shape: Shape; created: boolean } {
  const found = (shape: Shape) => ({
    shape: accept(handle, shape, values.length, kind),
    created: false,
  });
  for (;;) {
    const { count, tag, zero, untouched, marked } = inspect(handle);
    if (kinds.has(tag)) return found({ size: count - 1, tag });
    // A set of the right size without a mark, on which no process has operated, is one whose creator died too.
    const unfinished = zero && (marked || (untouched && count === values.length + 1));
    if (!unfinished) return found({ size: count, tag: undefined });
    if (count <= values.length) throw wrongSize(handle, count - 1, values.length);
    if (count > values.length + 1) throw notFinished(handle, count - 1);
    if (initialise(handle, values, kind)) {
      unmark(handle);
      return { shape: { size: values.length, tag: tags[kind] }, created: true };
    }
  }
}

/** Recognises a set that must be finished. */
export function recognise(handle: Handle, kind: SetKind): Shape {
  const { count, tag, zero, marked } = inspect(handle);
  if (marked && zero) throw notFinished(handle, count - 1);
  return accept(
    handle,
    kinds.has(tag) ? { size: count - 1, tag } : { size: count, tag: undefined },
    0,
    kind,
  );
}

/** What a set is found to be before it is recognised. */
interface Inspection {
  /** The number of all semaphores. */
  count: number;
  /** The value of the last. */
  tag: number;
  /** Whether all values are 0, among more than one. */
  zero: boolean;
  /** Whether no process has operated on it. */
  untouched: boolean;
  /** Whether its mode says that it is ours and not initialised. */
  marked: boolean;
}

function inspect(handle: Handle): Inspection {
  const struct = handle.read();
  const count = struct.read(fields.sem_nsems!);
  const untouched = struct.read(fields.sem_otime!) === 0;
  const marked = (struct.read(perm.mode!) & EXECUTE) === UNFINISHED;
  const values = readAll(handle, count);
  return {
    count,
    // A set of one has no room for a tag beside a value.
    tag: count > 1 ? values[count - 1]! : 0,
    zero: count > 1 && values.every((value) => value === 0),
    untouched,
    marked,
  };
}

/** Says whether a set is of the kind and at least as large as it has to be. */
function accept(handle: Handle, shape: Shape, min: number, kind: SetKind): Shape {
  const found = shape.tag === undefined ? undefined : kinds.get(shape.tag)!;
  if (found !== kind && !(found === undefined && kind === "set")) {
    const name = handle.nameAs(handle.type.noun);
    const what = found === undefined ? "another program's set" : withArticle(found);
    throw openError(
      "EINVAL",
      handle,
      `it is ${what}`,
      `${name} as ${withArticle(handle.noun)}`,
    );
  }
  if (shape.size < min) throw wrongSize(handle, shape.size, min);
  return shape;
}

function withArticle(noun: string): string {
  return noun === "event" ? `an ${noun}` : `a ${noun}`;
}

function openError(code: ErrorCode, handle: Handle, reason: string, name = handle.name): Error {
  return ipcError(code, `open ${name}`, {
    syscall: "semget",
    id: handle.id,
    key: handle.key,
    reason,
  });
}

function wrongSize(handle: Handle, size: number, wanted: number): Error {
  return openError("EINVAL", handle, `its size is ${size}, not ${wanted}`);
}

function notFinished(handle: Handle, size: number): Error {
  const values = size === 1 ? "value" : "values";
  return openError(
    "EAGAIN",
    handle,
    `its creator is about to initialise its ${size} ${values}, or died before it could; ` +
      `openOrCreate finishes it with as many, and "ipcrm -s ${handle.id}" removes it`,
  );
}

/** Makes the error of a set that no one semop can initialise. */
export function tooMany(action: string, subject: { key?: number | undefined; id?: number }): Error {
  return ipcError("E2BIG", action, {
    syscall: "semop",
    key: subject.key,
    id: subject.id,
    reason:
      "a set with a key can start with no more values above 0 than one semop has operations " +
      "(SEMOPM, the 3rd number of kernel.sem)",
  });
}

/** The minimum number of operations that initialise a set. */
export function operationsToFinish(values: readonly number[]): number {
  return 2 + values.filter((value) => value !== 0).length;
}

/** Initialises the set in one step, and returns whether this call did it. */
function initialise(handle: Handle, values: readonly number[], kind: SetKind): boolean {
  const last = values.length;
  const additions = [...values, tags[kind]].flatMap((value, index) =>
    value === 0 ? [] : [[index, value, IPC_NOWAIT]]
  );
  const zeros = Array.from({ length: last + 1 }, (_, index) => [index, 0, IPC_NOWAIT]);
  let result = attempt(handle.id, pack([...zeros, ...additions].flat()));
  if (result === -errors.E2BIG) {
    // One semop has no room for all tests of a large set: the test of the tag is the one that counts.
    result = attempt(handle.id, pack([...zeros.slice(-1), ...additions].flat()));
  }
  if (result === -errors.EAGAIN) return false;
  const action = `initialise ${handle.name}`;
  if (result === -errors.E2BIG) throw tooMany(action, handle);
  if (result < 0) throw handle.error(-result, "semop", action);
  return true;
}

/**
 * Drops the mark. A creator that dies before that leaves it on a finished set, where it means nothing; so does a
 * process that may not change the mode.
 */
function unmark(handle: Handle): void {
  const { type, id } = handle;
  const buffer = new Uint8Array(type.layout.size);
  if (type.control(id, IPC_STAT, buffer) < 0) return;
  const { mode } = readStruct(abi.layouts.ipcPerm, buffer);
  if ((mode! & EXECUTE) !== UNFINISHED) return;
  writeStruct(abi.layouts.ipcPerm, buffer, { mode: mode! & ~EXECUTE });
  type.control(id, IPC_SET, buffer);
}
