/**
 * Named numbers that processes count with: {@linkcode SharedCounters}.
 *
 * @module
 */

import { checkObject, checkWord, numberError } from "../ffi/check.ts";
import { internal } from "../ipc/internal.ts";
import { showAs, shownKey } from "../ipc/inspect.ts";
import type { Key } from "../ipc/key.ts";
import type { CreateOptions, OpenOrCreateOptions } from "../ipc/object.ts";
import { hashOf, LINE } from "./layout.ts";
import { Members } from "./members.ts";
import {
  createPair,
  openOrCreatePair,
  openPair,
  type Pair,
  pairFromId,
  type Rules,
  type Shape,
} from "./pair.ts";
import { SharedStructure, unmade } from "./structure.ts";

/** How large a counter is: 32 bits as a number, 64 bits as a bigint; both wrap around. */
export type CounterType = "i32" | "u32" | "i64" | "u64";

/** The names of counters, and how large each is. */
export type CounterTypes = Readonly<Record<string, CounterType>>;

/** What a counter of this type holds. */
export type CounterValue<Type extends CounterType> = Type extends "i64" | "u64" ? bigint : number;

/** Options of {@linkcode SharedCounters.create}. */
export interface SharedCountersCreateOptions<Of extends CounterTypes> extends CreateOptions {
  /** The names of the counters, and how large each is. */
  counters: Of;
}

/** Options of {@linkcode SharedCounters.openOrCreate}. */
export interface SharedCountersOpenOrCreateOptions<Of extends CounterTypes>
  extends OpenOrCreateOptions {
  /** The names of the counters, and how large each is. */
  counters: Of;
}

const TYPES: readonly CounterType[] = ["i32", "u32", "i64", "u64"];
/** Each counter has a line of a processor's cache of its own. */
const COUNTER_BYTES = 64;
const TABLE = 4 * LINE;
const MAX_COUNTERS = 4096;
const MAX_TABLE = 2 ** 20;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Where the first counter is, behind a table of so many bytes. */
function firstAt(table: number): number {
  return (TABLE + table + 127) & ~127;
}

function rulesOf(table?: Uint8Array): Rules {
  return {
    kind: "counters",
    size({ capacity, limit }) {
      const isPossible = capacity >= 1 && capacity <= MAX_COUNTERS && limit >= 1 &&
        limit <= MAX_TABLE;
      return isPossible ? firstAt(limit) + capacity * COUNTER_BYTES : undefined;
    },
    describe: ({ capacity }) => `${capacity} counters`,
    prepare(words) {
      new Uint8Array(words.buffer, words.byteOffset + TABLE).set(table!);
    },
  };
}

/** A line for each counter: its type, a space, its name. */
function tableOf(counters: CounterTypes): Uint8Array {
  checkObject(counters, "counters");
  const names = Object.keys(counters);
  if (names.length === 0) throw new TypeError("Cannot make counters: expected at least one name");
  for (const name of names) {
    checkWord(counters[name]!, TYPES, `type of counter "${name}"`);
    if (name.includes("\n")) throw new TypeError("Cannot name a counter with a line break");
    if (!name.isWellFormed()) {
      throw new TypeError(`Cannot name a counter "${name}": it has half a surrogate pair`);
    }
  }
  return encoder.encode(names.map((name) => `${counters[name]} ${name}\n`).join(""));
}

function shapeOf(table: Uint8Array, counters: CounterTypes): Shape {
  const format = hashOf(decoder.decode(table)) || 1;
  const capacity = Object.keys(counters).length;
  const shape: Shape = { kind: "counters", capacity, limit: table.length, format, places: 1 };
  if (rulesOf().size(shape) !== undefined) return shape;
  const most = `the most are ${MAX_COUNTERS}, with names of ${MAX_TABLE} bytes together`;
  throw new RangeError(`Cannot make ${capacity} counters: ${most}`);
}

