/**
 * Several semaphores that change in one atomic step: {@linkcode SemaphoreSet}.
 *
 * @module
 */

import { checkInteger, checkOptions } from "../ffi/check.ts";
import type { TimeoutOptions, WaitOptions } from "../wait/options.ts";
import { checkInternal, internal } from "./internal.ts";
import type { Key } from "./key.ts";
import type { Handle } from "./handle.ts";
import { showAs, shownKey } from "./inspect.ts";
import type { CreateOptions, OpenOrCreateOptions, PermissionOptions } from "./object.ts";
import { Semaphore } from "./semaphore.ts";
import type { SemaphoreOperation } from "./semop.ts";
import {
  checkValues,
  createSet,
  type FoundSet,
  openOrCreateSet,
  openSet,
  type SemaphoreInfo,
  setFromId,
  setInfo,
  wanted,
} from "./set_handle.ts";
import { type SetKind, writeAll } from "./set_tag.ts";
import { operate, operateSync, readValues, tryOperate } from "./steps.ts";

/** Options of {@linkcode SemaphoreSet.open} and {@linkcode SemaphoreSet.fromId}. */
export interface SemaphoreSetOpenOptions {
  /**
   * The kind that the set must have.
   *
   * @default {"set"}
   */
  kind?: SetKind | undefined;
}

/** Options of {@linkcode SemaphoreSet.create}. */
export interface SemaphoreSetCreateOptions extends CreateOptions, SemaphoreSetOpenOptions {
  /** The first values, each from 0 to 32767. */
  values: readonly number[];
}

/** Options of {@linkcode SemaphoreSet.openOrCreate}. */
export interface SemaphoreSetOpenOrCreateOptions
  extends OpenOrCreateOptions, SemaphoreSetOpenOptions {
  /** The first values if it is created, each from 0 to 32767. */
  values: readonly number[];
}

const action = (name: string) => `operate on ${name}`;

/**
 * Several semaphores that change together: any number of operations in one atomic step, which waits until all of
 * them can happen. No process ever sees a part of a step.
 *
 * `values` reads all values at one moment, and sets them, which deletes the undo of all processes. Undo, order and
 * lifetime are as for a {@linkcode Semaphore}.
 *
 * A set has one semaphore more than `size`, the last, which says what the set is. Sets of other
 * programs have none and are used as they are.
 *
 * @example From one account to another
 * ```ts
 * import { SemaphoreSet } from "@sysv/ipc";
 * import { assertEquals } from "@std/assert";
 *
 * using accounts = SemaphoreSet.create({ values: [10, 0] });
 * accounts.operateSync([{ index: 0, delta: -4 }, { index: 1, delta: +4 }]);
 * assertEquals(accounts.values, [6, 4]);
 * ```
 *
 * @see https://man7.org/linux/man-pages/man2/semop.2.html
 */
export class SemaphoreSet implements Disposable {
  /** The number of semaphores. */
  readonly size: number;
  /** Whether the call that returned this handle created the set, which is true in exactly one of all processes. */
  readonly created: boolean;
  readonly #handle: Handle;
  readonly #found: FoundSet;

  /** @ignore */
  constructor(token: symbol, found: FoundSet) {
    checkInternal(token, "SemaphoreSet.create() or its like");
    this.#handle = found.handle;
    this.#found = found;
    this.size = found.shape.size;
    this.created = found.created;
  }

  /** @ignore */
  found(token: symbol): FoundSet {
    checkInternal(token, "a method of the set");
    return this.#found;
  }

  /**
   * Creates a set. Disposing the handle removes it, unless `owner` is false.
   *
   * With a key, a process that dies within `create` leaves a set that only `openOrCreate` can open: it finishes
   * it.
   *
   * @param options The values, kind, key and mode, and whether the handle owns it.
   * @returns A set with these values.
   * @throws {IpcError} EEXIST if the key is taken, ENOSPC if a limit of the system is reached, EINVAL
   * if the system allows no set as large (SEMMSL), E2BIG if it has a key and more values above 0 than
   * one semop can set (SEMOPM less 2, usually 498), EACCES if its mode does not permit this user to
   * initialise it.
   * @throws {RangeError} If a value is not a whole number from 0 to 32767.
   */
  static create(options: SemaphoreSetCreateOptions): SemaphoreSet {
    checkOptions(options);
    const { values, kind, ...others } = options;
    return new SemaphoreSet(internal, createSet(values, wanted(kind), others));
  }

