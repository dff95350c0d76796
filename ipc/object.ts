/**
 * What semaphore sets, queues and segments have in common as objects of the kernel: a key or none,
 * an identifier, an owner, and the ways to get, describe, change and remove them.
 *
 * @module
 */

import {
  errors,
  IPC_CREAT,
  IPC_EXCL,
  IPC_PRIVATE,
  IPC_RMID,
  IPC_SET,
  IPC_STAT,
} from "../ffi/constants.ts";
import { abi } from "../ffi/platforms.ts";
import { type Layout, readStruct, writeStruct } from "../ffi/struct.ts";
import { geteuid } from "../ffi/calls.ts";
import { IpcError, reasonOf } from "../ffi/error.ts";
import type { Ending } from "../wait/line.ts";
import { checkId, checkInteger, checkMode } from "../ffi/check.ts";
import { type Key, keyNumber, keyText } from "./key.ts";

/** What every `create` takes. */
export interface CreateOptions {
  /**
   * The key or name under which other programs find the object.
   *
   * @default {undefined} A private object: others need its `id`.
   */
  key?: Key | undefined;
  /**
   * The permissions, in octal.
   *
   * @default {0o600}
   */
  mode?: number | undefined;
  /**
   * Whether disposing the handle removes the object; false for one that is meant to outlive the program.
   *
   * @default {true}
   */
  owner?: boolean | undefined;
}

/** What every `openOrCreate` takes. */
export interface OpenOrCreateOptions {
  /**
   * The permissions of the object if it is created, in octal.
   *
   * @default {0o600}
   */
  mode?: number | undefined;
  /**
   * Whether an object that another user made will do. A name can be squatted on, so it will not by default.
   *
   * @default {false}
   */
  allowForeign?: boolean | undefined;
}

/** What every `setPermissions` takes; what is left out stays as it is. */
export interface PermissionOptions {
  /** The number of the user who is to own the object. */
  uid?: number | undefined;
  /** The number of the group that is to own the object. */
  gid?: number | undefined;
  /** The permissions, in octal. */
  mode?: number | undefined;
}

/** What every `stat` tells. */
export interface ObjectInfo {
  /** The identifier. */
  readonly id: number;
  /** The key, undefined for a private object. */
  readonly key: number | undefined;
  /** The number of the user who owns it. */
  readonly uid: number;
  /** The number of the group that owns it. */
  readonly gid: number;
  /** The number of the user who made it. */
  readonly creatorUid: number;
  /** The number of the group of the user who made it. */
  readonly creatorGid: number;
  /** The permissions, in octal. */
  readonly mode: number;
  /** When it was created, or its owner, permissions or values were set. */
  readonly lastChange: Date;
}

/** What the three kinds of objects differ in. */
export interface Kind {
  /** What it is called. */
  readonly noun: string;
  /** The names of its calls. */
  readonly syscalls: { readonly get: string; readonly control: string };
  /** Its `..._ds`. */
  readonly layout: Layout;
  /** The member of its `..._ds` that becomes `lastChange`. */
  readonly changeTime: string;
  /** Its `...ctl`, without index. */
  control(id: number, command: number, buffer: Uint8Array | null): number;
  /** The command that describes what stands at an index, without permission; -1 if there is none. */
  readonly statAny: number;
  /** Tells which limit a creation meets, and how full the system is. */
  limits(): string;
  /** Tells how large an object can be. */
  largest(): string | undefined;
  /** The letter by which `ipcs` and `ipcrm` know it. */
  readonly letter: "s" | "q" | "m";
}

/** Gets the identifier for a key, as `semget`, `msgget` and `shmget` do. */
type Get = (key: number, flags: number) => number;

/** Makes an error of a failed call. */
export function ipcError(
  errno: number,
  syscall: string,
  doing: string,
  subject: { key?: number | undefined; id?: number | undefined },
  reason: string = reasonOf(errno),
): IpcError {
  return new IpcError(`Cannot ${doing} as ${reason}`, errno, { syscall, ...subject });
}

/** A kernel object as one handle of a class holds it. */
export class Handle {
  /** Read before each call: anything but "open" is answered by {@linkcode Handle.refuse}. */
  state: "open" | "removed" | "disposed" = "open";
  /** What ends when the handle or the object does. */
  readonly endings: Set<Ending> = new Set();

  constructor(
    readonly kind: Kind,
    readonly id: number,
    readonly key: number | undefined,
    readonly owned: boolean,
  ) {}

  /** Names the object in messages. */
  get name(): string {
    return `${this.kind.noun} ${this.id}`;
  }

  /** Throws unless the handle can be used. */
  check(): void {
    if (this.state !== "open") throw this.refusal();
  }

  /** What using the handle is answered with once it is disposed or the object removed. */
  refusal(): Error {
    if (this.state === "disposed") {
      return new ReferenceError(`Cannot use ${this.name} as the handle is disposed`);
    }
    return this.error(errors.EIDRM, this.kind.syscalls.control, `use ${this.name}`);
  }

