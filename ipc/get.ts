/**
 * Getting objects, as `semget`, `msgget` and `shmget` do: created, opened, or taken by their identifier.
 *
 * @module
 */

import { errors, IPC_CREAT, IPC_EXCL, IPC_PRIVATE, IPC_RMID, IPC_STAT } from "../ffi/constants.ts";
import { abi } from "../ffi/platforms.ts";
import { Struct } from "../ffi/struct.ts";
import { geteuid } from "../ffi/calls.ts";
import { checkFlag, checkId, checkMode, checkOptions } from "../ffi/check.ts";
import { type IpcError, ipcError, isRemoved } from "../ffi/error.ts";
import { Handle, permissionDenied } from "./handle.ts";
import { type Key, keyNumber, keyText, objectName } from "./key.ts";
import type { CreateOptions, ObjectType, OpenOrCreateOptions } from "./object.ts";

const perm = abi.layouts.ipcPerm.fields;

/** Reads the options of a creation once, and checks them. */
export function readCreateOptions(
  options: CreateOptions | undefined,
): { key: Key | undefined; mode: number; owner: boolean } {
  checkOptions(options);
  const { key, mode = 0o600, owner } = options ?? {};
  if (key !== undefined) keyNumber(key);
  checkMode(mode);
  return { key, mode, owner: checkFlag(owner, "owner") ?? true };
}

/** Reads the options of an `openOrCreate` once, and checks them. */
export function readOpenOrCreateOptions(
  options: OpenOrCreateOptions | undefined,
): { mode: number; allowForeign: boolean } {
  checkOptions(options);
  const { mode = 0o600, allowForeign } = options ?? {};
  checkMode(mode);
  return { mode, allowForeign: checkFlag(allowForeign, "allowForeign") ?? false };
}

/** What a new object is made of. */
export interface Making {
  /** What messages call it, if not by its type. */
  noun?: string | undefined;
  /** How large it becomes: bytes or semaphores. */
  size?: number | undefined;
  mode: number;
  /** Flags beside the mode. */
  flags?: number | undefined;
  /** Why no object like this can be made; thrown if it has to be. */
  impossible?: Error | undefined;
  /** What some errors mean for an object like this. */
  reasons?: ReadonlyMap<number, string> | undefined;
}

/** Creates an object, and fails if its key is taken. */
export function create(
  type: ObjectType,
  key: Key | undefined,
  owned: boolean,
  making: Making,
): Handle {
  const id = make(type, key, making);
  if (isError(id)) throw getError(type, -id, "create", key, making);
  return new Handle(type, id, { noun: making.noun, given: key, owned, created: true });
}

/** Opens an object that exists. */
export function open(
  type: ObjectType,
  key: Key,
  noun: string = type.noun,
  modes: readonly number[] = type.openModes,
): Handle {
  const id = find(type, keyNumber(key), modes);
  if (isError(id)) throw getError(type, -id, "open", key, { noun });
  return new Handle(type, id, { noun, given: key });
}

/**
 * Opens an object or creates it, whatever other processes do meanwhile. If they remove it before the caller has
 * finished it, the caller begins again: see {@linkcode abandon}.
 */
export function openOrCreate(
  type: ObjectType,
  key: Key,
  allowForeign: boolean,
  making: Making,
): Handle {
  const number = keyNumber(key);
  const { noun } = making;
  for (;;) {
    const found = find(type, number, type.openModes);
    if (found !== -errors.ENOENT) {
      if (isError(found)) throw getError(type, -found, "open", key, making);
      const handle = new Handle(type, found, { noun, given: key });
      if (allowForeign || isOurs(handle)) return handle;
      continue;
    }
    const made = make(type, key, making);
    if (made === -errors.EEXIST) continue;
    if (isError(made)) throw getError(type, -made, "create", key, making);
    return new Handle(type, made, { noun, given: key, created: true });
  }
}

/** Returns if the object was removed, to begin again; otherwise removes what was created, and throws. */
export function abandon(handle: Handle, error: unknown): void {
  if (isRemoved(error)) return;
  discard(handle, error);
  throw error;
}