  /**
   * Opens a set that exists.
   *
   * @param key The key or name.
   * @param options The kind that it must have.
   * @returns A set that this handle does not own.
   * @throws {IpcError} ENOENT if there is none, EACCES if its mode does not permit reading, EAGAIN if
   * its creator has not initialised it, EINVAL if it is of another kind.
   */
  static open(key: Key, options?: SemaphoreSetOpenOptions): SemaphoreSet {
    checkOptions(options);
    return new SemaphoreSet(internal, openSet(key, wanted(options?.kind)));
  }

  /**
   * Opens a set, or creates it. Safe against races and crashes: any number of processes may call it at
   * once, die in it at any moment, or remove the set meanwhile. Values that exist stay as they are.
   * If the call fails, an object that it created is removed.
   *
   * A set that its creator left unfinished is finished with these values. So is a set of another program with
   * exactly one semaphore more than `values`, all 0, on which no process has operated yet: the two look the same.
   *
   * @param key The key or name.
   * @param options The values, kind and mode to create it with.
   * @returns A set that this handle does not own; it may be larger than `values`.
   * @throws {IpcError} EPERM if another user created it, EINVAL if it is smaller or of another kind,
   * EAGAIN if it is larger and its creator has not initialised it, EACCES, ENOSPC, E2BIG if it has
   * more values above 0 than one semop can set (SEMOPM less 2, usually 498).
   * @throws {RangeError} If a value is not a whole number from 0 to 32767.
   */
  static openOrCreate(key: Key, options: SemaphoreSetOpenOrCreateOptions): SemaphoreSet {
    checkOptions(options);
    const { values, kind, ...others } = options;
    return new SemaphoreSet(internal, openOrCreateSet(key, values, wanted(kind), others));
  }

  /**
   * Takes a set by the identifier that another process passed.
   *
   * @param id The identifier.
   * @param options The kind that it must have.
   * @returns A set that this handle does not own.
   * @throws {IpcError} EIDRM if no set has it, EACCES if its mode does not permit reading, EAGAIN if
   * its creator has not initialised it, EINVAL if it is of another kind.
   */
  static fromId(id: number, options?: SemaphoreSetOpenOptions): SemaphoreSet {
    checkOptions(options);
    return new SemaphoreSet(internal, setFromId(id, wanted(options?.kind)));
  }

  /** The identifier, which other processes of this machine can pass to `fromId`. */
  get id(): number {
    return this.#handle.id;
  }

  /** The key, undefined for a private set. */
  get key(): number | undefined {
    return this.#handle.key;
  }

  /** The name by which it was opened or created; undefined if that was a number, or there was none. */
  get name(): string | undefined {
    return this.#handle.givenName;
  }

  /** Whether disposing this handle removes the set. */
  get owned(): boolean {
    return this.#handle.owned;
  }

