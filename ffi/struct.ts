/**
 * C structs: their layouts, and reading and writing their members.
 *
 * @module
 */

/** Where a member of a C struct stands: offset and size in bytes; `signed` where it can be negative. */
export type Field = readonly [offset: number, size: 2 | 4 | 8, sign?: "signed"];

/** A C struct: its size in bytes and its members by their names in C. */
export interface Layout {
  readonly size: number;
  readonly fields: Readonly<Record<string, Field>>;
}

/** Memory for a struct, read by fixed places: no member becomes an object or a BigInt on the way. */
export class Struct {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly #unsigned: Uint32Array;
  readonly #signed: Int32Array;
  readonly #halves: Uint16Array;

  constructor({ size }: Layout) {
    const memory = new ArrayBuffer((size + 7) & ~7);
    this.bytes = new Uint8Array(memory, 0, size);
    this.#unsigned = new Uint32Array(memory);
    this.#signed = new Int32Array(memory);
    this.#halves = new Uint16Array(memory);
  }

  /** Reads one member. Values above 2^53 come out rounded. */
  read(field: Field): number {
    const offset = field[0];
    const words = field[2] === undefined ? this.#unsigned : this.#signed;
    if (field[1] === 4) return words[offset >> 2]!;
    if (field[1] === 2) return this.#halves[offset >> 1]!;
    return this.#unsigned[offset >> 2]! + words[(offset >> 2) + 1]! * 2 ** 32;
  }
}

/** Reads one member of a struct. Unsigned values above 2^53 come out rounded. */
export function readField(
  memory: DataView,
  [offset, size, sign]: Field,
): number {
  if (size === 2) return memory.getUint16(offset, true);
  if (size === 4) {
    return sign ? memory.getInt32(offset, true) : memory.getUint32(offset, true);
  }
  return Number(
    sign ? memory.getBigInt64(offset, true) : memory.getBigUint64(offset, true),
  );
}

/** Writes one member of a struct. */
export function writeField(
  memory: DataView,
  [offset, size]: Field,
  value: number,
): void {
  if (size === 2) memory.setUint16(offset, value, true);
  else if (size === 4) memory.setUint32(offset, value, true);
  else memory.setBigUint64(offset, BigInt.asUintN(64, BigInt(value)), true);
}

/** Reads the members of a struct. */
export function readStruct(
  layout: Layout,
  bytes: Uint8Array,
): Record<string, number> {
  const memory = new DataView(bytes.buffer, bytes.byteOffset, layout.size);
  return Object.fromEntries(
    Object.entries(layout.fields).map((
      [name, field],
    ) => [name, readField(memory, field)]),
  );
}

/** Writes those members of a struct that are given and known. */
export function writeStruct(
  layout: Layout,
  bytes: Uint8Array,
  values: Readonly<Record<string, unknown>>,
): void {
  const memory = new DataView(bytes.buffer, bytes.byteOffset, layout.size);
  for (const [name, value] of Object.entries(values)) {
    const field = layout.fields[name];
    if (field !== undefined && typeof value === "number") {
      writeField(memory, field, value);
    }
  }
}