/**
 * Removes what was just created and could not be finished. After EINVAL or EIDRM other processes have finished it
 * as something else, or removed it: then it is theirs.
 */
export function discard({ type, id, created }: Handle, error: unknown): void {
  const isTheirs = error instanceof Error && "code" in error &&
    (error.code === "EINVAL" || error.code === "EIDRM");
  if (created && !isTheirs) type.control(id, IPC_RMID, null);
}

/** Takes the identifier of an object that exists. */
export function fromId(type: ObjectType, id: number, noun: string = type.noun): Handle {
  checkId(id);
  return take(type, id | 0, noun);
}

function take(type: ObjectType, id: number, noun: string): Handle {
  const struct = new Struct(type.layout);
  const result = type.control(id, IPC_STAT, struct.bytes);
  if (result === -errors.EACCES) return new Handle(type, id, { noun });
  if (result < 0) {
    const isGone = result === -errors.EINVAL;
    throw ipcError(isGone ? "EIDRM" : -result, `take ${noun} ${id}`, {
      syscall: type.syscalls.control,
      id,
      reason: isGone ? "it was removed, or never existed" : undefined,
    });
  }
  const key = perm.__key === undefined ? IPC_PRIVATE : struct.read(perm.__key);
  return new Handle(type, id, { noun, key: key === IPC_PRIVATE ? undefined : key });
}

/** Asks for the object with each set of permissions in turn, until one is granted. */
function find(type: ObjectType, key: number, modes: readonly number[]): number {
  let id = -errors.EACCES;
  for (const mode of modes) {
    id = type.get(key, 0, mode);
    if (id !== -errors.EACCES) return id;
  }
  return id;
}

function make(
  type: ObjectType,
  key: Key | undefined,
  { size = 0, mode, flags = 0, impossible }: Making,
): number {
  if (impossible !== undefined) throw impossible;
  const number = key === undefined ? IPC_PRIVATE : keyNumber(key);
  return type.get(number, size, IPC_CREAT | IPC_EXCL | mode | flags);
}

/** Whether this user created the object: false if it was removed, and an error if another user did. */
function isOurs(handle: Handle): boolean {
  const action = `open ${handle.name}`;
  try {
    const creator = handle.look(action).read(perm.cuid!);
    if (creator === geteuid()) return true;
    throw ipcError("EPERM", action, {
      syscall: handle.type.syscalls.get,
      id: handle.id,
      key: handle.key,
      reason: `created by uid ${creator}: pass { allowForeign: true } to open it anyway`,
    });
  } catch (error) {
    if (isRemoved(error)) return false;
    throw error;
  }
}

/** Identifiers may be negative on macOS, but are no errors then. */
function isError(result: number): boolean {
  return result < 0 && result >= -4095;
}

function getError(
  type: ObjectType,
  errno: number,
  verb: "create" | "open",
  given: Key | undefined,
  { noun = type.noun, reasons }: Pick<Making, "noun" | "reasons">,
): IpcError {
  const key = given === undefined ? undefined : keyNumber(given);
  return ipcError(errno, `${verb} ${objectName(noun, given)}`, {
    syscall: type.syscalls.get,
    key,
    reason: reasons?.get(errno) ?? reasonOfGet(type, errno, key),
  });
}

/** Says why an object cannot be created or opened, where there is more to say than the error. */
function reasonOfGet(type: ObjectType, errno: number, key: number | undefined): string | undefined {
  const { letter } = type;
  switch (errno) {
    case errors.EINVAL:
      return type.largest();
    case errors.EEXIST:
      return `it exists already: openOrCreate() opens it, and "ipcrm -${letter.toUpperCase()} ${
        keyText(key!)
      }" removes it`;
    case errors.ENOSPC:
      return `${type.limits()}: "ipcs -${letter}" shows leaked ones and "ipcrm -${letter} ID" removes them`;
    case errors.EACCES:
      // Linux returns the identifier to any user if no permissions are asked for.
      return key === undefined ? undefined : permissionDenied(type, type.get(key, 0, 0));
    default:
      return undefined;
  }
}
