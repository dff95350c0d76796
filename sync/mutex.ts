/**
 * Mutual exclusion that survives the death of its holder: {@linkcode Mutex}.
 *
 * @module
 */

import { checkWord } from "../ffi/check.ts";
import { checkTimeout, type TimeoutOptions, type WaitOptions } from "../wait/options.ts";
import { errorOf } from "../ipc/error_of.ts";
import type { Key } from "../ipc/key.ts";
import type { CreateOptions, OpenOrCreateOptions } from "../ipc/object.ts";
import { SemaphoreSet } from "../ipc/semaphore_set.ts";
import type { SemaphoreArray } from "./array.ts";
import { mutex as protocol } from "./protocols.ts";
import { Guard, Structure } from "./structure.ts";

/** What a mutex does when a holder has died. */
export interface MutexOptions {
  /**
   * `"report"`: the next holder gets the mutex and is told. `"refuse"`: nobody gets it until someone
   * calls `recover`. What counts is the handle of who locks.
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

/** A mutex, as all its handles in this thread know it. */
type Identity = number | SemaphoreArray;

/** How many there are of something of each mutex in this thread. */
class Tally {
  readonly #counts = new Map<Identity, number>();

  has(mutex: Identity): boolean {
    return this.#counts.has(mutex);
  }

  add(mutex: Identity): void {
    this.#counts.set(mutex, (this.#counts.get(mutex) ?? 0) + 1);
  }

  remove(mutex: Identity): void {
    const left = this.#counts.get(mutex)! - 1;
    if (left === 0) this.#counts.delete(mutex);
    else this.#counts.set(mutex, left);
  }
}

/** The guards that are not released. */
const guards = new Tally();
/** The promises of guards that are not settled. */
const promises = new Tally();

function identityOf({ array }: Structure): Identity {
  return array instanceof SemaphoreSet ? array.id : array;
}

/**
 * The hold of a {@linkcode Mutex}.
 *
 * @example
 * ```ts
 * import { Mutex } from "@sysv/ipc/sync";
 * import { assertEquals } from "@std/assert";
 *
 * using mutex = Mutex.create();
 * const guard = await mutex.lock();
 * assertEquals([mutex.locked, guard.abandoned], [true, 0]);
 * guard.release();
 * assertEquals(mutex.locked, false);
 * ```
 */
export class MutexGuard implements Disposable {
  /**
   * How many holders have died since the mutex was given back last: 0 if all is well, else what it
   * protects may be half changed. Releasing says that it is right again.
   */
  readonly abandoned: number;
  readonly #guard: Guard;

