/**
 * One object of the kernel as an instance of a class holds it: named in errors, described, changed
 * and removed.
 *
 * @module
 */

import { errors, IPC_PRIVATE, IPC_RMID, IPC_SET, IPC_STAT } from "../ffi/constants.ts";
import { abi } from "../ffi/platforms.ts";
import { Struct, writeStruct } from "../ffi/struct.ts";
import { checkInteger, checkMode, checkOptions } from "../ffi/check.ts";
import { type IpcError, ipcError } from "../ffi/error.ts";
import type { Cancellable } from "../wait/cancel.ts";
import { type Key, keyNumber, objectName } from "./key.ts";
import type { ObjectInfo, ObjectType, PermissionOptions } from "./object.ts";
import { RemovalWatch, type Watched } from "./removal_watch.ts";

const perm = abi.layouts.ipcPerm.fields;

/** What is known of an object beside its type and identifier. */
export interface HandleOptions {
  /** What messages call it, if not by its type. */
  noun?: string | undefined;
  /** The key or name that the user gave. */
  given?: Key | undefined;
  /** Its key, if the user did not give it. */
  key?: number | undefined;
  owned?: boolean;
  created?: boolean;
}

/** Called with every handle that was disposed or whose object it has removed, once that is done. */
export const endListeners: Set<(handle: Handle) => void> = new Set();

/** A kernel object as one instance of a class holds it. */
export class Handle implements Watched {
  /** Read before each call: anything but "open" is answered by {@linkcode Handle.refusal}. */
  state: "open" | "removed" | "disposed" = "open";
  /** What ends when the handle or the object does. */
  readonly dependents: Set<Cancellable> = new Set();
  readonly key: number | undefined;
  /** What messages call it. */
  readonly noun: string;
  readonly type: ObjectType;
  readonly id: number;
  /** The name that the user gave; undefined if it was a number, or none. */
  readonly givenName: string | undefined;
  readonly owned: boolean;
  /** Whether it was created for this handle. */
  readonly created: boolean;
  readonly #given: Key | undefined;
  #removal: RemovalWatch | undefined;

  constructor(
    type: ObjectType,
    id: number,
    { noun = type.noun, given, key, owned = false, created = false }: HandleOptions = {},
  ) {
    this.type = type;
    this.id = id;
    this.key = given === undefined ? key : keyNumber(given);
    this.noun = noun;
    this.givenName = typeof given === "string" ? given : undefined;
    this.owned = owned;
    this.created = created;
    this.#given = given;
  }

  /** Names the object in messages. */
  get name(): string {
    return this.nameAs(this.noun);
  }