interface Counter {
  readonly type: CounterType;
  readonly array: Int32Array | Uint32Array | BigInt64Array | BigUint64Array;
}

/** The arrays of numbers and of bigints have the same operations, but not to TypeScript. */
type Numbers = Int32Array;

/**
 * Named counters in shared memory, each of which changes atomically, in any process.
 *
 * - **Cost:** an operation is one atomic instruction; nobody ever waits.
 * - **Death:** a killed process leaves what it has counted. What must be taken back when it dies is for
 *   a `Gauge`.
 * - **Wrap:** beyond its largest value a counter goes on with its least.
 * - **Names** stand in the segment: who opens it finds them there.
 *
 * @example
 * ```ts
 * import { SharedCounters } from "@sysv/ipc/shared";
 * import { assertEquals } from "@std/assert";
 *
 * using counters = SharedCounters.create({ counters: { requests: "u32", bytes: "u64" } });
 * using same = SharedCounters.fromId(counters.id);
 * counters.add("requests", 1);
 * counters.add("bytes", 1500n);
 * assertEquals(same.values(), { requests: 1, bytes: 1500n });
 * ```
 */
export class SharedCounters<Of extends CounterTypes = CounterTypes> extends SharedStructure {
  readonly #members: Members;
  readonly #counters = new Map<string, Counter>();

  static {
    showAs<SharedCounters>("SharedCounters", this.prototype, (counters) => ({
      id: counters.id,
      key: shownKey(counters.key),
      counters: () => counters.values(),
    }));
  }

  private constructor(pair: Pair = unmade()) {
    const members = new Members(pair, []);
    super(internal, members);
    this.#members = members;
    const { capacity, limit } = members.shape;
    const { buffer } = members.bytes;
    const table = members.bytes.slice(TABLE, TABLE + limit);
    const lines = decoder.decode(table).split("\n").slice(0, capacity);
    for (const [index, line] of lines.entries()) {
      const type = line.slice(0, 3) as CounterType;
      if (!TYPES.includes(type)) {
        members.dispose();
        throw members.error("EINVAL", "open", "its table of names is spoilt");
      }
      const at = firstAt(limit) + index * COUNTER_BYTES;
      this.#counters.set(line.slice(4), { type, array: arrayOf(type, buffer, at) });
    }
  }

  /**
   * Creates counters, all 0. Disposing the handle removes them, unless `owner` is false.
   *
   * @param options Their names and types, the key, the mode, and who owns them.
   * @returns A handle to the counters.
   * @throws {IpcError} EEXIST if the key is taken, ENOSPC or ENOMEM if a limit of the system is reached.
   */
  static create<const Of extends CounterTypes>(
    options: SharedCountersCreateOptions<Of>,
  ): SharedCounters<Of> {
    checkObject(options, "options");
    const table = tableOf(options.counters);
    return new SharedCounters(
      createPair(rulesOf(table), shapeOf(table, options.counters), options),
    );
  }

  /**
   * Opens counters that exist, by whatever names they have.
   *
   * @param key The key or name.
   * @returns A handle that does not own them.
   * @throws {IpcError} ENOENT if there are none, EINVAL if it is something else, EACCES if its mode does
   * not permit it, EAGAIN if their creator has not finished them,
   * EIDRM if they are just being removed.
   */
  static open<Of extends CounterTypes = CounterTypes>(key: Key): SharedCounters<Of> {
    return new SharedCounters(openPair(rulesOf(), key, 0));
  }

  /**
   * Opens counters, or creates them, safely against every race and crash.
   *
   * @param key The key or name.
   * @param options Their names and types, the mode to create them with, and whether counters that
   * another user created will do.
   * @returns A handle that does not own them.
   * @throws {IpcError} EPERM if another user made them, EINVAL if it is something else or has other names
   * or types, EACCES, ENOSPC, ENOMEM,
   * EAGAIN if another process is stopped as it makes it.
   */
  static openOrCreate<const Of extends CounterTypes>(
    key: Key,
    options: SharedCountersOpenOrCreateOptions<Of>,
  ): SharedCounters<Of> {
    checkObject(options, "options");
    const table = tableOf(options.counters);
    const shape = shapeOf(table, options.counters);
    return new SharedCounters(openOrCreatePair(rulesOf(table), shape, key, options));
  }