  /**
   * One semaphore of the set. It shares this handle, and ends with it.
   *
   * @param index From 0 to `size - 1`.
   * @returns A semaphore that owns nothing.
   * @throws {RangeError} If the set has no such semaphore.
   * @throws {ReferenceError} If the handle is disposed.
   */
  at(index: number): Semaphore {
    checkInteger(index, 0, this.size - 1, `take semaphore ${index} of ${this.#handle.name}`);
    this.#handle.check();
    return new Semaphore(internal, this.#found, index | 0);
  }

  /**
   * All values at one moment, each from 0 to 32767.
   *
   * Setting them deletes the undo of every process for the set.
   *
   * @throws {IpcError} EIDRM if it is removed, EACCES if its mode does not permit it.
   * @throws {RangeError} If there are more or fewer than `size`, or one is not a whole number from 0 to 32767.
   */
  get values(): number[] {
    return readValues(this.#found);
  }

  set values(values: readonly number[]) {
    checkValues(values);
    const { handle, shape: { size, tag } } = this.#found;
    if (values.length !== size) {
      throw new RangeError(
        `Cannot set the values of ${handle.name}: expected ${size} numbers, got ${values.length}`,
      );
    }
    handle.check();
    writeAll(handle, tag === undefined ? values : [...values, tag]);
  }

  /**
   * Reads all values at one moment, as `values` does.
   *
   * @returns The values, each from 0 to 32767.
   * @throws {IpcError} EIDRM if it is removed, EACCES if its mode does not permit it.
   */
  read(): number[] {
    return this.values;
  }

  /**
   * Performs operations in one atomic step, waiting until all can happen.
   *
   * @param operations They are tried in order, so that `+1` before `-1` of the same semaphore can always happen.
   * @param options The signal and the timeout.
   * @returns A promise that rejects with the reason of the signal, with a DOMException "TimeoutError"
   * if the timeout expires, with a ReferenceError if the handle is disposed: nothing has changed then. It
   * rejects with IpcError EIDRM if the set is removed, ERANGE if a value would pass 32767, E2BIG if there are
   * more than the system allows (SEMOPM, 500), EACCES.
   */
  async operate(operations: readonly SemaphoreOperation[], options?: WaitOptions): Promise<void> {
    return await operate(this.#found, operations, options, action);
  }

  /**
   * Performs operations in one atomic step, blocking the thread until all can happen.
   *
   * @param operations They are tried in order, so that `+1` before `-1` of the same semaphore can always happen.
   * @param options The timeout.
   * @throws {DOMException} "TimeoutError" if the timeout expires: nothing has changed.
   * @throws {IpcError} EINTR if the program handled a signal, EIDRM if it is removed, ERANGE if a
   * value would pass 32767, E2BIG if they are more than the system allows (SEMOPM, 500), EACCES.
   */
  operateSync(operations: readonly SemaphoreOperation[], options?: TimeoutOptions): void {
    operateSync(this.#found, operations, options, action);
  }

  /**
   * Performs operations in one atomic step if all can happen at once; never waits.
   *
   * @param operations They are tried in order.
   * @returns Whether they happened; if not, none did.
   * @throws {IpcError} EIDRM if it is removed, ERANGE if a value would pass 32767, E2BIG, EACCES.
   */
  tryOperate(operations: readonly SemaphoreOperation[]): boolean {
    return tryOperate(this.#found, operations, action);
  }

  /**
   * Describes the set.
   *
   * @returns A snapshot that does not change.
   * @throws {IpcError} EIDRM if it is removed, EACCES if its mode does not permit reading.
   */
  stat(): SemaphoreInfo {
    return setInfo(this.#handle, this.size);
  }

  /**
   * Changes who may use the set.
   *
   * @param permissions The owner, group and mode; what is left out stays as it is.
   * @throws {IpcError} EPERM if this process is neither owner nor creator nor privileged, EINVAL if
   * the user namespace does not know the user or the group, EIDRM if it is removed.
   */
  setPermissions(permissions: PermissionOptions): void {
    this.#handle.setPermissions(permissions);
  }

  /**
   * Removes the set, now: pending waits, in all processes, end with EIDRM.
   *
   * @throws {IpcError} EPERM if this process is neither owner nor creator nor privileged, EIDRM if it
   * is removed already.
   */
  remove(): void {
    this.#handle.remove();
  }

  /**
   * Names the set as errors do: its kind, and its key and name or its identifier.
   *
   * @returns Such as `mutex "my-app/stats" (0x6a5faa7f)`.
   */
  toString(): string {
    return this.#handle.name;
  }

  /** Ends the handle, and removes the set if the handle owns it. Does nothing the second time. */
  [Symbol.dispose](): void {
    this.#handle.dispose();
  }
}

showAs("SemaphoreSet", SemaphoreSet.prototype, (set) => ({
  kind: set.found(internal).kind,
  id: set.id,
  key: shownKey(set.key),
  name: set.name,
  values: () => set.values,
}));
