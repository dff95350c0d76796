/**
 * Handles of semaphore sets: how a set is made, found and recognised.
 *
 * @module
 */

import { IPC_CREAT, IPC_PRIVATE, SEMVMX } from "../ffi/constants.ts";
import { abi, seminfo } from "../ffi/platforms.ts";
import { readStruct } from "../ffi/struct.ts";
import { semctl, semctlBuffer, semget } from "../ffi/calls.ts";
import { checkInteger, checkMode } from "../ffi/check.ts";
import { type Key, keyText } from "./key.ts";
import {
  create,
  type CreateOptions,
  dateOf,
  discard,
  fromId,
  type Handle,
  type Kind,
  type ObjectInfo,
  open,
  openOrCreate,
  type OpenOrCreateOptions,
} from "./object.ts";
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
}

/** What {@linkcode Semaphore.stat} and {@linkcode SemaphoreSet.stat} tell. */
export interface SemaphoreInfo extends ObjectInfo {
  /** The number of semaphores in the set. */
  readonly size: number;
  /** When somebody operated on the set last, undefined for never. */
  readonly lastOperation: Date | undefined;
}

/** What a new set starts with, and is. */
interface Start {
  values: readonly number[];
  kind?: SetKind | undefined;
}

const semaphoreSet: Kind = {
  noun: "semaphore set",
  syscalls: { get: "semget", control: "semctl" },
  layout: abi.layouts.semid,
  changeTime: "sem_ctime",
  letter: "s",
  statAny: abi.constants.SEM_STAT_ANY,
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

const OPEN_MODES = [0o600, 0o400] as const;

const getAny = (key: number, flags: number) => semget(key, 0, flags);

/** Gets a set, but makes none with a key that no semop can initialise: nobody could finish it. */
function getOrMake(values: readonly number[]): (key: number, flags: number) => number {
  return (key, flags) => {
    if ((flags & IPC_CREAT) === 0) return getAny(key, flags);
    if (key !== IPC_PRIVATE) {
      const { semopm = Infinity } = semInfo(abi.constants.IPC_INFO);
      if (operationsToFinish(values) > semopm) {
        throw tooMany(`create ${semaphoreSet.noun} ${keyText(key)}`, { key });
      }
    }
    return semget(key, values.length + 1, flags);
  };
}

/** Creates a set and initialises it. */
export function createSet(options: CreateOptions & Start): FoundSet {
  const { values, kind = "set", mode = 0o600 } = options;
  checkValues(values);
  checkKind(kind);
  checkMode(mode);
  const isPrivate = options.key === undefined;
  const handle = create(
    semaphoreSet,
    getOrMake(values),
    { ...options, mode: isPrivate ? mode : mode & 0o666 },
    isPrivate ? 0 : UNFINISHED,
  );
  try {
    const shape = isPrivate
      ? initialisePrivate(handle, values, kind)
      : finish(handle, values, kind);
    return { handle, shape };
  } catch (error) {
    discard(handle, error);
    throw error;
  }
}

/** Opens a set that exists. */
export function openSet(key: Key, kind: SetKind): FoundSet {
  const handle = open(semaphoreSet, getAny, key, OPEN_MODES);
  return { handle, shape: recognise(handle, kind) };
}

/** Opens a set, or creates and initialises it. */
export function openOrCreateSet(key: Key, options: OpenOrCreateOptions & Start): FoundSet {
  const { values, kind = "set", mode = 0o600, allowForeign } = options;
  checkValues(values);
  checkKind(kind);
  checkMode(mode);
  const search = { get: getOrMake(values), modes: OPEN_MODES, marks: UNFINISHED };
  let shape: Shape | undefined;
  const handle = openOrCreate(semaphoreSet, search, key, {
    mode: mode & 0o666,
    allowForeign,
  }, (handle) => shape = finish(handle, values, kind));
  return { handle, shape: shape! };
}

/** Takes the identifier of a set that exists. */
export function setFromId(id: number, kind: SetKind): FoundSet {
  const handle = fromId(semaphoreSet, id);
  return { handle, shape: recognise(handle, kind) };
}

/** Describes a set. */
export function setInfo(handle: Handle, size: number): SemaphoreInfo {
  const { info, members } = handle.read();
  return Object.freeze({
    ...info,
    size,
    lastOperation: dateOf(members.sem_otime!),
  });
}

/** Checks the values of a set, before anything is made or set. */
export function checkValues(values: readonly number[]): void {
  if (!Array.isArray(values) || values.length === 0) {
    throw new TypeError(
      "Cannot make a semaphore set of no values: expected an array of at least one number",
    );
  }
  for (const value of values) {
    checkInteger(value, 0, SEMVMX, `start or set a semaphore with ${value}`);
  }
}
