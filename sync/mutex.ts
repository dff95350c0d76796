/**
 * Mutual exclusion that survives the death of its holder: {@linkcode Mutex}.
 *
 * @module
 */

import { checkTimeout, checkWord, type TimeoutOptions, type WaitOptions } from "../check.ts";
import { errors } from "../ffi/abi.ts";
import { IpcError } from "../ffi/error.ts";
import type { Key } from "../key.ts";
import type { CreateOptions, OpenOrCreateOptions } from "../object.ts";
import { SemaphoreSet } from "../semaphore.ts";
import type { SemaphoreArray } from "./array.ts";
import { mutex as protocol } from "./protocols.ts";
import { Structure } from "./structure.ts";

/** What a mutex does when a holder has died. */
export interface MutexOptions {
  /**
   * `"report"`: the next holder gets the mutex and is told. `"refuse"`: nobody gets it until someone
   * calls `recover`.
   *
   * @default {"report"}
   */
  onDeath?: "report" | "refuse" | undefined;
}

/** Options of {@linkcode Mutex.create}. */
export interface MutexCreateOptions extends CreateOptions, MutexOptions {}

/** Options of {@linkcode Mutex.openOrCreate}. */
export interface MutexOpenOrCreateOptions extends OpenOrCreateOptions, MutexOptions {}

const kind = "mutex";
const { values } = protocol;

/** The sets whose mutex this thread holds. */
const heldHere = new Set<number>();

/** The hold of a {@linkcode Mutex}. */
export class MutexGuard implements Disposable {
  /**
   * How many holders have died since the mutex was given back last: 0 if all is well, else what it
   * protects may be half changed. Releasing says that it is right again.
   */
  readonly abandoned: number;
  readonly #id: number | undefined;
  #structure: Structure | undefined;

