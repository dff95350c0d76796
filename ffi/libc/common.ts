/**
 * What the calls have in common: checks of arguments, errors, and the structs of the `...ctl` calls.
 *
 * @module
 */

import type { Pointer } from "../backend.ts";
import { described } from "../check.ts";
import { IPC_SET, IPC_STAT } from "../constants.ts";
import { ipcError } from "../error.ts";
import { pointerTo } from "../memory.ts";
import { abi } from "../platforms.ts";
import { type Layout, readStruct, writeStruct } from "../struct.ts";

/** Returns the result of a call, and throws if it is the negative number of an error. */
export function done(
  result: number,
  syscall: string,
  subject: { key?: number; id?: number },
): number {
  // Addresses can be negative, too.
  if (result >= 0 || result < -4095) return result;
  throw ipcError(-result, `call ${syscall}`, { syscall, ...subject });
}

/** Checks for a whole number in a range and returns it; -0, which Deno does not pass, as 0. */
export function integer(value: unknown, min: number, max: number, name: string): number {
  if (typeof value === "number" && Number.isInteger(value) && value >= min && value <= max) {
    return value + 0;
  }
  const shown = typeof value === "number" ? value : described(value);
  const message = `Cannot pass ${shown} as ${name}: expected a whole number from ${min} to ${max}`;
  throw typeof value === "number" ? new RangeError(message) : new TypeError(message);
}

/** Checks for an `int` and returns it. */
export function int(value: number, name: string): number {
  return integer(value, -0x80000000, 0x7fffffff, name);
}

/** Checks for a `long`, which takes a bigint where a number would be rounded, and returns it. */
export function long(value: number | bigint, name: string): number | bigint {
  if (typeof value !== "bigint") {
    return integer(value, Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER, name);
  }
  if (BigInt.asIntN(64, value) === value) return value;
  throw new RangeError(`Cannot pass ${value} as ${name}: expected a whole number of 64 bits`);
}

/** Checks for a key, signed or unsigned, and returns it as C has it. */
export function keyOfC(value: number): number {
  return integer(value, -0x80000000, 0xffffffff, "key") | 0;
}

/** Checks for an array without holes and returns it. */
export function arrayOf(value: unknown, name: string, expected: string): readonly unknown[] {
  if (Array.isArray(value)) return value;
  throw new TypeError(`Cannot pass ${described(value)} as ${name}: expected ${expected}`);
}

/** Checks for an object and returns it. */
export function struct(value: unknown, name: string): Readonly<Record<string, unknown>> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    return value as Readonly<Record<string, unknown>>;
  }
  throw new TypeError(`Cannot pass ${described(value)} as ${name}: expected an object`);
}

/** What was passed last: a pointer does not keep memory from the collector. */
let passed: Uint8Array | undefined;

/** Points to memory until the next is pointed to. */
export function pass(memory: Uint8Array): Pointer {
  passed = memory;
  return pointerTo(passed);
}

/** A `...ctl` call of one object, as a function of what differs. */
export type Control = (command: number, buffer: Uint8Array) => number;

/** The most of each member that `IPC_SET` changes. The kernel takes `msg_qbytes` as an `int`. */
const mostOf = { uid: 0xffffffff, gid: 0xffffffff, mode: 0xffff, msg_qbytes: 0x7fffffff };

/** Checks a member of a struct to be changed, if it is given, and returns it. */
function member(value: unknown, name: keyof typeof mostOf): number | undefined {
  return value === undefined ? undefined : integer(value, 0, mostOf[name], name);
}

/**
 * Changes a `..._ds`. What is not given stays as it is and is read first, for which C would need
 * permission to read; if all is given, it is not.
 */
export function change(
  control: Control,
  layout: Layout,
  perm: Readonly<Record<string, unknown>>,
  others: { msg_qbytes?: unknown } = {},
): void {
  const owner = {
    uid: member(perm.uid, "uid"),
    gid: member(perm.gid, "gid"),
    mode: member(perm.mode, "mode"),
  };
  const members = "msg_qbytes" in others
    ? { msg_qbytes: member(others.msg_qbytes, "msg_qbytes") }
    : {};
  const buffer = new Uint8Array(layout.size);
  const given = [...Object.values(owner), ...Object.values(members)];
  if (given.includes(undefined)) control(IPC_STAT, buffer);
  writeStruct(abi.layouts.ipcPerm, buffer, owner);
  writeStruct(layout, buffer, members);
  control(IPC_SET, buffer);
}

/** Reads a `..._ds` by `IPC_STAT` or one of the `..._STAT`, which return the identifier. */
export function describe(
  control: Control,
  command: number,
  layout: Layout,
  names: { id: string; perm: string },
  id: number,
): Record<string, unknown> {
  const buffer = new Uint8Array(layout.size);
  const result = control(command, buffer);
  return {
    [names.id]: command === IPC_STAT ? id : result,
    [names.perm]: readStruct(abi.layouts.ipcPerm, buffer),
    ...readStruct(layout, buffer),
  };
}

/** Reads the limits, or what is in use, by one of the `..._INFO`, which return the highest index. */
export function information(
  control: Control,
  command: number,
  layout: Layout,
): Record<string, number> {
  const buffer = new Uint8Array(layout.size);
  return { index: control(command, buffer), ...readStruct(layout, buffer) };
}