  /**
   * Creates a guard of a mutex that was just taken.
   *
   * @param structure The semaphores.
   * @param dirty How many took it since it was clean.
   */
  constructor(structure: Structure, dirty: number) {
    const mutex = identityOf(structure);
    guards.add(mutex);
    this.abandoned = dirty - 1;
    this.#guard = new Guard(() => {
      guards.remove(mutex);
      structure.giveBack(protocol.release(dirty));
    });
  }

  /**
   * Unlocks, even after the handle of the mutex is disposed. Does nothing the second time, nor once
   * the mutex is removed.
   */
  release(): void {
    this.#guard.release();
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
 * - **Order:** who waits longest is next, among the processes and within each. Only `tryLock`, and a
 *   `timeout` of 0, go past those who wait.
 * - **Cost:** an uncontended lock and unlock is two system calls.
 * - **Threads:** the hold belongs to the process. A thread that ends without releasing keeps it
 *   locked until the process ends.
 *
 * Layout: semaphore 0 is 1 if it is free, semaphore 1 counts who took it since it was clean. To lock:
 * `[(0, -1, UNDO), (1, +1)]`; then semaphore 1, less 1, is how many died. To unlock, with d in
 * semaphore 1: `[(1, -d), (0, +1, UNDO)]`. To put it back as it was found, without saying that it is
 * right again: `[(1, -1), (0, +1, UNDO)]`.
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

  /**
   * Makes a mutex of semaphores that start with 1 and 0.
   *
   * @param array The semaphores: with those of another engine than the kernel, only `lock`, `recover`
   * and `remove` work.
   * @param options What it does when a holder has died.
   */
  constructor(array: SemaphoreArray, options: MutexOptions = {}) {
    this.onDeath = onDeathOf(options);
    this.#structure = new Structure(array, kind);
  }

  /**
   * Creates a mutex. Disposing the handle removes it, unless `owner` is false.
   *
   * @param options The key, the mode, who owns it, and what it does when a holder has died.
   * @returns A handle to a mutex that is free.
   * @throws {IpcError} EEXIST if the key is taken, ENOSPC if a limit of the system is reached.
   */
  static create(options: MutexCreateOptions = {}): Mutex {
    onDeathOf(options);
    return new Mutex(SemaphoreSet.create({ ...options, values, kind }), options);
  }

  /**
   * Opens a mutex that exists.
   *
   * @param key The key or name.
   * @param options What it does when a holder has died.
   * @returns A handle that does not own it.
   * @throws {IpcError} ENOENT if there is none, EINVAL if it is something else, EACCES if its mode does
   * not permit reading, EAGAIN if its creator has not finished it: `openOrCreate` does.
   */
  static open(key: Key, options: MutexOptions = {}): Mutex {
    onDeathOf(options);
    return new Mutex(SemaphoreSet.open(key, { kind }), options);
  }

  /**
   * Opens a mutex, or creates it, safely against every race and crash.
   *
   * @param key The key or name.
   * @param options The mode to create it with, whether that of another user will do, and what it does
   * when a holder has died.
   * @returns A handle that does not own it.
   * @throws {IpcError} EPERM if another user made it, EINVAL if it is something else, EACCES, ENOSPC.
   */
  static openOrCreate(key: Key, options: MutexOpenOrCreateOptions = {}): Mutex {
    onDeathOf(options);
    return new Mutex(SemaphoreSet.openOrCreate(key, { ...options, values, kind }), options);
  }

  /**
   * Takes the identifier of a mutex that another process made.
   *
   * @param id The identifier.
   * @param options What it does when a holder has died.
   * @returns A handle that does not own it.
   * @throws {IpcError} EIDRM if there is none, EINVAL if it is something else, EACCES if its mode does
   * not permit reading.
   */
  static fromId(id: number, options: MutexOptions = {}): Mutex {
    onDeathOf(options);
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

  /** The process that holds it, 0 for one of another PID namespace; undefined if nobody does. */
  get ownerPid(): number | undefined {
    return this.#structure.holderOf(protocol.lock);
  }

  /**
   * Locks, waiting for its turn: behind a holder of this thread, too.
   *
   * @param options The signal and the timeout.
   * @returns A promise of a guard, to release with `using`. It rejects with the reason of the signal,
   * with a DOMException "TimeoutError" if the time is up, with a ReferenceError if the handle is
   * disposed, with IpcError EIDRM if the mutex is removed, EOWNERDEAD if a holder has died and the
   * mutex refuses then.
   */
  async lock(options?: WaitOptions): Promise<MutexGuard> {
    checkTimeout(options?.timeout);
    options?.signal?.throwIfAborted();
    const { array } = this.#structure;
    const mutex = identityOf(this.#structure);
    const inLine = promises.has(mutex);
    promises.add(mutex);
    try {
      // Those who wait are in the line of another step, which would not hold this one back.
      if (!inLine) {
        const taken = array.tryOperate(protocol.takeClean);
        // To await what is known would let others go first.
        if (typeof taken === "boolean" ? taken : await taken) return this.#guard(1);
      }
      await array.operate(protocol.take, options);
      return this.#accept(await this.#dirty());
    } finally {
      promises.remove(mutex);
    }
  }

  /**
   * Locks, blocking the thread until it can.
   *
   * @param options The timeout.
   * @returns A guard, to release with `using`.
   * @throws {IpcError} EDEADLK if this thread holds it, or waits for it in a promise; EOWNERDEAD if a
   * holder has died and the mutex refuses then; EINTR if the program handled a signal; EIDRM if it is
   * removed.
   * @throws {DOMException} "TimeoutError" if the time is up.
   */
  lockSync(options?: TimeoutOptions): MutexGuard {
    checkTimeout(options?.timeout);
    const { set } = this.#structure;
    this.#refuseDeadlock();
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
   * @returns A promise of a guard, to release with `using`. It rejects with the reason of the signal,
   * with a DOMException "TimeoutError" if the time is up, with a ReferenceError if the handle is
   * disposed, with IpcError EIDRM if the mutex is removed.
   */
  async recover(options?: WaitOptions): Promise<MutexGuard> {
    checkTimeout(options?.timeout);
    options?.signal?.throwIfAborted();
    const mutex = identityOf(this.#structure);
    promises.add(mutex);
    try {
      await this.#structure.array.operate(protocol.take, options);
      return this.#guard(await this.#dirty());
    } finally {
      promises.remove(mutex);
    }
  }

  /**
   * Locks a mutex whose holder has died, though it refuses, blocking the thread until it can:
   * releasing says that all is right again.
   *
   * @param options The timeout.
   * @returns A guard, to release with `using`.
   * @throws {IpcError} EDEADLK if this thread holds it, or waits for it in a promise; EINTR if the
   * program handled a signal; EIDRM if it is removed.
   * @throws {DOMException} "TimeoutError" if the time is up.
   */
  recoverSync(options?: TimeoutOptions): MutexGuard {
    checkTimeout(options?.timeout);
    const { set } = this.#structure;
    this.#refuseDeadlock();
    set.operateSync(protocol.take, options);
    return this.#guard(set.values[protocol.dirty]!);
  }

  /**
   * Removes the mutex, now: whoever waits gets EIDRM.
   *
   * @throws {IpcError} EPERM if this process is neither owner nor creator nor privileged, EIDRM if it
   * is removed already.
   */
  remove(): void {
    this.#structure.remove();
  }

  /** Ends the handle, and removes the mutex if the handle owns it. A guard stays good. */
  [Symbol.dispose](): void {
    this.#structure.dispose();
  }

  /** A blocked thread can neither release nor go on with a promise. */
  #refuseDeadlock(): void {
    const mutex = identityOf(this.#structure);
    if (guards.has(mutex)) {
      throw this.#error("EDEADLK", "this thread holds it: release it first");
    }
    if (promises.has(mutex)) {
      throw this.#error("EDEADLK", "this thread waits for it in a promise: await that first");
    }
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
    const died = `${dirty - 1} of its holders died`;
    throw this.#error("EOWNERDEAD", `${died}: call recover() to make right what it protects`);
  }

  #guard(dirty: number): MutexGuard {
    return new MutexGuard(this.#structure, dirty);
  }

  #error(code: "EDEADLK" | "EOWNERDEAD", reason: string): Error {
    const { array } = this.#structure;
    const subject = array instanceof SemaphoreSet ? { id: array.id, key: array.key } : {};
    return errorOf(code, `Cannot lock the mutex as ${reason}`, { syscall: "semop", ...subject });
  }
}

/** Checked before anything is made or opened. */
function onDeathOf({ onDeath = "report" }: MutexOptions): "report" | "refuse" {
  return checkWord(onDeath, ["report", "refuse"], "onDeath");
}
