/**
 * Mutual exclusion that survives the death of its holder: {@linkcode Mutex}.
 *
 * @module
 */

import { checkOptions, checkWord } from "../ffi/check.ts";
import { readWaitOptions, type TimeoutOptions, type WaitOptions } from "../wait/options.ts";
import { turn } from "../wait/turn.ts";
import { internal } from "../ipc/internal.ts";
import type { Key } from "../ipc/key.ts";
import type { CreateOptions, OpenOrCreateOptions } from "../ipc/object.ts";
import { SemaphoreSet } from "../ipc/semaphore_set.ts";
import { type Action, packStep } from "../ipc/steps.ts";
import type { SemaphoreArray } from "./array.ts";
import { Engine } from "./engine.ts";
import { type Flow, limitsOf, run, runSync } from "./flow.ts";
import * as flows from "./flows/mutex.ts";
import { Guard, type Release, releaseBy, runWith } from "./guard.ts";
import { Primitive, showPrimitive } from "./primitive.ts";
import { mutex as protocol } from "./protocols.ts";

/** Options of {@linkcode Mutex.open} and {@linkcode Mutex.fromId}. */
export interface MutexOptions {
  /**
   * What locking does when a holder has died. `"report"` locks, and the guard's `abandoned` is above 0.
   * `"refuse"` throws EOWNERDEAD until `recover` is called. Each handle decides for itself.
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

const lock: Action = (name) => `lock ${name}`;
const recover: Action = (name) => `recover ${name}`;
const unlock: Action = (name) => `unlock ${name}`;

const takeClean = packStep(protocol.takeClean);
const releaseClean = releaseBy(flows.unlock(protocol, 1), unlock);

/**
 * The lock of a {@linkcode Mutex}, until it is released or the process ends.
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
export class MutexGuard extends Guard {
  /**
   * How many holders have died since the mutex was last released. Above 0, what the mutex protects may be
   * half changed. Releasing sets it back to 0 for the next holder.
   */
  readonly abandoned: number;

  /** @ignore */
  constructor(token: symbol, engine: Engine, release: Release, abandoned: number) {
    super(token, engine, release);
    this.abandoned = abandoned;
  }
}

