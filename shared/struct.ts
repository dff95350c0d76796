/**
 * Records as C lays them out: {@linkcode struct}.
 *
 * @module
 */

import { checkFunction, checkInteger, checkObject, described } from "../ffi/check.ts";
import type { SharedMemory } from "../ipc/shared_memory.ts";
import type { Codec } from "./codec.ts";

/** A type of a field of a {@linkcode Struct}. */
export interface FieldType<Value> {
  /** The bytes that it takes. */
  readonly size: number;
  /** Its place is a multiple of this. */
  readonly align: number;
  /** Declares a field of this type in C. */
  declare(name: string): string;
  /** Reads a value of memory. */
  read(view: DataView<ArrayBuffer>, at: number): Value;
  /** Writes a value to memory, or throws an error that names the field. */
  write(view: DataView<ArrayBuffer>, at: number, value: Value, field: string): void;
}

/** The fields of a struct, in their order. */
export type Fields = Readonly<Record<string, FieldType<unknown>>>;

/** What a struct of these fields holds. */
export type ValuesOf<Of extends Fields> = {
  -readonly [Name in keyof Of]: Of[Name] extends FieldType<infer Value> ? Value : never;
};

const isLittle = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

type Getter = "getInt8" | "getUint8" | "getInt16" | "getUint16" | "getFloat32" | "getFloat64";

/** Refuses what is no value for a field, which is named. */
type Check = (value: number, field: string) => void;

/** A number that is read and written as a whole, but between processes not atomically. */
function plain(size: number, c: string, kind: string, check: Check) {
  const [get, set] = [`get${kind}` as Getter, `set${kind}` as "setInt16"];
  return {
    size,
    align: size,
    declare: (name: string) => `${c} ${name}`,
    read: (view: DataView<ArrayBuffer>, at: number): number => view[get](at, isLittle),
    write(view: DataView<ArrayBuffer>, at: number, value: number, field: string): void {
      check(value, field);
      view[set](at, value, isLittle);
    },
  };
}

function range(least: number, most: number): Check {
  return (value, field) => checkInteger(value, least, most, writing(value, field));
}

function anyNumber(value: number, field: string): void {
  if (typeof value !== "number") refuse(value, field, "a number");
}

function refuse(value: unknown, field: string, expected: string): never {
  throw new TypeError(`Cannot ${writing(described(value), field)}: expected ${expected}`);
}

function writing(value: unknown, field: string): string {
  return `write ${value} to field "${field}"`;
}

type OneWord = Int32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>;

/** A number of 32 bits, which is read and written by Atomics. */
function word(c: string, of: (buffer: ArrayBuffer, at: number) => OneWord, check: Check) {
  return {
    size: 4,
    align: 4,
    declare: (name: string) => `${c} ${name}`,
    read: ({ buffer, byteOffset }: DataView<ArrayBuffer>, at: number): number =>
      Atomics.load(of(buffer, byteOffset + at), 0),
    write(view: DataView<ArrayBuffer>, at: number, value: number, field: string): void {
      check(value, field);
      Atomics.store(of(view.buffer, view.byteOffset + at), 0, value);
    },
  };
}

type OneLong = BigInt64Array<ArrayBuffer> | BigUint64Array<ArrayBuffer>;

/** A number of 64 bits, which is read and written by Atomics. */
function long(
  c: string,
  of: (buffer: ArrayBuffer, at: number) => OneLong,
  least: bigint,
  most: bigint,
) {
  return {
    size: 8,
    align: 8,
    declare: (name: string) => `${c} ${name}`,
    read: ({ buffer, byteOffset }: DataView<ArrayBuffer>, at: number): bigint =>
      Atomics.load(of(buffer, byteOffset + at), 0),
    write(view: DataView<ArrayBuffer>, at: number, value: bigint, field: string): void {
      if (typeof value !== "bigint") refuse(value, field, "a bigint");
      if (value < least || value > most) {
        const expected = `expected ${least} to ${most}`;
        throw new RangeError(`Cannot ${writing(value, field)}: ${expected}`);
      }
      Atomics.store(of(view.buffer, view.byteOffset + at), 0, value);
    },
  };
}

const int32 = (buffer: ArrayBuffer, at: number) => new Int32Array(buffer, at, 1);
const uint32 = (buffer: ArrayBuffer, at: number) => new Uint32Array(buffer, at, 1);
const int64 = (buffer: ArrayBuffer, at: number) => new BigInt64Array(buffer, at, 1);
const uint64 = (buffer: ArrayBuffer, at: number) => new BigUint64Array(buffer, at, 1);

