/**
 * Handles of semaphore sets: how a set is made, found and recognised.
 *
 * @module
 */

import { SEMVMX } from "../ffi/constants.ts";
import { abi, seminfo } from "../ffi/platforms.ts";
import { readStruct, Struct } from "../ffi/struct.ts";
import { semctl, semctlBuffer, semget } from "../ffi/calls.ts";
import { checkInteger } from "../ffi/check.ts";
import {
  abandon,
  create,
  discard,
  fromId,
  open,
  openOrCreate,
  readCreateOptions,
  readOpenOrCreateOptions,
} from "./get.ts";
import { dateOf, type Handle } from "./handle.ts";
import { type Key, keyNumber, objectName } from "./key.ts";
import type { CreateOptions, ObjectInfo, ObjectType, OpenOrCreateOptions } from "./object.ts";
import {
  checkKind,
  finish,
  initialisePrivate,
  operationsToFinish,
  recognise,
  type SetKind,
  type Shape,
  tooMany,
  UNFINISHED,
} from "./set_tag.ts";

/** A set that was made or found. */
export interface FoundSet {
  readonly handle: Handle;
  readonly shape: Shape;
  /** What it was asked for as, and is. */
  readonly kind: SetKind;
  /** Whether this call initialised it. */
  readonly created: boolean;
}

/** The kind that a set must have, and its name in messages. */
export interface Wanted {
  readonly kind: SetKind;
  readonly noun: string;
}

/** Checks a kind, and says what a set of it is called. */
export function wanted(kind: SetKind = "set"): Wanted {
  checkKind(kind);
  return { kind, noun: kind === "set" ? semaphoreSet.noun : kind };
}

/** What {@linkcode Semaphore.stat} and {@linkcode SemaphoreSet.stat} return. */
export interface SemaphoreInfo extends ObjectInfo {
  /** The number of semaphores in the set. */
  readonly size: number;
  /** The time of the last operation on the set, undefined for never. */
  readonly lastOperation: Date | undefined;
}

const { fields } = abi.layouts.semid;

const semaphoreSet: ObjectType = {
  noun: "semaphore set",
  syscalls: { get: "semget", control: "semctl" },
  layout: abi.layouts.semid,
  struct: new Struct(abi.layouts.semid),
  changeTime: fields.sem_ctime!,
  letter: "s",
  openModes: [0o600, 0o400],
  statAny: abi.constants.SEM_STAT_ANY,
  get: semget,
  control: (id, command, buffer) =>
    buffer === null ? semctl(id, 0, command, 0) : semctlBuffer(id, 0, command, buffer),
  limits() {
    const { semmni, semmns } = semInfo(abi.constants.IPC_INFO);
    const { semusz: sets, semaem: semaphores } = semInfo(abi.constants.SEM_INFO);
    return sets! >= semmni!
      ? `the system has ${sets} of at most ${semmni} sets (SEMMNI, the 4th number of kernel.sem)`
      : `the system has ${semaphores} of at most ${semmns} semaphores (SEMMNS, the 2nd number of kernel.sem)`;
  },
  largest() {
    const { semmsl } = semInfo(abi.constants.IPC_INFO);
    return `a set has at most ${semmsl} semaphores, one of which this module needs (SEMMSL, the 1st number of kernel.sem)`;
  },
};

function semInfo(command: number): Record<string, number> {
  const buffer = new Uint8Array(seminfo.size);
  return semctlBuffer(0, 0, command, buffer) < 0 ? {} : readStruct(seminfo, buffer);
}

/** Creates a set and initialises it. */
export function createSet(
  values: readonly number[],
  { kind, noun }: Wanted,
  options: CreateOptions | undefined,
): FoundSet {
  const { key, mode, owner } = readCreateOptions(options);
  checkValues(values);
  const size = values.length + 1;
  const handle = create(
    semaphoreSet,
    key,
    owner,
    key === undefined
      ? { noun, size, mode }
      : { ...unfinished(noun, size, mode), impossible: impossible(values, noun, key) },
  );
  try {
    if (key !== undefined) return { handle, kind, ...finish(handle, values, kind) };
    return { handle, kind, shape: initialisePrivate(handle, values, kind), created: true };
  } catch (error) {
    discard(handle, error);
    throw error;
  }
}

/** Opens a set that exists. */
export function openSet(key: Key, { kind, noun }: Wanted): FoundSet {
  const handle = open(semaphoreSet, key, noun);
  return { handle, kind, shape: recognise(handle, kind), created: false };
}

/** Opens a set, or creates and initialises it. */
export function openOrCreateSet(
  key: Key,
  values: readonly number[],
  { kind, noun }: Wanted,
  options: OpenOrCreateOptions | undefined,
): FoundSet {
  const { mode, allowForeign } = readOpenOrCreateOptions(options);
  keyNumber(key);
  checkValues(values);
  const making = {
    ...unfinished(noun, values.length + 1, mode),
    impossible: impossible(values, noun, key),
  };
  for (;;) {
    const handle = openOrCreate(semaphoreSet, key, allowForeign, making);
    try {
      return { handle, kind, ...finish(handle, values, kind) };
    } catch (error) {
      abandon(handle, error);
    }
  }
}

/** Takes the identifier of a set that exists. */
export function setFromId(id: number, { kind, noun }: Wanted): FoundSet {
  const handle = fromId(semaphoreSet, id, noun);
  return { handle, kind, shape: recognise(handle, kind), created: false };
}

/** A set that others can find before it is initialised: its mode says so. */
function unfinished(noun: string, size: number, mode: number) {
  return { noun, size, mode: mode & 0o666, flags: UNFINISHED };
}

/** Why a set cannot be created: no semop can initialise it, so no process could finish it. */
function impossible(values: readonly number[], noun: string, key: Key): Error | undefined {
  const { semopm = Infinity } = semInfo(abi.constants.IPC_INFO);
  if (operationsToFinish(values) <= semopm) return undefined;
  return tooMany(`create ${objectName(noun, key)}`, { key: keyNumber(key) });
}

/** Describes a set. */
export function setInfo(handle: Handle, size: number): SemaphoreInfo {
  const struct = handle.read();
  return Object.freeze({
    ...handle.describe(struct),
    size,
    lastOperation: dateOf(struct.read(fields.sem_otime!)),
  });
}

/** Checks the values of a set, before anything is made or set. */
export function checkValues(values: readonly number[]): void {
  if (!Array.isArray(values) || values.length === 0) {
    throw new TypeError(
      "Cannot make a semaphore set of no values: expected an array of at least one number",
    );
  }
  // By index, so that holes count.
  for (let i = 0; i < values.length; i++) {
    checkInteger(values[i], 0, SEMVMX, `start or set a semaphore with ${values[i]}`);
  }
}
