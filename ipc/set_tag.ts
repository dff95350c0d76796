/**
 * The tag: how a semaphore set of this module tells what it is, and that it is finished.
 *
 * A set has one semaphore more than it shows, the last. It is 0 until the set is initialised and
 * then a number for what the set is. Initialisation is one atomic semop that does nothing unless all
 * is still zero, so whoever comes first does it, and a creator that dies before leaves a set which
 * the next `openOrCreate` finishes.
 *
 * Until then the mode of a set with a key shows that it is one of ours: execute permission for the
 * group and nobody else, which means nothing to semaphores, is dropped once the set is initialised.
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
import { type Handle, ipcError } from "./object.ts";

/** What a semaphore set is. Each is a class of this module, but for `"set"`, which any values are. */
export type SetKind =
  | "set"
  | "mutex"
  | "rwlock"
  | "latch"
  | "event"
  | "barrier"
  | "gauge"
  | "bulkhead"
  | "leader";

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
};
const kinds: ReadonlyMap<number, SetKind> = new Map(
  Object.entries(tags).map(([kind, tag]) => [tag, kind as SetKind]),
);

/** Checks a kind, before anything is made. */
export function checkKind(kind: SetKind): void {
  checkWord(kind, [...kinds.values()], "kind");
}

/** The execute bits of a set that is not initialised. */
export const UNFINISHED = 0o010;
const EXECUTE = 0o111;

/** What a set turned out to be. */
export interface Shape {
  /** The number of semaphores that are the user's. */
  readonly size: number;
  /** What the last semaphore holds; undefined for another program's set, which has no tag. */
  readonly tag: number | undefined;
}

/** Initialises a set that nobody else knows of yet. */
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
export function finish(handle: Handle, values: readonly number[], kind: SetKind): Shape {
  for (;;) {
    const { count, tag, zero, untouched, marked } = look(handle);
    if (kinds.has(tag)) {
      return accept(handle, { size: count - 1, tag }, values.length, kind);
    }
    // Without its mark, a set of the right size on which nobody has operated is one whose creator died too.
    const unfinished = zero && (marked || (untouched && count === values.length + 1));
    if (!unfinished) {
      return accept(handle, { size: count, tag: undefined }, values.length, kind);
    }
    if (count <= values.length) throw wrongSize(handle, count - 1, values.length);
    if (count > values.length + 1) throw notFinished(handle, count - 1);
    if (initialise(handle, values, kind)) {
      unmark(handle);
      return { size: values.length, tag: tags[kind] };
    }
  }
}

/** Recognises a set that must be finished. */
export function recognise(handle: Handle, kind: SetKind): Shape {
  const { count, tag, zero, marked } = look(handle);
  if (marked && zero) throw notFinished(handle, count - 1);
  return accept(
    handle,
    kinds.has(tag) ? { size: count - 1, tag } : { size: count, tag: undefined },
    0,
    kind,
  );
}

interface Look {
  /** The number of all semaphores. */
  count: number;
  /** The value of the last. */
  tag: number;
  /** Whether all values are 0, among more than one. */
  zero: boolean;
  /** Whether nobody has operated on it. */
  untouched: boolean;
  /** Whether its mode says that it is ours and not initialised. */
  marked: boolean;
}

function look(handle: Handle): Look {
  const { members } = handle.read();
  const count = members.sem_nsems!;
  const values = readAll(handle, count);
  return {
    count,
    // A set of one has no room for a tag beside a value.
    tag: count > 1 ? values[count - 1]! : 0,
    zero: count > 1 && values.every((value) => value === 0),
    untouched: members.sem_otime === 0,
    marked: (members.mode! & EXECUTE) === UNFINISHED,
  };
}

/** Says whether a set is of the kind and as large as it has to be. */
function accept(handle: Handle, shape: Shape, least: number, kind: SetKind): Shape {
  const found = shape.tag === undefined ? undefined : kinds.get(shape.tag)!;
  if (found !== kind && !(found === undefined && kind === "set")) {
    const what = found === undefined ? "it is another program's set" : `it is ${one(found)}`;
    throw ipcError(errors.EINVAL, "semget", `open ${handle.name} as ${one(kind)}`, handle, what);
  }
  if (shape.size < least) throw wrongSize(handle, shape.size, least);
  return shape;
}

function one(kind: SetKind): string {
  return kind === "event" ? `an ${kind}` : `a ${kind}`;
}

function wrongSize(handle: Handle, size: number, wanted: number): Error {
  return ipcError(
    errors.EINVAL,
    "semget",
    `open ${handle.name}`,
    handle,
    `its size is ${size}, not ${wanted}`,
  );
}

function notFinished(handle: Handle, size: number): Error {
  const values = size === 1 ? "value" : "values";
  return ipcError(
    errors.EAGAIN,
    "semget",
    `open ${handle.name}`,
    handle,
    `its creator is about to initialise its ${size} ${values}, or died before it could: ` +
      `openOrCreate finishes it with as many, and "ipcrm -s ${handle.id}" removes it`,
  );
}

/** Makes the error of a set that no one semop can initialise. */
export function tooMany(doing: string, subject: { key?: number | undefined; id?: number }): Error {
  const reason =
    "a set with a key can start with no more values above 0 than one semop has operations " +
    "(SEMOPM, the 3rd number of kernel.sem)";
  return ipcError(errors.E2BIG, "semop", doing, subject, reason);
}

/** How many operations initialise a set, at least. */
export function operationsToFinish(values: readonly number[]): number {
  return 2 + values.filter((value) => value !== 0).length;
}

/** Initialises the set in one step, and tells whether it was this call that did. */
function initialise(handle: Handle, values: readonly number[], kind: SetKind): boolean {
  const last = values.length;
  const additions = [...values, tags[kind]].flatMap((value, index) =>
    value === 0 ? [] : [[index, value, IPC_NOWAIT]]
  );
  const zeros = Array.from({ length: last + 1 }, (_, index) => [index, 0, IPC_NOWAIT]);
  let result = attempt(handle.id, pack([...zeros, ...additions].flat()));
  if (result === -errors.E2BIG) {
    // One semop has no room for all tests of a large set: the tag's is the one that counts.
    result = attempt(handle.id, pack([...zeros.slice(-1), ...additions].flat()));
  }
  if (result === -errors.EAGAIN) return false;
  const doing = `initialise ${handle.name}`;
  if (result === -errors.E2BIG) throw tooMany(doing, handle);
  if (result < 0) throw handle.error(-result, "semop", doing);
  return true;
}

/**
 * Drops the mark. A creator that dies before leaves it on a set that has its tag, where it means
 * nothing. Whoever may not change the mode leaves it too.
 */
function unmark(handle: Handle): void {
  const buffer = new Uint8Array(handle.kind.layout.size);
  if (handle.kind.control(handle.id, IPC_STAT, buffer) < 0) return;
  const { mode } = readStruct(abi.layouts.ipcPerm, buffer);
  if ((mode! & EXECUTE) !== UNFINISHED) return;
  writeStruct(abi.layouts.ipcPerm, buffer, { mode: mode! & ~EXECUTE });
  handle.kind.control(handle.id, IPC_SET, buffer);
}