/** `int8_t`. */
export const i8: FieldType<number> = plain(1, "int8_t", "Int8", range(-128, 127));
/** `uint8_t`. */
export const u8: FieldType<number> = plain(1, "uint8_t", "Uint8", range(0, 255));
/** `int16_t`. */
export const i16: FieldType<number> = plain(2, "int16_t", "Int16", range(-32768, 32767));
/** `uint16_t`. */
export const u16: FieldType<number> = plain(2, "uint16_t", "Uint16", range(0, 65535));
/** `int32_t`, atomic. */
export const i32: FieldType<number> = word("int32_t", int32, range(-(2 ** 31), 2 ** 31 - 1));
/** `uint32_t`, atomic. */
export const u32: FieldType<number> = word("uint32_t", uint32, range(0, 2 ** 32 - 1));
/** `int64_t` as a bigint, atomic. */
export const i64: FieldType<bigint> = long("int64_t", int64, -(2n ** 63n), 2n ** 63n - 1n);
/** `uint64_t` as a bigint, atomic. */
export const u64: FieldType<bigint> = long("uint64_t", uint64, 0n, 2n ** 64n - 1n);
/** `float`. */
export const f32: FieldType<number> = plain(4, "float", "Float32", anyNumber);
/** `double`. */
export const f64: FieldType<number> = plain(8, "double", "Float64", anyNumber);

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/**
 * Text as UTF-8 in a fixed number of bytes, which ends at the first NUL: `char[size]`.
 *
 * @example
 * ```ts
 * import { struct, utf8 } from "@sysv/ipc/shared";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(struct({ name: utf8(32) }).size, 32);
 * ```
 *
 * @param size The bytes, at least 1.
 */
export function utf8(size: number): FieldType<string> {
  checkInteger(size, 1, 2 ** 28, `make a text of ${size} bytes`);
  return {
    size,
    align: 1,
    declare: (name) => `char ${name}[${size}]`,
    read({ buffer, byteOffset }, at) {
      // A copy, as a text that changes while it is decoded can crash.
      const bytes = new Uint8Array(buffer, byteOffset + at, size).slice();
      const end = bytes.indexOf(0);
      return decoder.decode(end < 0 ? bytes : bytes.subarray(0, end));
    },
    write({ buffer, byteOffset }, at, value, field) {
      if (typeof value !== "string") refuse(value, field, "a string");
      const bytes = encoder.encode(value);
      if (bytes.length > size) {
        const action = writing(`${bytes.length} bytes of text`, field);
        throw new RangeError(`Cannot ${action}: it has ${size}`);
      }
      const target = new Uint8Array(buffer, byteOffset + at, size);
      target.set(bytes);
      target.fill(0, bytes.length);
    },
  };
}

/**
 * A record with named fields at fixed offsets, as C lays them out on this machine. It is a codec, so a
 * `SharedVariable` of it is a record that is always read and written as a whole.
 *
 * @example
 * ```ts
 * import { f64, SharedVariable, struct, u32, utf8 } from "@sysv/ipc/shared";
 * import { assertEquals } from "@std/assert";
 *
 * const stats = struct({ hits: u32, mean: f64, name: utf8(32) });
 * assertEquals([stats.size, stats.offsets.mean], [48, 8]);
 * using shared = SharedVariable.create({ codec: stats, maxBytes: stats.size });
 * shared.setSync({ hits: 1, mean: 0.5, name: "worker 1" });
 * assertEquals(shared.get()!.name, "worker 1");
 * ```
 */
export class Struct<Of extends Fields> implements Codec<ValuesOf<Of>> {
  /** Its declaration in C, by which structures tell it from others. */
  readonly name: string;
  /** The bytes of a record. */
  readonly size: number;
  /** A record begins at a multiple of this. */
  readonly align: number;
  /** Where each field begins. */
  readonly offsets: { readonly [Name in keyof Of]: number };
  readonly #fields: readonly [name: string, type: FieldType<unknown>, at: number][];