  /**
   * Makes an error of a failed call. The arguments were checked before, so EINVAL hardly ever means
   * anything but that the identifier is of no object any more: then it is told as EIDRM, else for
   * the reason given.
   */
  error(errno: number, syscall: string, doing: string, invalid?: string): IpcError {
    if (errno !== errors.EINVAL) return ipcError(errno, syscall, doing, this);
    if (!this.exists) return ipcError(errors.EIDRM, syscall, doing, this);
    return ipcError(errno, syscall, doing, this, invalid);
  }

  /** Whether the object is still there, which the kernel tells before it asks for permission. */
  get exists(): boolean {
    const { kind, id } = this;
    const result = kind.control(id, IPC_STAT, new Uint8Array(kind.layout.size));
    return result >= 0 || result === -errors.EACCES;
  }

  /** Reads the `..._ds` and its `ipc_perm`. */
  read(): { info: ObjectInfo; members: Record<string, number> } {
    this.check();
    return describe(
      this.kind,
      this.id,
      this.control(IPC_STAT, new Uint8Array(this.kind.layout.size), "describe"),
    );
  }

  /** Changes owner, group, mode and further members of the `..._ds`. */
  setPermissions(
    { uid, gid, mode }: PermissionOptions,
    members: Record<string, number> = {},
  ): void {
    if (uid !== undefined) {
      checkInteger(uid, 0, 0xfffffffe, `give ${this.name} to user ${uid}`);
    }
    if (gid !== undefined) {
      checkInteger(gid, 0, 0xfffffffe, `give ${this.name} to group ${gid}`);
    }
    if (mode !== undefined) checkMode(mode);
    this.check();
    const doing = `change the permissions of ${this.name}`;
    const buffer = this.look(doing);
    writeStruct(abi.layouts.ipcPerm, buffer, { uid, gid, mode });
    writeStruct(this.kind.layout, buffer, members);
    const result = this.kind.control(this.id, IPC_SET, buffer);
    if (result >= 0) return;
    const invalid = uid === undefined && gid === undefined
      ? undefined
      : "this user namespace does not know the user or the group";
    throw this.error(-result, this.kind.syscalls.control, doing, invalid);
  }

  /**
   * Reads the `..._ds` though the mode may not let this user read: then where it stands in the
   * kernel's table, the low 15 or 24 bits of the identifier.
   */
  look(doing: string): Uint8Array {
    const { kind, id } = this;
    const buffer = new Uint8Array(kind.layout.size);
    const result = kind.control(id, IPC_STAT, buffer);
    if (result >= 0) return buffer;
    if (result === -errors.EACCES && kind.statAny !== -1) {
      for (const slots of [2 ** 15, 2 ** 24]) {
        if (kind.control(id % slots, kind.statAny, buffer) === id) return buffer;
      }
    }
    throw this.error(-result, kind.syscalls.control, doing);
  }

  /** Makes a control call and gives the buffer back. */
  control<Buffer extends Uint8Array | null>(
    command: number,
    buffer: Buffer,
    doing: string,
  ): Buffer {
    const result = this.kind.control(this.id, command, buffer);
    if (result < 0) {
      throw this.error(-result, this.kind.syscalls.control, `${doing} ${this.name}`);
    }
    return buffer;
  }

  /** Removes the object, now. */
  remove(): void {
    this.check();
    this.control(IPC_RMID, null, "remove");
    this.#end("removed");
  }

  /** Ends the handle, and removes the object if the handle owns it. Does nothing the second time. */
  dispose(): void {
    if (this.state === "disposed") return;
    const removed = this.state === "removed";
    this.#end("disposed");
    if (!this.owned || removed) return;
    const result = this.kind.control(this.id, IPC_RMID, null);
    if (result < 0 && result !== -errors.EINVAL && result !== -errors.EIDRM) {
      throw this.error(-result, this.kind.syscalls.control, `remove ${this.name}`);
    }
  }

  #end(state: "removed" | "disposed"): void {
    this.state = state;
    const reason = this.refusal();
    for (const ending of [...this.endings]) ending.end(reason);
  }
}

/** Reads the `..._ds` in a buffer. */
function describe(
  kind: Kind,
  id: number,
  buffer: Uint8Array,
): { info: ObjectInfo; members: Record<string, number> } {
  const perm = readStruct(abi.layouts.ipcPerm, buffer);
  const members = readStruct(kind.layout, buffer);
  const info: ObjectInfo = {
    id,
    key: perm.__key! === IPC_PRIVATE ? undefined : perm.__key!,
    uid: perm.uid!,
    gid: perm.gid!,
    creatorUid: perm.cuid!,
    creatorGid: perm.cgid!,
    mode: perm.mode! & 0o777,
    lastChange: new Date(members[kind.changeTime]! * 1000),
  };
  return { info, members: { ...members, mode: perm.mode! } };
}

/** Makes a `Date` of seconds, undefined for never. */
export function dateOf(seconds: number): Date | undefined {
  return seconds === 0 ? undefined : new Date(seconds * 1000);
}

