/**
 * Many readers or one writer: {@linkcode RwLock}.
 *
 * @module
 */

import { checkOptions, checkWord } from "../ffi/check.ts";
import { readWaitOptions, type TimeoutOptions, type WaitOptions } from "../wait/options.ts";
import { internal } from "../ipc/internal.ts";
import type { Key } from "../ipc/key.ts";
import type { CreateOptions, OpenOrCreateOptions } from "../ipc/object.ts";
import { SemaphoreSet } from "../ipc/semaphore_set.ts";
import type { Action } from "../ipc/steps.ts";
import type { SemaphoreArray } from "./array.ts";
import { Engine } from "./engine.ts";
import { run, runSync } from "./flow.ts";
import * as flows from "./flows/rwlock.ts";
import { Guard, releaseBy, runWith } from "./guard.ts";
import { Primitive, showPrimitive } from "./primitive.ts";
import { rwlock as protocol } from "./protocols.ts";

/** Options of {@linkcode RwLock.open} and {@linkcode RwLock.fromId}. */
export interface RwLockOptions {
  /**
   * What `read` does while writers wait. `"writers"` waits behind them, so readers can starve under constant
   * writing. `"readers"` reads as long as no writer writes, so writers can starve. Each handle decides for
   * itself.
   *
   * @default {"writers"}
   */
  prefer?: "writers" | "readers" | undefined;
}

/** Options of {@linkcode RwLock.create}. */
export interface RwLockCreateOptions extends CreateOptions, RwLockOptions {}

/** Options of {@linkcode RwLock.openOrCreate}. */
export interface RwLockOpenOrCreateOptions extends OpenOrCreateOptions, RwLockOptions {}

/** A snapshot of {@linkcode RwLock.state}. */
export interface RwLockState {
  /** The number of readers. */
  readonly readers: number;
  /** Whether there is a writer. */
  readonly writing: boolean;
  /** The number of writers that wait. */
  readonly queued: number;
}

const kind = "rwlock";
const { values } = protocol;

const lockToRead: Action = (name) => `lock ${name} for reading`;
const lockToWrite: Action = (name) => `lock ${name} for writing`;
const unlock: Action = (name) => `unlock ${name}`;

const upgrade: Action = (name) => `upgrade ${name} to writing`;
const downgrade: Action = (name) => `downgrade ${name} to reading`;

const ends = {
  read: releaseBy(flows.endRead(protocol), unlock),
  write: releaseBy(flows.endWrite(protocol), unlock, "writing"),
};

/**
 * The hold of a {@linkcode RwLock}, to read or to write.
 *
 * @example
 * ```ts
 * import { RwLock } from "@sysv/ipc/sync";
 * import { assertEquals } from "@std/assert";
 *
 * using lock = RwLock.create();
 * using guard = lock.readSync();
 * if (guard.tryUpgrade()) {
 *   assertEquals(lock.state().writing, true);
 *   guard.downgrade();
 * }
 * assertEquals([guard.mode, lock.state().readers], ["read", 1]);
 * ```
 */
export class RwLockGuard extends Guard {
  #mode: "read" | "write";

  /** @ignore */
  constructor(token: symbol, engine: Engine, mode: "read" | "write") {
    super(token, engine, ends[mode]);
    this.#mode = mode;
  }

  /** Whether it holds the lock to read or to write. */
  get mode(): "read" | "write" {
    return this.#mode;
  }

  /**
   * Writes from now on, in one atomic step, if this is the only reader; never waits, as two readers
   * that wait for each other to end would do so for ever.
   *
   * @returns Whether it writes now; false once it is released.
   * @throws {IpcError} EIDRM if the lock is removed.
   * @throws {ReferenceError} If the handle is disposed.
   */
  tryUpgrade(): boolean {
    if (
      this.#mode === "read" &&
      this.exchange(internal, flows.tryUpgrade(protocol), upgrade, ends.write)
    ) {
      this.#mode = "write";
    }
    return this.#mode === "write";
  }

  /**
   * Reads from now on, in one atomic step: no other writer comes in between. Never waits. Does nothing
   * if it reads already, once it is released, or once the lock is removed.
   */
  downgrade(): void {
    if (
      this.#mode === "write" &&
      this.exchange(internal, flows.downgrade(protocol), downgrade, ends.read)
    ) {
      this.#mode = "read";
    }
  }
}