  /** Lays fields out; {@linkcode struct} is the same. */
  constructor(fields: Of) {
    checkFields(fields);
    let at = 0;
    let align = 1;
    this.#fields = Object.entries(fields as Record<string, FieldType<unknown>>).map(
      ([name, type]) => {
        const begin = roundUp(at, type.align);
        at = begin + type.size;
        align = Math.max(align, type.align);
        return [name, type, begin];
      },
    );
    this.align = align;
    this.size = roundUp(at, this.align);
    this.offsets = Object.fromEntries(
      this.#fields.map(([name, _, at]) => [name, at]),
    ) as typeof this.offsets;
    const lines = this.#fields.map(([name, type]) => `  ${type.declare(name)};\n`);
    this.name = `struct {\n${lines.join("")}}`;
  }

  /**
   * Declares it in C.
   *
   * @param name What C calls it.
   */
  declare(name: string): string {
    checkName(name, "struct");
    return this.name.replace("struct {", `struct ${name} {`) + ";";
  }

  /** Makes the bytes of a record. */
  encode(values: ValuesOf<Of>): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(roundUp(this.size, 8));
    const view = new DataView(bytes.buffer);
    checkObject(values, "record");
    const given = values as Record<string, unknown>;
    for (const [name, type, at] of this.#fields) type.write(view, at, given[name], name);
    return bytes.subarray(0, this.size);
  }

  /** Reads a record of bytes. */
  decode(bytes: Uint8Array<ArrayBuffer>): ValuesOf<Of> {
    if (bytes.length !== this.size) {
      throw new RangeError(
        `Cannot read a struct of ${this.size} bytes: there are ${bytes.length}`,
      );
    }
    const isAligned = bytes.byteOffset === 0 && bytes.buffer.byteLength % 8 === 0;
    const copy = isAligned ? bytes : padded(bytes);
    const view = new DataView(copy.buffer, 0, this.size);
    return Object.fromEntries(
      this.#fields.map(([name, type, at]) => [name, type.read(view, at)]),
    ) as ValuesOf<Of>;
  }

  /**
   * Shows a record in a segment as an object, whose fields are the memory itself: each is read and written
   * by itself, integers of 32 and 64 bits atomically. A record as a whole needs a `SharedVariable`.
   *
   * @param memory The segment. Once it is detached, the fields throw a ReferenceError.
   * @param offset Where the record begins, a multiple of `align`.
   * @throws {RangeError} If it is not within the segment, or not aligned.
   */
  at(memory: SharedMemory, offset = 0): ValuesOf<Of> {
    if (typeof memory?.size !== "number") {
      throw new TypeError(`Cannot show a struct in ${described(memory)}: expected a SharedMemory`);
    }
    if (memory.size < this.size) {
      const sizes = `${this.size} bytes in a segment of ${memory.size}`;
      throw new RangeError(`Cannot show a struct of ${sizes}: make the segment larger`);
    }
    checkInteger(offset, 0, memory.size - this.size, `show a struct at ${offset}`);
    if (offset % this.align !== 0) {
      throw new RangeError(
        `Cannot show a struct at ${offset}: expected a multiple of ${this.align}`,
      );
    }
    const record = {};
    for (const [name, type, at] of this.#fields) {
      const view = () => new DataView(memory.buffer, offset, this.size);
      Object.defineProperty(record, name, {
        enumerable: true,
        get: () => type.read(view(), at),
        set: (value) => type.write(view(), at, value, name),
      });
    }
    return Object.seal(record) as ValuesOf<Of>;
  }
}

/** Checks the fields of a struct: C has to be able to declare them. */
function checkFields(fields: Fields): void {
  checkObject(fields, "fields");
  for (const [name, type] of Object.entries(fields)) {
    checkName(name, "field");
    if ((type as unknown) instanceof Struct) {
      throw new TypeError(`Cannot nest a struct in field "${name}": list its fields instead`);
    }
    const what = `type of field "${name}"`;
    checkObject(type, what);
    checkInteger(type.size, 1, 2 ** 30, `use ${type.size} as size of field "${name}"`);
    checkInteger(type.align, 1, 8, `align field "${name}" to ${type.align}`);
    for (const part of ["declare", "read", "write"] as const) {
      checkFunction(type[part], `${part} of the ${what}`);
    }
  }
  if (Object.keys(fields).length === 0) throw new TypeError("Cannot make a struct without fields");
}

function checkName(name: string, what: string): void {
  if (typeof name === "string" && /^[A-Za-z_]\w*$/.test(name)) return;
  throw new TypeError(`Cannot name a ${what} ${described(name)}: expected a name as in C`);
}

/**
 * Lays a record out as C does: {@linkcode Struct} says what can be done with it.
 *
 * @example
 * ```ts
 * import { struct, u32, utf8 } from "@sysv/ipc/shared";
 * import { assertEquals } from "@std/assert";
 *
 * const page = struct({ hits: u32, title: utf8(12) });
 * assertEquals([page.size, page.offsets.title], [16, 4]);
 * ```
 *
 * @param fields The types of the fields, by name, in the order of the declaration in C.
 * @returns The layout.
 * @throws {TypeError} If a name is none for C, or a type is no type of a field: structs do not nest.
 */
export function struct<Of extends Fields>(fields: Of): Struct<Of> {
  return new Struct(fields);
}

function roundUp(size: number, align: number): number {
  return Math.ceil(size / align) * align;
}

function padded(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const copy = new Uint8Array(roundUp(bytes.length, 8));
  copy.set(bytes);
  return copy;
}