/**
 * A lock that one holder has at a time, in any process.
 *
 * - **Death:** when a holder dies, even by SIGKILL, the mutex is free at once. `abandoned` of the next guard
 *   counts the dead holders, until a guard is released.
 * - **Order:** the longest wait is next, among all processes and within each. Only `tryLock`, and a `timeout` of
 *   0, overtake.
 * - **Again:** it is not reentrant. `lockSync` throws EDEADLK if this thread holds it; `lock` waits for that guard.
 * - **Cost:** an uncontended lock and unlock is two system calls.
 * - **Threads:** the lock belongs to the process. A thread that ends without releasing keeps it locked until the
 *   process ends.
 *
 * Layout: semaphore 0 is 1 if it is free, semaphore 1 counts the holders since it was clean. To lock:
 * `[(0, -1, UNDO), (1, +1)]`; then semaphore 1, less 1, is how many died. To unlock, with d in
 * semaphore 1: `[(1, -d), (0, +1, UNDO)]`. To give it back without resetting the count of dead
 * holders: `[(1, -1), (0, +1, UNDO)]`.
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
export class Mutex extends Primitive {
  /** What locking by this handle does when a holder has died. */
  readonly onDeath: "report" | "refuse";
  readonly #engine: Engine;

  /**
   * Makes a mutex of semaphores that start with 1 and 0.
   *
   * @param array The semaphores: if they are not in the kernel, only `lock`, `recover`
   * and `remove` work.
   * @param options What locking does when a holder has died, "report" unless given.
   */
  constructor(array: SemaphoreArray, options: MutexOptions = {}) {
    const onDeath = onDeathOf(options);
    const engine = new Engine(array, kind);
    super(internal, engine);
    this.#engine = engine;
    this.onDeath = onDeath;
  }

  /**
   * Creates a mutex. Disposing the handle removes it, unless `owner` is false.
   *
   * @param options The key, the mode, whether the handle owns it, and what locking does when a holder has died.
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
   * @param options What locking does when a holder has died, "report" unless given.
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
   * @param options The mode to create it with, whether to accept one of another user, and what locking
   * does when a holder has died.
   * @returns A handle that does not own it.
   * @throws {IpcError} EPERM if another user created it, EINVAL if it is something else, EACCES, ENOSPC.
   */
  static openOrCreate(key: Key, options: MutexOpenOrCreateOptions = {}): Mutex {
    onDeathOf(options);
    return new Mutex(SemaphoreSet.openOrCreate(key, { ...options, values, kind }), options);
  }

  /**
   * Takes a mutex by the identifier that another process passed.
   *
   * @param id The identifier.
   * @param options What locking does when a holder has died, "report" unless given.
   * @returns A handle that does not own it.
   * @throws {IpcError} EIDRM if there is none, EINVAL if it is something else, EACCES if its mode does
   * not permit reading.
   */
  static fromId(id: number, options: MutexOptions = {}): Mutex {
    onDeathOf(options);
    return new Mutex(SemaphoreSet.fromId(id, { kind }), options);
  }

  static {
    showPrimitive("Mutex", this.prototype, (mutex) => ({
      locked: () => mutex.locked,
      onDeath: mutex.onDeath,
    }));
  }

  /** Whether the mutex is locked. */
  get locked(): boolean {
    return this.#engine.readSync()[protocol.lock] === 0;
  }

  /** The process that holds the mutex, 0 for one of another PID namespace; undefined if it is free. */
  get ownerPid(): number | undefined {
    return this.#engine.holderOf(protocol.lock);
  }

  /**
   * Locks, waiting for its turn, also behind a guard of this thread.
   *
   * @param options The signal and the timeout.
   * @returns A promise of a guard, to release with `using`. It rejects with the reason of the signal,
   * with a DOMException "TimeoutError" if the timeout expires, with a ReferenceError if the handle is
   * disposed, with IpcError EIDRM if the mutex is removed, EOWNERDEAD if a holder has died and this
   * handle refuses then.
   */
  async lock(options?: WaitOptions): Promise<MutexGuard> {
    const limits = limitsOf(options);
    const engine = this.#engine;
    // Pending waits stand in the line of another step, which would not hold this one back.
    const inLine = engine.local.pending > 0;
    if (!inLine && engine.tryPacked(takeClean, lock)) {
      const guard = this.#guard(1);
      const due = turn();
      if (due !== undefined) await due;
      return guard;
    }
    const flow = inLine ? flows.lockInLine : flows.lock;
    return await this.#later(flow(protocol, this.#refuses), lock, limits);
  }

  /**
   * Locks, blocking the thread until the mutex is free.
   *
   * @param options The timeout.
   * @returns A guard, to release with `using`.
   * @throws {IpcError} EDEADLK if this thread holds the mutex, or waits for it in a promise; EOWNERDEAD if a
   * holder has died and this handle refuses then; EINTR if the program handled a signal; EIDRM if it is
   * removed.
   * @throws {DOMException} "TimeoutError" if the timeout expires.
   */
  lockSync(options?: TimeoutOptions): MutexGuard {
    const limits = readWaitOptions(options);
    const engine = this.#engine;
    engine.local.refuseDeadlock(engine, lock);
    if (engine.tryPacked(takeClean, lock)) return this.#guard(1);
    return this.#accept(runSync(engine, flows.lock(protocol, this.#refuses), lock, limits));
  }

  /**
   * Locks if the mutex is free; never waits.
   *
   * @returns A guard, to release with `using`, or undefined.
   * @throws {IpcError} EOWNERDEAD if a holder has died and this handle refuses then, EIDRM if it is removed.
   */
  tryLock(): MutexGuard | undefined {
    const engine = this.#engine;
    if (engine.tryPacked(takeClean, lock)) return this.#guard(1);
    const found = runSync(engine, flows.tryLock(protocol, this.#refuses), lock);
    return found && this.#accept(found);
  }

  /**
   * Runs a function while it holds the mutex.
   *
   * @param run The function, given the guard; the mutex is unlocked when it, or its promise, is done.
   * @param options The signal and the timeout of the wait for the mutex.
   * @returns A promise of what the function returns. It rejects with what the function throws, and as
   * `lock` does if the mutex cannot be locked: then the function is not run.
   */
  run<Result>(
    run: (guard: MutexGuard) => Result | Promise<Result>,
    options?: WaitOptions,
  ): Promise<Result> {
    return runWith(() => this.lock(options), run);
  }

  /**
   * Locks also when a holder has died and this handle refuses then. Repair what the mutex protects, then
   * release: that sets `abandoned` back to 0.
   *
   * @param options The signal and the timeout.
   * @returns A promise of a guard, to release with `using`. It rejects with the reason of the signal,
   * with a DOMException "TimeoutError" if the timeout expires, with a ReferenceError if the handle is
   * disposed, with IpcError EIDRM if the mutex is removed.
   */
  async recover(options?: WaitOptions): Promise<MutexGuard> {
    return await this.#later(flows.recover(protocol), recover, options);
  }

  /**
   * Locks also when a holder has died and this handle refuses then, blocking the thread until the mutex is
   * free.
   *
   * @param options The timeout.
   * @returns A guard, to release with `using`.
   * @throws {IpcError} EDEADLK if this thread holds the mutex, or waits for it in a promise; EINTR if the
   * program handled a signal; EIDRM if it is removed.
   * @throws {DOMException} "TimeoutError" if the timeout expires.
   */
  recoverSync(options?: TimeoutOptions): MutexGuard {
    const limits = readWaitOptions(options);
    const engine = this.#engine;
    engine.local.refuseDeadlock(engine, recover);
    return this.#accept(runSync(engine, flows.recover(protocol), recover, limits));
  }

  get #refuses(): boolean {
    return this.onDeath === "refuse";
  }

  /** Performs a flow that locks, in a promise. */
  async #later(
    flow: Flow<flows.Found>,
    action: Action,
    options: WaitOptions | undefined,
  ): Promise<MutexGuard> {
    const engine = this.#engine;
    return this.#accept(await engine.local.pend(run(engine, flow, action, options)));
  }

  #accept({ dirty, refused }: flows.Found): MutexGuard {
    if (!refused) return this.#guard(dirty);
    const died = `${dirty - 1} of its holders died`;
    const reason = `${died}: call recover() and repair what it protects`;
    throw this.#engine.error("EOWNERDEAD", lock, reason);
  }

  #guard(dirty: number): MutexGuard {
    const release = dirty === 1 ? releaseClean : releaseBy(flows.unlock(protocol, dirty), unlock);
    return new MutexGuard(internal, this.#engine, release, dirty - 1);
  }
}

/** Checked before anything is made or opened. */
function onDeathOf(options: MutexOptions): "report" | "refuse" {
  checkOptions(options);
  const { onDeath = "report" } = options;
  return checkWord(onDeath, ["report", "refuse"], "onDeath");
}