/**
 * A lock that many readers or one writer hold at a time, in any process.
 *
 * - **Death:** when a reader or a writer dies, even by SIGKILL, its lock is free at once; a writer that waited
 *   no longer counts. Nothing says that a writer died in the middle of a change: use a {@linkcode Mutex} where
 *   that matters.
 * - **Order:** readers wait behind waiting writers unless told otherwise, and can starve.
 * - **Again:** a thread that reads can read again, and waits behind waiting writers then. A promise of `write`
 *   while the same task reads waits for ever: release first.
 * - **Threads:** the lock belongs to the process.
 *
 * Layout: semaphore 0 counts readers, 1 the writer, 2 the writers that wait. To read: `[(1, 0), (2, 0),
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
export class RwLock extends Primitive {
  /** What `read` of this handle does while writers wait. */
  readonly prefer: "writers" | "readers";
  readonly #engine: Engine;

  /**
   * Makes a lock of three semaphores that start with 0.
   *
   * @param array The semaphores: if they are not in the kernel, only `read`, `write` and
   * `remove` work.
   * @param options What `read` does while writers wait, "writers" unless given.
   */
  constructor(array: SemaphoreArray, options: RwLockOptions = {}) {
    const prefer = preferOf(options);
    const engine = new Engine(array, kind);
    super(internal, engine);
    this.#engine = engine;
    this.prefer = prefer;
  }

  /**
   * Creates a lock. Disposing the handle removes it, unless `owner` is false.
   *
   * @param options The key, the mode, whether the handle owns it, and what `read` does while writers wait.
   * @returns A handle to a free lock.
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
   * @param options What `read` does while writers wait, "writers" unless given.
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
   * @param options The mode to create it with, whether to accept one of another user, and what `read`
   * does while writers wait.
   * @returns A handle that does not own it.
   * @throws {IpcError} EPERM if another user created it, EINVAL if it is something else, EACCES, ENOSPC.
   */
  static openOrCreate(key: Key, options: RwLockOpenOrCreateOptions = {}): RwLock {
    preferOf(options);
    return new RwLock(SemaphoreSet.openOrCreate(key, { ...options, values, kind }), options);
  }

  /**
   * Takes a lock by the identifier that another process passed.
   *
   * @param id The identifier.
   * @param options What `read` does while writers wait, "writers" unless given.
   * @returns A handle that does not own it.
   * @throws {IpcError} EIDRM if there is none, EINVAL if it is something else, EACCES if its mode does
   * not permit reading.
   */
  static fromId(id: number, options: RwLockOptions = {}): RwLock {
    preferOf(options);
    return new RwLock(SemaphoreSet.fromId(id, { kind }), options);
  }

  static {
    showPrimitive(
      "RwLock",
      this.prototype,
      (rwlock) => ({ prefer: rwlock.prefer, state: () => rwlock.state() }),
    );
  }

  /**
   * Returns how many read, write and wait to write, at one moment.
   *
   * @returns A snapshot.
   * @throws {IpcError} EIDRM if it is removed.
   */
  state(): RwLockState {
    const [readers, writer, queued] = this.#engine.readSync();
    return { readers: readers!, writing: writer !== 0, queued: queued! };
  }

  /**
   * Locks for reading, waiting until that is possible.
   *
   * @param options The signal and the timeout.
   * @returns A promise of a guard, to release with `using`. It rejects with the reason of the signal,
   * with a DOMException "TimeoutError" if the timeout expires, with a ReferenceError if the handle is
   * disposed, with IpcError EIDRM if the lock is removed.
   */
  async read(options?: WaitOptions): Promise<RwLockGuard> {
    const engine = this.#engine;
    const flow = flows.read(protocol, this.#yields);
    await engine.local.pend(run(engine, flow, lockToRead, options), "reads");
    return new RwLockGuard(internal, engine, "read");
  }

  /**
   * Locks for reading, blocking the thread until that is possible.
   *
   * @param options The timeout.
   * @returns A guard, to release with `using`.
   * @throws {IpcError} EDEADLK if it would wait for this thread itself: for a guard to write, for a
   * promise of one, or for a writer that waits for a guard to read; EINTR if the program handled a signal, EIDRM if the lock is removed.
   * @throws {DOMException} "TimeoutError" if the timeout expires.
   */
  readSync(options?: TimeoutOptions): RwLockGuard {
    const limits = readWaitOptions(options);
    const guard = this.tryRead();
    if (guard !== undefined) return guard;
    const engine = this.#engine;
    // A reader of this thread would wait for writers that wait for it.
    engine.local.refuseDeadlock(engine, lockToRead);
    runSync(engine, flows.read(protocol, this.#yields), lockToRead, limits);
    return new RwLockGuard(internal, engine, "read");
  }

  /**
   * Locks for reading if that is possible; never waits.
   *
   * @returns A guard, to release with `using`, or undefined.
   * @throws {IpcError} EIDRM if the lock is removed.
   */
  tryRead(): RwLockGuard | undefined {
    const may = runSync(this.#engine, flows.tryRead(protocol, this.#yields), lockToRead);
    return may ? new RwLockGuard(internal, this.#engine, "read") : undefined;
  }

  /**
   * Locks for writing, waiting until that is possible.
   *
   * @param options The signal and the timeout.
   * @returns A promise of a guard, to release with `using`. It rejects with the reason of the signal,
   * with a DOMException "TimeoutError" if the timeout expires, with a ReferenceError if the handle is
   * disposed, with IpcError EIDRM if the lock is removed.
   */
  async write(options?: WaitOptions): Promise<RwLockGuard> {
    const engine = this.#engine;
    await engine.local.pend(run(engine, flows.write(protocol), lockToWrite, options));
    return new RwLockGuard(internal, engine, "write");
  }

  /**
   * Locks for writing, blocking the thread until that is possible.
   *
   * @param options The timeout.
   * @returns A guard, to release with `using`.
   * @throws {IpcError} EDEADLK if it would wait for this thread itself: for a guard, or a promise of
   * one; EINTR if the program handled a signal, EIDRM if the lock is removed.
   * @throws {DOMException} "TimeoutError" if the timeout expires.
   */
  writeSync(options?: TimeoutOptions): RwLockGuard {
    const limits = readWaitOptions(options);
    const guard = this.tryWrite();
    if (guard !== undefined) return guard;
    const engine = this.#engine;
    engine.local.refuseDeadlock(engine, lockToWrite, "reads");
    runSync(engine, flows.write(protocol), lockToWrite, limits);
    return new RwLockGuard(internal, engine, "write");
  }

  /**
   * Locks for writing if that is possible; never waits.
   *
   * @returns A guard, to release with `using`, or undefined.
   * @throws {IpcError} EIDRM if the lock is removed.
   */
  tryWrite(): RwLockGuard | undefined {
    const may = runSync(this.#engine, flows.tryWrite(protocol), lockToWrite);
    return may ? new RwLockGuard(internal, this.#engine, "write") : undefined;
  }

  /**
   * Runs a function while it holds the lock for reading.
   *
   * @param run The function, given the guard; reading ends when it, or its promise, is done.
   * @param options The signal and the timeout of the wait for the lock.
   * @returns A promise of what the function returns. It rejects with what the function throws, and as
   * `read` does if there is no lock: then the function is not run.
   */
  runRead<Result>(
    run: (guard: RwLockGuard) => Result | Promise<Result>,
    options?: WaitOptions,
  ): Promise<Result> {
    return runWith(() => this.read(options), run);
  }

  /**
   * Runs a function while it holds the lock for writing.
   *
   * @param run The function, given the guard; writing ends when it, or its promise, is done.
   * @param options The signal and the timeout of the wait for the lock.
   * @returns A promise of what the function returns. It rejects with what the function throws, and as
   * `write` does if there is no lock: then the function is not run.
   */
  runWrite<Result>(
    run: (guard: RwLockGuard) => Result | Promise<Result>,
    options?: WaitOptions,
  ): Promise<Result> {
    return runWith(() => this.write(options), run);
  }

  /** Whether readers wait behind waiting writers. */
  get #yields(): boolean {
    return this.prefer === "writers";
  }
}

/** Checked before anything is made or opened. */
function preferOf(options: RwLockOptions): "writers" | "readers" {
  checkOptions(options);
  const { prefer = "writers" } = options;
  return checkWord(prefer, ["writers", "readers"], "prefer");
}
