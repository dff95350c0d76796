/**
 * What semaphore sets, queues and segments have in common as objects of the kernel.
 *
 * @module
 */

import type { Field, Layout, Struct } from "../ffi/struct.ts";
import type { Key } from "./key.ts";

/** Options of every `create`. */
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
   * Whether disposing the handle removes the object; false for an object that is to outlive the program.
   *
   * @default {true}
   */
  owner?: boolean | undefined;
}

/** Options of every `openOrCreate`. */
export interface OpenOrCreateOptions {
  /**
   * The permissions of the object if it is created, in octal.
   *
   * @default {0o600}
   */
  mode?: number | undefined;
  /**
   * Whether to open an object that another user created: any user can take a name first.
   *
   * @default {false}
   */
  allowForeign?: boolean | undefined;
}

/** What every `setPermissions` changes; what is left out stays as it is. */
export interface PermissionOptions {
  /** The id of the new owner. */
  uid?: number | undefined;
  /** The id of the new group. */
  gid?: number | undefined;
  /** The permissions, in octal. */
  mode?: number | undefined;
}

/** What every `stat` returns. */
export interface ObjectInfo {
  /** The identifier. */
  readonly id: number;
  /** The key, undefined for a private object. */
  readonly key: number | undefined;
  /** The user id of the owner. */
  readonly uid: number;
  /** The group id of the owner. */
  readonly gid: number;
  /** The user id of the creator. */
  readonly creatorUid: number;
  /** The group id of the creator. */
  readonly creatorGid: number;
  /** The permissions, in octal. */
  readonly mode: number;
  /** When it was created, or its owner, permissions or values were set. */
  readonly lastChange: Date;
}

/** What the three types of objects differ in. */
export interface ObjectType {
  /** What an object is called. */
  readonly noun: string;
  /** The names of its calls. */
  readonly syscalls: { readonly get: string; readonly control: string };
  /** Its `..._ds`. */
  readonly layout: Layout;
  /** Memory for one `..._ds` at a time. */
  readonly struct: Struct;
  /** The member of its `..._ds` that becomes `lastChange`. */
  readonly changeTime: Field;
  /** Its `...get`; queues have no size. */
  get(key: number, size: number, flags: number): number;
  /** The permissions to ask for when opening: one set of them must be granted. */
  readonly openModes: readonly number[];
  /** Its `...ctl`, without index. */
  control(id: number, command: number, buffer: Uint8Array | null): number;
  /** The command that describes what stands at an index, without permission; -1 if there is none. */
  readonly statAny: number;
  /** Says which limit a creation meets, and how full the system is. */
  limits(): string;
  /** Says how large an object can be. */
  largest(): string | undefined;
  /** The letter by which `ipcs` and `ipcrm` know it: as an identifier in lower case, as a key in upper case. */
  readonly letter: "s" | "q" | "m";
}
