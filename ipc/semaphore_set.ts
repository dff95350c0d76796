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
   * What the set has to be.
   *
   * @default {"set"}
   */
  kind?: SetKind | undefined;
}

/** Options of {@linkcode SemaphoreSet.create}. */
export interface SemaphoreSetCreateOptions extends CreateOptions, SemaphoreSetOpenOptions {
  /** The values to start with, each from 0 to 32767. */
  values: readonly number[];
}

/** Options of {@linkcode SemaphoreSet.openOrCreate}. */
export interface SemaphoreSetOpenOrCreateOptions
  extends OpenOrCreateOptions, SemaphoreSetOpenOptions {
  /** The values to start with if it is created, each from 0 to 32767. */
  values: readonly number[];
}

const action = (name: string) => `operate on ${name}`;

/**
 * Several semaphores that change together: any number of operations in one atomic step, which waits
 * until all of them can happen, and which nobody ever sees half done.
 *
 * What is said of {@linkcode Semaphore} on undo, order and lifetime holds for sets.
 *
 * A set has one semaphore more than `size`, the last, which tells this module what the set is. Sets
 * of other programs have none and are taken whole, as they are.
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
  /** Whether the call that returned this handle created the set: of all `openOrCreate`, one did. */
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
   * With a key, a process that dies within `create` leaves a set that nobody can open but
   * `openOrCreate`, which finishes it.
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
   * @param options What it has to be.
   * @returns A set that this handle does not own.
   * @throws {IpcError} ENOENT if there is none, EACCES if its mode does not permit reading, EAGAIN if
   * its creator has not initialised it, EINVAL if it is of another kind.
   */
  static open(key: Key, options?: SemaphoreSetOpenOptions): SemaphoreSet {
    checkOptions(options);
    return new SemaphoreSet(internal, openSet(key, wanted(options?.kind)));
  }

  /**
   * Opens a set, or creates it. Safe against every race: any number of processes may call it at
   * once, die in it at any moment, or remove the set meanwhile. Values that exist are left alone.
   * What it made is gone again if it fails.
   *
   * A set that its creator left unfinished is finished with these values. So is another program's if
   * it has exactly one semaphore more than `values`, all 0, and nobody has operated on it: the two
   * cannot be told apart.
   *
   * @param key The key or name.
   * @param options The values, kind and mode to create it with.
   * @returns A set that this handle does not own; it may be larger than `values`.
   * @throws {IpcError} EPERM if another user made it, EINVAL if it is smaller or of another kind,
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
   * Takes the identifier of a set that another process made, such as a parent.
   *
   * @param id The identifier.
   * @param options What it has to be.
   * @returns A set that this handle does not own.
   * @throws {IpcError} EIDRM if no set has it, EACCES if its mode does not permit reading, EAGAIN if
   * its creator has not initialised it, EINVAL if it is of another kind.
   */
  static fromId(id: number, options?: SemaphoreSetOpenOptions): SemaphoreSet {
    checkOptions(options);
    return new SemaphoreSet(internal, setFromId(id, wanted(options?.kind)));
  }

  /** The identifier, by which other processes of this machine can take it. */
  get id(): number {
    return this.#handle.id;
  }

  /** The key, undefined for a private set. */
  get key(): number | undefined {
    return this.#handle.key;
  }

  /** The name by which it was opened or created; undefined if that was a number, or nothing. */
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
    return new Semaphore(internal, this.#found, index);
  }

  /**
   * All values at one moment, each from 0 to 32767.
   *
   * Setting them wipes the undo of every process for the set.
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
   * if the time is up, with a ReferenceError if the handle is disposed: nothing has changed then. And
   * with IpcError EIDRM if the set is removed, ERANGE if a value would pass 32767, E2BIG if they are
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
   * @throws {DOMException} "TimeoutError" if the time is up: nothing has changed.
   * @throws {IpcError} EINTR if the program handled a signal, EIDRM if it is removed, ERANGE if a
   * value would pass 32767, E2BIG if they are more than the system allows (SEMOPM, 500), EACCES.
   */
  operateSync(operations: readonly SemaphoreOperation[], options?: TimeoutOptions): void {
    operateSync(this.#found, operations, options, action);
  }

  /**
   * Performs operations in one atomic step if all can happen at once.
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
   * Removes the set, now: whoever waits gets EIDRM.
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