  /** Creates a guard of a mutex that was just taken. */
  constructor(structure: Structure, dirty: number) {
    const { array } = structure;
    this.#structure = structure;
    this.#id = array instanceof SemaphoreSet ? array.id : undefined;
    this.abandoned = dirty - 1;
    if (this.#id !== undefined) heldHere.add(this.#id);
  }

  /** Unlocks. Does nothing the second time, nor once the mutex is removed. */
  release(): void {
    const structure = this.#structure;
    if (structure === undefined) return;
    this.#structure = undefined;
    if (this.#id !== undefined) heldHere.delete(this.#id);
    structure.giveBack(protocol.release(this.abandoned + 1));
  }

  /** Unlocks, so that `using` does. */
  [Symbol.dispose](): void {
    this.release();
  }
}

/**
 * A lock that one holder has at a time, in any process.
 *
 * - **Death:** a holder that dies, by SIGKILL too, lets it go at once, and the next one is told by
 *   `abandoned`; if that one dies before it has released, the one after is told of both.
 * - **Order:** who waits longest is next.
 * - **Cost:** an uncontended lock and unlock is two system calls.
 * - **Threads:** the hold belongs to the process. A thread that ends without releasing keeps it
 *   locked until the process ends.
 *
 * Layout: semaphore 0 is 1 if it is free, semaphore 1 counts who took it since it was clean. To lock:
 * `[(0, -1, UNDO), (1, +1)]`; then semaphore 1, less 1, is how many died. To unlock, with d in
 * semaphore 1: `[(1, -d), (0, +1, UNDO)]`.
 *
 * @example
 * ```ts
 * import { Mutex } from "@sysv/ipc/sync";
 * import { assertEquals } from "@std/assert";
 *
 * using mutex = Mutex.create();
 * {
 *   using guard = await mutex.lock();
 *   assertEquals(guard.abandoned, 0);
 *   assertEquals(mutex.tryLock(), undefined);
 * }
 * assertEquals(mutex.locked, false);
 * ```
 */
export class Mutex implements Disposable {
  /** What it does when a holder has died. */
  readonly onDeath: "report" | "refuse";
  readonly #structure: Structure;

  /** Makes a mutex of semaphores that start with 1 and 0. */
  constructor(array: SemaphoreArray, options: MutexOptions = {}) {
    this.onDeath = onDeathOf(options);
    this.#structure = new Structure(array, kind);
  }

  /** Creates a mutex. Disposing the handle removes it, unless `owner` is false. */
  static create(options: MutexCreateOptions = {}): Mutex {
    onDeathOf(options);
    return new Mutex(SemaphoreSet.create({ ...options, values, kind }), options);
  }

  /** Opens a mutex that exists. */
  static open(key: Key, options?: MutexOptions): Mutex {
    return new Mutex(SemaphoreSet.open(key, { kind }), options);
  }

  /** Opens a mutex, or creates it, safely against every race and crash. */
  static openOrCreate(key: Key, options: MutexOpenOrCreateOptions = {}): Mutex {
    onDeathOf(options);
    return new Mutex(SemaphoreSet.openOrCreate(key, { ...options, values, kind }), options);
  }

  /** Takes the identifier of a mutex that another process made. */
  static fromId(id: number, options?: MutexOptions): Mutex {
    return new Mutex(SemaphoreSet.fromId(id, { kind }), options);
  }

  /** The identifier, by which other processes of this machine can take it. */
  get id(): number {
    return this.#structure.set.id;
  }

  /** The key, undefined for a private mutex. */
  get key(): number | undefined {
    return this.#structure.set.key;
  }

  /** Whether somebody holds it. */
  get locked(): boolean {
    return this.#structure.set.values[protocol.lock] === 0;
  }

  /** The process that holds it; undefined if nobody does. */
  get ownerPid(): number | undefined {
    return this.#structure.holderOf(protocol.lock);
  }

  /**
   * Locks, waiting for its turn: behind a holder of this thread, too.
   *
   * @param options The signal and the timeout.
   * @returns A promise of a guard, to release with `using`. It rejects with the reason of the signal,
   * with a DOMException "TimeoutError" if the time is up, with IpcError EIDRM if the mutex is
   * removed, EOWNERDEAD if a holder has died and the mutex refuses then.
   */
  async lock(options?: WaitOptions): Promise<MutexGuard> {
    checkTimeout(options?.timeout);
    options?.signal?.throwIfAborted();
    const { array } = this.#structure;
    if (await array.tryOperate(protocol.takeClean)) return this.#guard(1);
    await array.operate(protocol.take, options);
    return this.#accept(await this.#dirty());
  }

  /**
   * Locks, blocking the thread until it can.
   *
   * @param options The timeout.
   * @returns A guard, to release with `using`.
   * @throws {IpcError} EDEADLK if this thread holds it, EOWNERDEAD if a holder has died and the mutex
   * refuses then, EINTR if the program handled a signal, EIDRM if it is removed.
   * @throws {DOMException} "TimeoutError" if the time is up.
   */
  lockSync(options?: TimeoutOptions): MutexGuard {
    checkTimeout(options?.timeout);
    const { set } = this.#structure;
    this.#refuseDeadlock(set.id);
    if (set.tryOperate(protocol.takeClean)) return this.#guard(1);
    set.operateSync(protocol.take, options);
    return this.#accept(set.values[protocol.dirty]!);
  }

  /**
   * Locks if it is free.
   *
   * @returns A guard, to release with `using`, or undefined.
   * @throws {IpcError} EOWNERDEAD if a holder has died and the mutex refuses then, EIDRM if it is removed.
   */
  tryLock(): MutexGuard | undefined {
    const { set } = this.#structure;
    if (set.tryOperate(protocol.takeClean)) return this.#guard(1);
    if (!set.tryOperate(protocol.take)) return undefined;
    return this.#accept(set.values[protocol.dirty]!);
  }

  /**
   * Locks a mutex whose holder has died, though it refuses: releasing says that all is right again.
   *
   * @param options The signal and the timeout.
   * @returns A promise of a guard; it rejects as that of `lock`.
   */
  async recover(options?: WaitOptions): Promise<MutexGuard> {
    const { array } = this.#structure;
    await array.operate(protocol.take, options);
    return this.#guard(await this.#dirty());
  }

  /**
   * Does the same, blocking the thread.
   *
   * @param options The timeout.
   * @throws {IpcError} EDEADLK if this thread holds it.
   */
  recoverSync(options?: TimeoutOptions): MutexGuard {
    checkTimeout(options?.timeout);
    const { set } = this.#structure;
    this.#refuseDeadlock(set.id);
    set.operateSync(protocol.take, options);
    return this.#guard(set.values[protocol.dirty]!);
  }

  /** Removes the mutex, now: whoever waits gets EIDRM. */
  remove(): void {
    this.#structure.array.remove();
  }

  /** Ends the handle, and removes the mutex if the handle owns it. A guard stays good. */
  [Symbol.dispose](): void {
    this.#structure.dispose();
  }

  #refuseDeadlock(id: number): void {
    if (!heldHere.has(id)) return;
    throw this.#error(errors.EDEADLK, "lock", "this thread holds it: release it first");
  }

  /** How many took it since it was clean; gives it back if that cannot be told, as the handle is disposed. */
  async #dirty(): Promise<number> {
    const structure = this.#structure;
    try {
      return (await structure.array.read())[protocol.dirty]!;
    } catch (error) {
      structure.giveBack(protocol.putBack);
      throw error;
    }
  }

  #accept(dirty: number): MutexGuard {
    if (dirty === 1 || this.onDeath === "report") return this.#guard(dirty);
    this.#structure.giveBack(protocol.putBack);
    const reason = `${
      dirty - 1
    } of its holders died: call recover() to make right what it protects`;
    throw this.#error(errors.EOWNERDEAD, "lock", reason);
  }

  #guard(dirty: number): MutexGuard {
    return new MutexGuard(this.#structure, dirty);
  }

  #error(errno: number, verb: string, reason: string): IpcError {
    const { array } = this.#structure;
    const subject = array instanceof SemaphoreSet ? { id: array.id, key: array.key } : {};
    const message = `Cannot ${verb} the mutex as ${reason}`;
    return new IpcError(message, errno, { syscall: "semop", ...subject });
  }
}

/** Checked before anything is made. */
function onDeathOf({ onDeath = "report" }: MutexOptions): "report" | "refuse" {
  return checkWord(onDeath, ["report", "refuse"], "onDeath");
}
