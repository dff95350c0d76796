/**
 * A value that processes share: {@linkcode SharedVariable}.
 *
 * @module
 */

import { copyOf } from "../ffi/bytes.ts";
import { checkFunction, checkInteger } from "../ffi/check.ts";
import { internal } from "../ipc/internal.ts";
import { showAs, shownKey } from "../ipc/inspect.ts";
import type { Key } from "../ipc/key.ts";
import type { CreateOptions, OpenOrCreateOptions } from "../ipc/object.ts";
import {
  checkTimeoutOptions,
  readWaitOptions,
  type TimeoutOptions,
  type WaitOptions,
} from "../wait/options.ts";
import { turn } from "../wait/turn.ts";
import {
  changesOf,
  type ChangesOptions,
  checkVersion,
  type NewerOptions,
  type Versioned,
} from "./changes.ts";
import { Cells, cellsSize, type Snapshot, writers } from "./cells.ts";
import type { Codec, CodecOptions } from "./codec.ts";
import { type Coded, CodedKind } from "./coded.ts";
import { type Flow, remaining } from "./flow.ts";
import { Members } from "./members.ts";
import type { MembersOptions } from "./pair.ts";
import { Port } from "./port.ts";
import { SharedStructure, unmade } from "./structure.ts";

/** How large a value can be. */
export interface VariableSizeOptions {
  /**
   * The most bytes of a value, as its codec makes them, from 1 to 2^28. The segment has four times as
   * many.
   *
   * @default {1024}
   */
  maxBytes?: number | undefined;
}

/** Options of {@linkcode SharedVariable.open} and {@linkcode SharedVariable.fromId}. */
export interface SharedVariableOpenOptions<Item> extends CodecOptions<Item> {}

/** Options of {@linkcode SharedVariable.create}. */
export interface SharedVariableCreateOptions<Item>
  extends CreateOptions, MembersOptions, VariableSizeOptions, CodecOptions<Item> {}

/** Options of {@linkcode SharedVariable.openOrCreate}. */
export interface SharedVariableOpenOrCreateOptions<Item>
  extends OpenOrCreateOptions, MembersOptions, VariableSizeOptions, CodecOptions<Item> {}

const MAX_BYTES = 2 ** 28;

const kind = new CodedKind<VariableSizeOptions>(
  {
    kind: "variable",
    size: (shape) => shape.limit >= 1 && shape.limit <= MAX_BYTES ? cellsSize(shape) : undefined,
    describe: ({ limit }) => `values of at most ${limit} bytes`,
  },
  ({ maxBytes = 1024 }) => {
    checkInteger(maxBytes, 1, MAX_BYTES, `share values of ${maxBytes} bytes`);
    return { capacity: 1, limit: maxBytes };
  },
);

/**
 * A value in shared memory that all can read, set and wait for.
 *
 * - **Readers** never wait, make no system call, and never see half a value, whatever writers do.
 * - **Writers** take turns. Setting makes no system call unless somebody waits.
 * - **Versions:** each value has a version, one more than the last. Who waits for a newer one than it
 *   knows never misses a change; values that were replaced before it looked are skipped.
 * - **Death:** a writer that is killed in the middle of a write leaves the old value and no lock.
 * - **Lifetime:** the value outlives its processes. Disposing the handle that created it removes it.
 *
 * @example
 * ```ts
 * import { SharedVariable } from "@sysv/ipc/shared";
 * import { assertEquals } from "@std/assert";
 *
 * using config = SharedVariable.create<{ workers: number }>();
 * const { version } = config;
 * const change = config.wait({ newerThan: version });
 * config.setSync({ workers: 4 });
 * assertEquals(await change, { value: { workers: 4 }, version: 1 });
 * await config.update((old) => ({ workers: old!.workers + 1 }));
 * assertEquals(config.get(), { workers: 5 });
 * ```
 */
export class SharedVariable<Item = unknown> extends SharedStructure {
  /** The most bytes of a value. */
  readonly maxBytes: number;
  readonly #members: Members;
  readonly #cells: Cells;
  readonly #port: Port;
  readonly #codec: Codec<Item>;

  static {
    showAs<SharedVariable>("SharedVariable", this.prototype, (variable) => ({
      id: variable.id,
      key: shownKey(variable.key),
      version: () => variable.version,
    }));
  }

  private constructor({ pair, codec }: Coded<Item> = unmade()) {
    const members = new Members(pair, [writers]);
    super(internal, members);
    this.#members = members;
    this.#cells = new Cells(members);
    this.#port = new Port(members, writers);
    this.#codec = codec;
    this.maxBytes = members.shape.limit;
  }

