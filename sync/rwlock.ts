/**
 * Many readers or one writer: {@linkcode RwLock}.
 *
 * @module
 */

import { checkWord } from "../ffi/check.ts";
import { checkTimeout, type TimeoutOptions, type WaitOptions } from "../wait/options.ts";
import type { Key } from "../ipc/key.ts";
import type { CreateOptions, OpenOrCreateOptions } from "../ipc/object.ts";
import { SemaphoreSet } from "../ipc/semaphore_set.ts";
import type { SemaphoreArray } from "./array.ts";
import { rwlock as protocol } from "./protocols.ts";
import { type Guard, Structure } from "./structure.ts";

/** Whom a lock lets go first. */
export interface RwLockOptions {
  /**
   * `"writers"`: who comes to read waits for the writers that wait. `"readers"`: readers go on as
   * long as nobody writes, and writers may wait for ever. What counts is the handle of the reader.
   *
   * @default {"writers"}
   */
  prefer?: "writers" | "readers" | undefined;
}

/** Options of {@linkcode RwLock.create}. */
export interface RwLockCreateOptions extends CreateOptions, RwLockOptions {}

/** Options of {@linkcode RwLock.openOrCreate}. */
export interface RwLockOpenOrCreateOptions extends OpenOrCreateOptions, RwLockOptions {}

/** Who holds a lock, and who waits to write. */
export interface RwLockState {
  /** How many read. */
  readonly readers: number;
  /** Whether somebody writes. */
  readonly writing: boolean;
  /** How many wait to write. */
  readonly queued: number;
}

const kind = "rwlock";
const { values } = protocol;

/**
 * A lock that many readers or one writer hold at a time, in any process.
 *
 * - **Death:** a reader or writer that dies, by SIGKILL too, lets go at once; so does one that waits
 *   to write. What a dead writer has left half changed is not told: a {@linkcode Mutex} does.
 * - **Order:** writers go first unless told otherwise.
 * - **Threads:** the hold belongs to the process.
 *
 * Layout: semaphore 0 counts readers, 1 the writer, 2 who waits to write. To read: `[(1, 0), (2, 0),
 * (0, +1, UNDO)]`, then `(0, -1, UNDO)`. To write: `(2, +1, UNDO)`, `[(0, 0), (1, 0), (1, +1, UNDO),
 * (2, -1, UNDO)]`, then `(1, -1, UNDO)`.
 *
 * @example
 * ```ts
 * import { RwLock } from "@sysv/ipc/sync";
 * import { assertEquals } from "@std/assert";
 *
 * using lock = RwLock.create();
 * {
 *   using _one = await lock.read();
 *   using _other = await lock.read();
 *   assertEquals(lock.tryWrite(), undefined);
 * }
 * using _writer = await lock.write();
 * assertEquals(lock.state(), { readers: 0, writing: true, queued: 0 });
 * ```
 */
export class RwLock implements Disposable {
  /** Whom this handle lets go first when it reads. */
  readonly prefer: "writers" | "readers";
  readonly #structure: Structure;

  /**
   * Makes a lock of three semaphores that start with 0.
   *
   * @param array The semaphores: with those of another engine than the kernel, only `read`, `write` and
   * `remove` work.
   * @param options Whom it lets go first.
   */
  constructor(array: SemaphoreArray, options: RwLockOptions = {}) {
    this.prefer = preferOf(options);
    this.#structure = new Structure(array, kind);
  }

  /**
   * Creates a lock. Disposing the handle removes it, unless `owner` is false.
   *
   * @param options The key, the mode, who owns it, and whom it lets go first.
   * @returns A handle to a lock that nobody holds.
   * @throws {IpcError} EEXIST if the key is taken, ENOSPC if a limit of the system is reached.
   */
  static create(options: RwLockCreateOptions = {}): RwLock {
    preferOf(options);
    return new RwLock(SemaphoreSet.create({ ...options, values, kind }), options);
  }

  /**
   * Opens a lock that exists.
   *
   * @param key The key or name.
   * @param options Whom it lets go first.
   * @returns A handle that does not own it.
   * @throws {IpcError} ENOENT if there is none, EINVAL if it is something else, EACCES if its mode does
   * not permit reading, EAGAIN if its creator has not finished it: `openOrCreate` does.
   */
  static open(key: Key, options: RwLockOptions = {}): RwLock {
    preferOf(options);
    return new RwLock(SemaphoreSet.open(key, { kind }), options);
  }

  /**
   * Opens a lock, or creates it, safely against every race and crash.
   *
   * @param key The key or name.
   * @param options The mode to create it with, whether that of another user will do, and whom it
   * lets go first.
   * @returns A handle that does not own it.
   * @throws {IpcError} EPERM if another user made it, EINVAL if it is something else, EACCES, ENOSPC.
   */
  static openOrCreate(key: Key, options: RwLockOpenOrCreateOptions = {}): RwLock {
    preferOf(options);
    return new RwLock(SemaphoreSet.openOrCreate(key, { ...options, values, kind }), options);
  }