  /**
   * Takes the identifier of counters that another process made.
   *
   * @param id The identifier.
   * @returns A handle that does not own them.
   * @throws {IpcError} EIDRM if there are none, EINVAL if it is something else, EACCES if its mode does not
   * permit it.
   */
  static fromId<Of extends CounterTypes = CounterTypes>(id: number): SharedCounters<Of> {
    return new SharedCounters(pairFromId(rulesOf(), id, 0));
  }

  /** The names, in their order. */
  get names(): (keyof Of & string)[] {
    return [...this.#counters.keys()];
  }

  /**
   * Adds to a counter.
   *
   * @param name Which.
   * @param by How much; it can be negative.
   * @returns What it was before.
   */
  add<Name extends keyof Of & string>(
    name: Name,
    by: CounterValue<Of[Name]>,
  ): CounterValue<Of[Name]> {
    const counter = this.#of(name, by);
    return Atomics.add(counter, 0, by as number) as CounterValue<Of[Name]>;
  }

  /**
   * Reads a counter.
   *
   * @param name Which.
   */
  load<Name extends keyof Of & string>(name: Name): CounterValue<Of[Name]> {
    return Atomics.load(this.#find(name).array as Numbers, 0) as CounterValue<Of[Name]>;
  }

  /**
   * Sets a counter.
   *
   * @param name Which.
   * @param value To what.
   */
  store<Name extends keyof Of & string>(name: Name, value: CounterValue<Of[Name]>): void {
    Atomics.store(this.#of(name, value), 0, value as number);
  }

  /**
   * Sets a counter if it is as expected.
   *
   * @param name Which.
   * @param expected What it has to be.
   * @param value To what.
   * @returns What it was before: what was expected, if it was set.
   */
  compareExchange<Name extends keyof Of & string>(
    name: Name,
    expected: CounterValue<Of[Name]>,
    value: CounterValue<Of[Name]>,
  ): CounterValue<Of[Name]> {
    const counter = this.#of(name, expected);
    this.#of(name, value);
    const before = Atomics.compareExchange(counter, 0, expected as number, value as number);
    return before as CounterValue<Of[Name]>;
  }

  /** Reads all counters, one after the other. */
  values(): { -readonly [Name in keyof Of]: CounterValue<Of[Name]> } {
    const values = this.names.map((name) => [name, this.load(name)]);
    return Object.fromEntries(values) as ReturnType<SharedCounters<Of>["values"]>;
  }

  /** Finds a counter that is to be changed by a value, or to one. */
  #of(name: string, value: number | bigint): Numbers {
    const { type, array } = this.#find(name);
    const isLong = type === "i64" || type === "u64";
    if (isLong ? typeof value === "bigint" : Number.isInteger(value)) return array as Numbers;
    const action = `Cannot change counter "${name}" by ${String(value)}`;
    if (isLong) throw new TypeError(`${action}: expected a bigint`);
    throw numberError(value, `${action}: expected a whole number`);
  }

  #find(name: string): Counter {
    this.#members.check();
    const counter = this.#counters.get(name);
    if (counter !== undefined) return counter;
    throw new RangeError(
      `Cannot find a counter "${name}": there are ${[...this.#counters.keys()].join(", ")}`,
    );
  }
}

function arrayOf(type: CounterType, buffer: ArrayBuffer, at: number): Counter["array"] {
  if (type === "i32") return new Int32Array(buffer, at, 1);
  if (type === "u32") return new Uint32Array(buffer, at, 1);
  return type === "i64" ? new BigInt64Array(buffer, at, 1) : new BigUint64Array(buffer, at, 1);
}