  /**
   * Creates a variable that has no value yet. Disposing the handle removes it, unless `owner` is false.
   *
   * @param options The codec, the most bytes, the key, the mode, who owns it, and how many can take part.
   * @returns A handle to the variable.
   * @throws {IpcError} EEXIST if the key is taken, ENOSPC or ENOMEM if a limit of the system is reached.
   * @throws {RangeError} If the most bytes are not from 1 to 2^28.
   */
  static create<Item = unknown>(
    options: SharedVariableCreateOptions<Item> = {},
  ): SharedVariable<Item> {
    return new SharedVariable(kind.create(options));
  }

  /**
   * Opens a variable that exists.
   *
   * @param key The key or name.
   * @param options The codec.
   * @returns A handle that does not own it.
   * @throws {IpcError} ENOENT if there is none, EINVAL if it is something else or of another codec,
   * EACCES if its mode does not permit it, EAGAIN if its creator has not finished it,
   * EIDRM if it is just being removed.
   */
  static open<Item = unknown>(
    key: Key,
    options: SharedVariableOpenOptions<Item> = {},
  ): SharedVariable<Item> {
    return new SharedVariable(kind.open(key, options));
  }

  /**
   * Opens a variable, or creates it, safely against every race and crash.
   *
   * @param key The key or name.
   * @param options The codec, the most bytes, the mode to create it with, how many can take part, and
   * whether to accept one of another user.
   * @returns A handle that does not own it.
   * @throws {IpcError} EPERM if another user created it, EINVAL if it is something else, of another codec
   * or for values of another size, EACCES, ENOSPC, ENOMEM,
   * EAGAIN if another process is stopped as it makes it.
   */
  static openOrCreate<Item = unknown>(
    key: Key,
    options: SharedVariableOpenOrCreateOptions<Item> = {},
  ): SharedVariable<Item> {
    return new SharedVariable(kind.openOrCreate(key, options));
  }

  /**
   * Takes a variable by the identifier that another process passed.
   *
   * @param id The identifier.
   * @param options The codec.
   * @returns A handle that does not own it.
   * @throws {IpcError} EIDRM if there is none, EINVAL if it is something else or of another codec,
   * EACCES if its mode does not permit it.
   */
  static fromId<Item = unknown>(
    id: number,
    options: SharedVariableOpenOptions<Item> = {},
  ): SharedVariable<Item> {
    return new SharedVariable(kind.fromId(id, options));
  }

  /** The version of the newest value; 0 before there is one. */
  get version(): number {
    this.#members.check();
    return this.#cells.version;
  }

  /**
   * Reads the newest value. Never waits.
   *
   * @returns The value, undefined before there is one.
   */
  get(): Item | undefined {
    return this.read()?.value;
  }

  /**
   * Reads the newest value and its version. Never waits.
   *
   * @returns Both, undefined before there is a value.
   */
  read(): Versioned<Item> | undefined {
    this.#members.check();
    const snapshot = this.#cells.read();
    return snapshot === undefined ? undefined : this.#decode(snapshot);
  }

  #decode({ bytes, version }: Snapshot): Versioned<Item> {
    return { value: this.#codec.decode(bytes), version };
  }