/** Creates an object, and fails if its key is taken. */
export function create(
  kind: Kind,
  get: Get,
  { key, mode = 0o600, owner = true }: CreateOptions,
  marks = 0,
): Handle {
  checkMode(mode);
  const number = key === undefined ? IPC_PRIVATE : keyNumber(key);
  const id = get(number, IPC_CREAT | IPC_EXCL | mode | marks);
  if (isError(id)) throw getError(kind, -id, "create", number);
  return new Handle(kind, id, key === undefined ? undefined : number, owner);
}

/** Opens an object that exists. `modes` are the permissions to ask for, one set of which must be granted. */
export function open(kind: Kind, get: Get, key: Key, modes: readonly number[]): Handle {
  const number = keyNumber(key);
  const id = find(get, number, modes);
  if (isError(id)) throw getError(kind, -id, "open", number);
  return new Handle(kind, id, number, false);
}

/**
 * Removes what was just created, as it could not be finished. EINVAL and EIDRM tell that others have
 * finished it as something else, or removed it: it is theirs.
 */
export function discard({ kind, id }: Handle, error: unknown): void {
  const theirs = error instanceof IpcError && (error.code === "EINVAL" || error.code === "EIDRM");
  if (!theirs) kind.control(id, IPC_RMID, null);
}

/**
 * Opens an object or creates it, whatever others do meanwhile. `settle` finishes what was found or
 * made: if it fails with EIDRM the object went away, and everything begins anew. If it fails
 * otherwise, what was made is removed.
 */
export function openOrCreate(
  kind: Kind,
  search: { get: Get; modes: readonly number[]; marks?: number },
  key: Key,
  { mode = 0o600, allowForeign = false }: OpenOrCreateOptions,
  settle: (handle: Handle, created: boolean) => void,
): Handle {
  checkMode(mode);
  const number = keyNumber(key);
  const { get, modes, marks = 0 } = search;
  for (;;) {
    let created = false;
    let id = find(get, number, modes);
    if (id === -errors.ENOENT) {
      id = get(number, IPC_CREAT | IPC_EXCL | mode | marks);
      if (id === -errors.EEXIST) continue;
      created = true;
    }
    if (isError(id)) {
      throw getError(kind, -id, created ? "create" : "open", number);
    }
    const handle = new Handle(kind, id, number, false);
    try {
      if (!created && !allowForeign) refuseForeign(handle);
      settle(handle, created);
      return handle;
    } catch (error) {
      if (error instanceof IpcError && error.code === "EIDRM") continue;
      if (created) discard(handle, error);
      throw error;
    }
  }
}

/** Takes the identifier of an object that exists. */
export function fromId(kind: Kind, id: number): Handle {
  checkId(id);
  const buffer = new Uint8Array(kind.layout.size);
  const result = kind.control(id, IPC_STAT, buffer);
  if (result === -errors.EACCES) return new Handle(kind, id, undefined, false);
  if (result < 0) {
    const reason = result === -errors.EINVAL
      ? "no object has this identifier: it was removed, or never existed"
      : undefined;
    const errno = result === -errors.EINVAL ? errors.EIDRM : -result;
    throw ipcError(errno, kind.syscalls.control, `take ${kind.noun} ${id}`, { id }, reason);
  }
  return new Handle(kind, id, describe(kind, id, buffer).info.key, false);
}

/** Asks for the object with each set of permissions in turn, until one is granted. */
function find(get: Get, key: number, modes: readonly number[]): number {
  let id = -errors.EACCES;
  for (const mode of modes) {
    id = get(key, mode);
    if (id !== -errors.EACCES) return id;
  }
  return id;
}

function refuseForeign(handle: Handle): void {
  const doing = `open or create ${handle.kind.noun} ${keyText(handle.key!)}`;
  const { cuid } = readStruct(abi.layouts.ipcPerm, handle.look(doing));
  if (cuid === geteuid()) return;
  throw ipcError(
    errors.EPERM,
    handle.kind.syscalls.get,
    doing,
    handle,
    `user ${cuid} made it: with { allowForeign: true } it is taken all the same`,
  );
}

function isError(result: number): boolean {
  return result < 0 && result >= -4095;
}

function getError(kind: Kind, errno: number, verb: string, key: number): IpcError {
  const what = `${kind.noun} ${key === IPC_PRIVATE ? "without a key" : keyText(key)}`;
  const subject = key === IPC_PRIVATE ? {} : { key };
  return ipcError(errno, kind.syscalls.get, `${verb} ${what}`, subject, reasonOfGet(kind, errno));
}

/** Tells why an object cannot be had, if there is more to say than of any call. */
function reasonOfGet(kind: Kind, errno: number): string | undefined {
  if (errno === errors.EINVAL) return kind.largest();
  if (errno !== errors.ENOSPC) return undefined;
  const { letter } = kind;
  return `${kind.limits()}: "ipcs -${letter}" shows leaked ones and "ipcrm -${letter} ID" removes them`;
}