  /**
   * Takes the identifier of a lock that another process made.
   *
   * @param id The identifier.
   * @param options Whom it lets go first.
   * @returns A handle that does not own it.
   * @throws {IpcError} EIDRM if there is none, EINVAL if it is something else, EACCES if its mode does
   * not permit reading.
   */
  static fromId(id: number, options: RwLockOptions = {}): RwLock {
    preferOf(options);
    return new RwLock(SemaphoreSet.fromId(id, { kind }), options);
  }

  /** The identifier, by which other processes of this machine can take it. */
  get id(): number {
    return this.#structure.set.id;
  }

  /** The key, undefined for a private lock. */
  get key(): number | undefined {
    return this.#structure.set.key;
  }

  /**
   * Tells who holds it and who waits to write, at one moment.
   *
   * @returns A snapshot.
   * @throws {IpcError} EIDRM if it is removed.
   */
  state(): RwLockState {
    const [readers, writer, queued] = this.#structure.set.values;
    return { readers: readers!, writing: writer !== 0, queued: queued! };
  }

  /**
   * Waits until it may read.
   *
   * @param options The signal and the timeout.
   * @returns A promise of a guard, to release with `using`. It rejects with the reason of the signal,
   * with a DOMException "TimeoutError" if the time is up, with a ReferenceError if the handle is
   * disposed, with IpcError EIDRM if the lock is removed.
   */
  async read(options?: WaitOptions): Promise<Guard> {
    await this.#structure.array.operate(this.#toRead, options);
    return this.#structure.guard(protocol.endRead);
  }

  /**
   * Blocks the thread until it may read.
   *
   * @param options The timeout.
   * @returns A guard, to release with `using`.
   * @throws {IpcError} EINTR if the program handled a signal, EIDRM if the lock is removed.
   * @throws {DOMException} "TimeoutError" if the time is up.
   */
  readSync(options?: TimeoutOptions): Guard {
    this.#structure.set.operateSync(this.#toRead, options);
    return this.#structure.guard(protocol.endRead);
  }

  /**
   * Reads if it may at once.
   *
   * @returns A guard, to release with `using`, or undefined.
   * @throws {IpcError} EIDRM if the lock is removed.
   */
  tryRead(): Guard | undefined {
    const may = this.#structure.set.tryOperate(this.#toRead);
    return may ? this.#structure.guard(protocol.endRead) : undefined;
  }

  /**
   * Waits until it may write.
   *
   * @param options The signal and the timeout.
   * @returns A promise of a guard, to release with `using`. It rejects with the reason of the signal,
   * with a DOMException "TimeoutError" if the time is up, with a ReferenceError if the handle is
   * disposed, with IpcError EIDRM if the lock is removed.
   */
  async write(options?: WaitOptions): Promise<Guard> {
    checkTimeout(options?.timeout);
    options?.signal?.throwIfAborted();
    const { array } = this.#structure;
    if (!await array.tryOperate(protocol.writeAtOnce)) {
      await array.operate(protocol.announce);
      try {
        await array.operate(protocol.write, options);
      } catch (error) {
        this.#structure.giveBack(protocol.withdraw);
        throw error;
      }
    }
    return this.#structure.guard(protocol.endWrite);
  }

  /**
   * Blocks the thread until it may write.
   *
   * @param options The timeout.
   * @returns A guard, to release with `using`.
   * @throws {IpcError} EINTR if the program handled a signal, EIDRM if the lock is removed.
   * @throws {DOMException} "TimeoutError" if the time is up.
   */
  writeSync(options?: TimeoutOptions): Guard {
    checkTimeout(options?.timeout);
    const { set } = this.#structure;
    if (!set.tryOperate(protocol.writeAtOnce)) {
      set.operateSync(protocol.announce);
      try {
        set.operateSync(protocol.write, options);
      } catch (error) {
        this.#structure.giveBack(protocol.withdraw);
        throw error;
      }
    }
    return this.#structure.guard(protocol.endWrite);
  }

  /**
   * Writes if it may at once.
   *
   * @returns A guard, to release with `using`, or undefined.
   * @throws {IpcError} EIDRM if the lock is removed.
   */
  tryWrite(): Guard | undefined {
    const may = this.#structure.set.tryOperate(protocol.writeAtOnce);
    return may ? this.#structure.guard(protocol.endWrite) : undefined;
  }

  /**
   * Removes the lock, now: whoever waits gets EIDRM.
   *
   * @throws {IpcError} EPERM if this process is neither owner nor creator nor privileged, EIDRM if it
   * is removed already.
   */
  remove(): void {
    this.#structure.remove();
  }

  /** Ends the handle, and removes the lock if the handle owns it. A guard stays good. */
  [Symbol.dispose](): void {
    this.#structure.dispose();
  }

  get #toRead(): typeof protocol.read | typeof protocol.readAfterWriters {
    return this.prefer === "writers" ? protocol.readAfterWriters : protocol.read;
  }
}

/** Checked before anything is made or opened. */
function preferOf({ prefer = "writers" }: RwLockOptions): "writers" | "readers" {
  return checkWord(prefer, ["writers", "readers"], "prefer");
}
