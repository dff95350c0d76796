/**
 * Mutual exclusion that survives the death of its holder: {@linkcode Mutex}.
 *
 * @module
 */

import { checkOptions, checkWord } from "../ffi/check.ts";
import type { TimeoutOptions, WaitOptions } from "../wait/options.ts";
import { turn } from "../wait/turn.ts";
import { internal } from "../ipc/internal.ts";
import type { Key } from "../ipc/key.ts";
import type { CreateOptions, OpenOrCreateOptions } from "../ipc/object.ts";
import { SemaphoreSet } from "../ipc/semaphore_set.ts";
import { type Action, packStep } from "../ipc/steps.ts";
import type { SemaphoreArray } from "./array.ts";
import { Engine } from "./engine.ts";
import { checkTimeoutOptions, checkWait, type Flow, run, runSync } from "./flow.ts";
import * as flows from "./flows/mutex.ts";
import { Guard, type Release, releaseBy, runWith } from "./guard.ts";
import { Primitive, showPrimitive } from "./primitive.ts";
import { mutex as protocol } from "./protocols.ts";

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

const lock: Action = (name) => `lock ${name}`;
const recover: Action = (name) => `recover ${name}`;
const unlock: Action = (name) => `unlock ${name}`;

const takeClean = packStep(protocol.takeClean);
const releaseClean = releaseBy(flows.unlock(protocol, 1), unlock);

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
export class MutexGuard extends Guard {
  /**
   * How many holders have died since the mutex was given back last: 0 if all is well, else what it
   * protects may be half changed. Releasing says that it is right again.
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
export class Mutex extends Primitive {
  /** What it does when a holder has died. */
  readonly onDeath: "report" | "refuse";
  readonly #engine: Engine;

  /**
   * Makes a mutex of semaphores that start with 1 and 0.
   *
   * @param array The semaphores: with those of another engine than the kernel, only `lock`, `recover`
   * and `remove` work.
   * @param options What it does when a holder has died.
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

  static {
    showPrimitive("Mutex", this.prototype, (mutex) => ({
      locked: () => mutex.locked,
      onDeath: mutex.onDeath,
    }));
  }

  /** Whether somebody holds it. */
  get locked(): boolean {
    return this.#engine.readSync()[protocol.lock] === 0;
  }

  /** The process that holds it, 0 for one of another PID namespace; undefined if nobody does. */
  get ownerPid(): number | undefined {
    return this.#engine.holderOf(protocol.lock);
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
    checkWait(options);
    const engine = this.#engine;
    // Those who wait are in the line of another step, which would not hold this one back.
    const inLine = engine.local.pending > 0;
    if (!inLine && engine.tryPacked(takeClean, lock)) {
      const guard = this.#guard(1);
      const due = turn();
      if (due !== undefined) await due;
      return guard;
    }
    const flow = inLine ? flows.lockInLine : flows.lock;
    return await this.#later(flow(protocol, this.#refuses), lock, options);
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
    if (options !== undefined) checkTimeoutOptions(options);
    const engine = this.#engine;
    engine.local.refuseDeadlock(engine, lock);
    if (engine.tryPacked(takeClean, lock)) return this.#guard(1);
    return this.#accept(runSync(engine, flows.lock(protocol, this.#refuses), lock, options));
  }

  /**
   * Locks if it is free.
   *
   * @returns A guard, to release with `using`, or undefined.
   * @throws {IpcError} EOWNERDEAD if a holder has died and the mutex refuses then, EIDRM if it is removed.
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
   * that of `lock` if the mutex cannot be locked: then the function is not run.
   */
  run<Result>(
    run: (guard: MutexGuard) => Result | Promise<Result>,
    options?: WaitOptions,
  ): Promise<Result> {
    return runWith(() => this.lock(options), run);
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
    return await this.#later(flows.recover(protocol), recover, options);
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
    checkTimeoutOptions(options);
    const engine = this.#engine;
    engine.local.refuseDeadlock(engine, recover);
    return this.#accept(runSync(engine, flows.recover(protocol), recover, options));
  }

  get #refuses(): boolean {
    return this.onDeath === "refuse";
  }

  /** Locks by a flow, in a promise. */
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
    const reason = `${died}: call recover() to make right what it protects`;
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