  /** Names the object as something else than it was asked for. */
  nameAs(noun: string): string {
    return objectName(noun, this.#given, this.id);
  }

  /** Throws unless the handle can be used. */
  check(): void {
    if (this.state !== "open") throw this.refusal();
  }

  /** The answer to using the handle once it is disposed or the object removed. */
  refusal(): Error {
    if (this.state === "disposed") {
      return new ReferenceError(`Cannot use ${this.name}: the handle is disposed`);
    }
    return this.error(errors.EIDRM, this.type.syscalls.control, `use ${this.name}`);
  }

  /**
   * Makes the error of a failed call. The arguments were checked before, so EINVAL nearly always
   * means that there is no such object any more: then it becomes EIDRM.
   */
  error(errno: number, syscall: string, action: string, reason?: string): IpcError {
    const { id, key } = this;
    if (errno === errors.EINVAL && !this.exists) {
      return ipcError("EIDRM", action, { syscall, id, key });
    }
    if (errno === errors.EACCES) reason ??= permissionDenied(this.type, id);
    return ipcError(errno, action, { syscall, id, key, reason });
  }

  /** Whether the object is still there, which the kernel checks before the permission. */
  get exists(): boolean {
    const { type, id } = this;
    const result = type.control(id, IPC_STAT, new Uint8Array(type.layout.size));
    return result >= 0 || result === -errors.EACCES;
  }

  /** Aborts a controller when the object is removed, until that is called off. */
  watch(controller: AbortController): void {
    this.#removal ??= new RemovalWatch();
    this.#removal.add(this, controller);
  }

  unwatch(controller: AbortController): void {
    this.#removal?.delete(controller);
  }

  lostError(): IpcError {
    const { id, key } = this;
    return ipcError("EIDRM", `keep what is held of ${this.name}`, { syscall: "semop", id, key });
  }

  /** Reads the `..._ds`, into memory that the next reading of its type overwrites. */
  read(): Struct {
    if (this.state !== "open") throw this.refusal();
    const { control, struct, syscalls } = this.type;
    const result = control(this.id, IPC_STAT, struct.bytes);
    if (result < 0) throw this.error(-result, syscalls.control, `describe ${this.name}`);
    return struct;
  }

  /** Describes what all objects have of what was just read. */
  describe(struct: Struct): ObjectInfo {
    const key = perm.__key === undefined ? IPC_PRIVATE : struct.read(perm.__key);
    return {
      id: this.id,
      key: key === IPC_PRIVATE ? undefined : key,
      uid: struct.read(perm.uid!),
      gid: struct.read(perm.gid!),
      creatorUid: struct.read(perm.cuid!),
      creatorGid: struct.read(perm.cgid!),
      mode: struct.read(perm.mode!) & 0o777,
      lastChange: new Date(struct.read(this.type.changeTime) * 1000),
    };
  }

  /** Changes owner, group, mode and further members of the `..._ds`. */
  setPermissions(permissions: PermissionOptions, members: Record<string, number> = {}): void {
    checkOptions(permissions);
    const { uid, gid, mode } = permissions;
    if (uid !== undefined) checkInteger(uid, 0, 0xfffffffe, `give ${this.name} to user ${uid}`);
    if (gid !== undefined) checkInteger(gid, 0, 0xfffffffe, `give ${this.name} to group ${gid}`);
    if (mode !== undefined) checkMode(mode);
    this.check();
    const action = `change the permissions of ${this.name}`;
    const { bytes } = this.look(action);
    writeStruct(abi.layouts.ipcPerm, bytes, { uid, gid, mode });
    writeStruct(this.type.layout, bytes, members);
    const result = this.type.control(this.id, IPC_SET, bytes);
    if (result >= 0) return;
    const reason = -result === errors.EINVAL && (uid ?? gid) !== undefined
      ? "this user namespace does not know the user or the group"
      : undefined;
    throw this.error(-result, this.type.syscalls.control, action, reason);
  }

  /** Reads the `..._ds` though the mode may not let this user read. */
  look(action: string): Struct {
    const struct = new Struct(this.type.layout);
    const result = look(this.type, this.id, struct);
    if (result >= 0) return struct;
    throw this.error(-result, this.type.syscalls.control, action);
  }

  /** The same, into memory that the next reading of its type overwrites; undefined if it cannot. */
  tryLook(): Struct | undefined {
    const { type } = this;
    return look(type, this.id, type.struct) < 0 ? undefined : type.struct;
  }

  /** Removes the object, now. */
  remove(): void {
    this.check();
    this.destroy();
    this.#end("removed");
    for (const listener of endListeners) listener(this);
  }

  /** Removes the object, which stays in use here until its last user is gone. */
  destroy(): void {
    const { control, syscalls } = this.type;
    const result = control(this.id, IPC_RMID, null);
    if (result < 0) throw this.error(-result, syscalls.control, `remove ${this.name}`);
  }

  /** Ends the handle, and removes the object if the handle owns it. Does nothing the second time. */
  dispose(): void {
    if (this.state === "disposed") return;
    const removed = this.state === "removed";
    this.#end("disposed");
    try {
      if (this.owned && !removed) this.#removeOwned();
    } finally {
      for (const listener of endListeners) listener(this);
    }
  }

  /** Removes the object, unless it is removed already. */
  #removeOwned(): void {
    const { control, syscalls } = this.type;
    const result = control(this.id, IPC_RMID, null);
    if (result < 0 && result !== -errors.EINVAL && result !== -errors.EIDRM) {
      throw this.error(-result, syscalls.control, `remove ${this.name}`);
    }
  }

  #end(state: "removed" | "disposed"): void {
    this.state = state;
    const reason = this.refusal();
    for (const dependent of [...this.dependents]) dependent.cancel(reason);
  }
}

/**
 * Reads a `..._ds`: if the mode does not let this user read, from where it stands in the kernel's
 * table, which the low 15 or 24 bits of the identifier say. Returns the negative number of an error.
 */
function look({ control, statAny }: ObjectType, id: number, { bytes }: Struct): number {
  const result = control(id, IPC_STAT, bytes);
  if (result !== -errors.EACCES || statAny === -1) return result;
  const isFound = [2 ** 15, 2 ** 24].some((slots) => control(id % slots, statAny, bytes) === id);
  return isFound ? 0 : result;
}

/** Says why this user may not use an object: its mode, and whose it is. */
export function permissionDenied(type: ObjectType, id: number): string | undefined {
  const struct = new Struct(type.layout);
  if (id < 0 || look(type, id, struct) < 0) return undefined;
  const mode = (struct.read(perm.mode!) & 0o777).toString(8).padStart(3, "0");
  return `permission denied (mode 0o${mode}, created by uid ${struct.read(perm.cuid!)})`;
}

/** Makes a `Date` of seconds; undefined for never. */
export function dateOf(seconds: number): Date | undefined {
  return seconds === 0 ? undefined : new Date(seconds * 1000);
}