  #encode(value: Item): Uint8Array {
    const bytes = this.#codec.encode(value);
    if (bytes instanceof Uint8Array && bytes.length <= this.maxBytes) return bytes;
    throw this.#members.unfit(bytes, "set");
  }

  /**
   * Sets the value, waiting while others set it.
   *
   * @param value The value.
   * @param options The signal and the timeout.
   * @returns A promise of its version. It rejects as {@linkcode SharedVariable.update} does.
   */
  async set(value: Item, options?: WaitOptions): Promise<number> {
    const limits = readWaitOptions(options);
    const bytes = copyOf(this.#encode(value));
    const write = () => this.#write(() => bytes);
    const version = await this.#port.perform("set", limits, write);
    const due = turn();
    if (due !== undefined) await due;
    return version;
  }

  /**
   * Sets the value, blocking the thread while others set it.
   *
   * @param value The value.
   * @param options The timeout.
   * @returns Its version.
   * @throws {RangeError} If it is longer than `maxBytes`: the old one stays.
   * @throws {IpcError} EDEADLK if this thread is just updating it, EINTR if the program handled a
   * signal, EIDRM if it is removed, ENOSPC if all places are taken.
   * @throws {DOMException} "TimeoutError" if the timeout expires.
   */
  setSync(value: Item, options?: TimeoutOptions): number {
    checkTimeoutOptions(options);
    const bytes = this.#encode(value);
    this.#port.takeSync("set", options);
    return this.#write(() => bytes);
  }

  /**
   * Makes a new value of the old one, while nobody else can set it.
   *
   * @param change Is given the old value, undefined before there is one, and returns the new one, at once and
   * not by a promise. If it fails, the old one stays.
   * @param options The signal and the timeout.
   * @returns A promise of the new value and its version. It rejects with what the function throws, with
   * the reason of the signal, with a DOMException "TimeoutError" if the timeout expires, with a
   * ReferenceError if the handle is disposed, with a RangeError if the value is longer than `maxBytes`,
   * with IpcError EIDRM if the variable is removed, ENOSPC if all places are taken.
   */
  async update(
    change: (old: Item | undefined) => Item,
    options?: WaitOptions,
  ): Promise<Versioned<Item>> {
    checkFunction(change, "change");
    const limits = readWaitOptions(options);
    return await this.#port.perform("update", limits, () => this.#change(change));
  }

  /**
   * Makes a new value of the old one, blocking the thread while others set it.
   *
   * @param change Is given the old value, undefined before there is one, and returns the new one.
   * @param options The timeout.
   * @returns The new value and its version.
   * @throws What the function throws; else what {@linkcode SharedVariable.setSync} does.
   */
  updateSync(
    change: (old: Item | undefined) => Item,
    options?: TimeoutOptions,
  ): Versioned<Item> {
    checkFunction(change, "change");
    checkTimeoutOptions(options);
    this.#port.takeSync("update", options);
    return this.#change(change);
  }

  #change(change: (old: Item | undefined) => Item): Versioned<Item> {
    let value: Item;
    const version = this.#write(() => {
      const old = this.#cells.read();
      value = change(old === undefined ? undefined : this.#codec.decode(old.bytes));
      if (value instanceof Promise) throw this.#unsettled(value);
      return this.#encode(value);
    });
    return { value: value!, version };
  }

  /** The lock is not held while a promise settles, and the value that it would be is not known. */
  #unsettled(value: Promise<unknown>): TypeError {
    value.catch(() => {});
    const expected = "expected a function that returns a value, got a promise";
    return new TypeError(`Cannot update ${this.#members.title}: ${expected}`);
  }

  /** Writes with the lock, and gives it back whatever happens. */
  #write(make: () => Uint8Array): number {
    try {
      const bytes = make();
      // Code of the caller has run.
      this.#members.check();
      return this.#cells.write(bytes);
    } finally {
      this.#port.release();
    }
  }

  /**
   * Waits for a value that is newer.
   *
   * @param options Than which version, the signal and the timeout.
   * @returns A promise of the newest value and its version. It rejects with the reason of the signal,
   * with a DOMException "TimeoutError" if the timeout expires, with a ReferenceError if the handle is
   * disposed, with IpcError EIDRM if the variable is removed, ENOSPC if all places are taken.
   */
  async wait(options: WaitOptions & NewerOptions = {}): Promise<Versioned<Item>> {
    const limits = readWaitOptions(options);
    limits.signal?.throwIfAborted();
    const newerThan = versionOf(options, () => this.version);
    const due = turn();
    if (due !== undefined) await due;
    return this.#newer(this.version, newerThan) ??
      await this.#members.drive(() => this.#awaitNewer(newerThan), WAIT, limits);
  }

  *#awaitNewer(newerThan: number): Flow<Versioned<Item>> {
    for (;;) {
      const { version } = this;
      const newer = this.#newer(version, newerThan);
      if (newer !== undefined) return newer;
      yield* this.#cells.awaitChange(version, this.#members.promises.place);
    }
  }

  /**
   * Waits for a value that is newer, blocking the thread.
   *
   * @param options Than which version, and the timeout.
   * @returns The newest value and its version.
   * @throws {IpcError} EINTR if the program handled a signal, EIDRM if it is removed, ENOSPC if all
   * places are taken.
   * @throws {DOMException} "TimeoutError" if the timeout expires.
   */
  waitSync(options: TimeoutOptions & NewerOptions = {}): Versioned<Item> {
    checkTimeoutOptions(options);
    const members = this.#members;
    const newerThan = versionOf(options, () => this.version);
    const rest = remaining(options);
    for (;;) {
      const { version } = this;
      const newer = this.#newer(version, newerThan);
      if (newer !== undefined) return newer;
      members.enterSync(rest());
      members.driveSync(this.#cells.awaitChange(version, members.seat.place), WAIT, rest());
    }
  }

  #newer(version: number, newerThan: number): Versioned<Item> | undefined {
    if (version > newerThan) return this.read();
    this.#members.refuseRemoved(WAIT);
    return undefined;
  }

  /**
   * The value, and each change from then on: the newest whenever it is asked for one, until the variable
   * is removed.
   *
   * @param options Than which version the first is newer, if that is known already, and the signal.
   * @returns What `for await` takes.
   */
  changes(options: ChangesOptions = {}): AsyncGenerator<Versioned<Item>, void, void> {
    return changesOf((newer) => this.wait(newer), options, (change) => change);
  }

  /** The value, and each change from then on. */
  [Symbol.asyncIterator](): AsyncGenerator<Item, void, void> {
    return changesOf((newer) => this.wait(newer), {}, ({ value }) => value);
  }
}

const WAIT = "wait for a change of";

function versionOf({ newerThan }: NewerOptions, newest: () => number): number {
  return newerThan === undefined ? newest() : checkVersion(newerThan);
}
