/**
 * A lock in shared memory: {@linkcode SharedMutex}.
 *
 * @module
 */

import { checkFunction, checkOptions } from "../ffi/check.ts";
import { checkInternal, internal } from "../ipc/internal.ts";
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
import { remaining } from "./flow.ts";
import { deathsOf, ENDED, LINE, lockAt, ownerOf } from "./layout.ts";
import { Members } from "./members.ts";
import {
  checkPlaces,
  createPair,
  type MembersOptions,
  openOrCreatePair,
  openPair,
  type Pair,
  pairFromId,
  type Rules,
  type Shape,
} from "./pair.ts";
import { REFUSED } from "./protocol.ts";
import { SPINS } from "./spin.ts";
import { SharedStructure, unmade } from "./structure.ts";
import { Line } from "./sleepers.ts";

/** Options of {@linkcode SharedMutex.create}. */
export interface SharedMutexCreateOptions extends CreateOptions, MembersOptions {}

/** Options of {@linkcode SharedMutex.openOrCreate}. */
export interface SharedMutexOpenOrCreateOptions extends OpenOrCreateOptions, MembersOptions {}

const lock = lockAt(1);

const rules: Rules = {
  kind: "mutex",
  size: () => 4 * 2 * LINE,
  describe: () => "one lock",
};

function shapeOf(options: MembersOptions): Shape {
  checkOptions(options);
  return { kind: "mutex", capacity: 0, limit: 0, format: 0, places: checkPlaces(options.members) };
}

/**
 * The hold of a {@linkcode SharedMutex}.
 *
 * @example
 * ```ts
 * import { SharedMutex } from "@sysv/ipc/shared";
 * import { assertEquals } from "@std/assert";
 *
 * using mutex = SharedMutex.create();
 * const guard = mutex.lockSync();
 * assertEquals([mutex.locked, guard.abandoned], [true, 0]);
 * guard.release();
 * assertEquals(mutex.locked, false);
 * ```
 */
export class SharedMutexGuard implements Disposable {
  /**
   * How many holders have died since the mutex was released last: 0 if all is well, else what it
   * protects may be half changed. Releasing says that it is right again.
   */
  readonly abandoned: number;
  /** Undefined once it is released. */
  #mutex: SharedMutex | undefined;
  #lost: AbortController | undefined;

  /** @ignore */
  constructor(token: symbol, mutex: SharedMutex, abandoned: number) {
    checkInternal(token, "a method of the mutex");
    this.#mutex = mutex;
    this.abandoned = abandoned;
  }

  /** Fires when the mutex is removed while this guard holds it. Costs nothing until it is asked for. */
  get lost(): AbortSignal {
    if (this.#lost === undefined) {
      this.#lost = new AbortController();
      if (this.#mutex !== undefined) watch(this.#mutex, this.#lost, true);
    }
    return this.#lost.signal;
  }

  /**
   * Unlocks. Does nothing the second time, nor once the mutex is removed or its handle disposed, which
   * unlocks too.
   */
  release(): void {
    const mutex = this.#mutex;
    if (mutex === undefined) return;
    this.#mutex = undefined;
    if (this.#lost !== undefined) watch(mutex, this.#lost, false);
    unlock(mutex);
  }

  /** Unlocks, so that `using` does. */
  [Symbol.dispose](): void {
    this.release();
  }
}

let unlock: (mutex: SharedMutex) => void;
let watch: (mutex: SharedMutex, controller: AbortController, begins: boolean) => void;

/**
 * A lock in shared memory that one holder has at a time, in any process.
 *
 * - **Cost:** lock and unlock make no system call while nobody else wants it. Under contention it spins
 *   a little and then sleeps; only an unlock that finds sleepers wakes one.
 * - **Death:** when a holder dies, by SIGKILL too, the next one gets the lock and is told by `abandoned`,
 *   as with `Mutex`.
 * - **Order:** none is promised: a call at the right moment gets it. Within a handle, promises get it in their
 *   order.
 * - **Threads:** the hold belongs to the process: a Worker that ends without releasing keeps it locked
 *   until the process ends, or another handle of the thread is disposed.
 *
 * `Mutex` of `@sysv/ipc/sync` costs two system calls, is served in the order of arrival, shows who holds
 * it, needs no places, and can refuse after a death: take it where a lock is held for long or seldom
 * taken. Take this one for short sections that are entered often.
 *
 * @example
 * ```ts
 * import { SharedMutex } from "@sysv/ipc/shared";
 * import { assertEquals } from "@std/assert";
 *
 * using mutex = SharedMutex.create();
 * {
 *   using guard = await mutex.lock();
 *   assertEquals(guard.abandoned, 0);
 *   assertEquals(mutex.tryLock(), undefined);
 * }
 * assertEquals(mutex.locked, false);
 * ```
 */
export class SharedMutex extends SharedStructure {
  readonly #members: Members;
  readonly #words: Int32Array;
  readonly #seat: Members["seat"];
  readonly #line = new Line();

  static {
    unlock = (mutex) => mutex.#unlock();
    watch = (mutex, controller, begins) => {
      const members = mutex.#members;
      if (begins) members.watch.add(members, controller);
      else members.watch.delete(controller);
    };
    showAs<SharedMutex>("SharedMutex", this.prototype, (mutex) => ({
      id: mutex.id,
      key: shownKey(mutex.key),
      locked: () => mutex.locked,
    }));
  }

  private constructor(pair: Pair = unmade()) {
    const members = new Members(pair, [lock]);
    super(internal, members);
    this.#members = members;
    this.#words = members.words;
    this.#seat = members.seat;
  }

  /**
   * Creates a mutex. Disposing the handle removes it, unless `owner` is false.
   *
   * @param options The key, the mode, who owns it, and how many can take part.
   * @returns A handle to a mutex that is free.
   * @throws {IpcError} EEXIST if the key is taken, ENOSPC if a limit of the system is reached.
   */
  static create(options: SharedMutexCreateOptions = {}): SharedMutex {
    return new SharedMutex(createPair(rules, shapeOf(options), options));
  }

  /**
   * Opens a mutex that exists.
   *
   * @param key The key or name.
   * @returns A handle that does not own it.
   * @throws {IpcError} ENOENT if there is none, EINVAL if it is something else, EACCES if its mode does
   * not permit it, EAGAIN if its creator has not finished it: `openOrCreate` does, EIDRM if it
   * is just being removed.
   */
  static open(key: Key): SharedMutex {
    return new SharedMutex(openPair(rules, key, 0));
  }

  /**
   * Opens a mutex, or creates it, safely against every race and crash.
   *
   * @param key The key or name.
   * @param options The mode to create it with, how many can take part, and whether to accept one of another user.
   * @returns A handle that does not own it.
   * @throws {IpcError} EPERM if another user created it, EINVAL if it is something else, EACCES, ENOSPC,
   * EAGAIN if another process is stopped as it makes it.
   */
  static openOrCreate(key: Key, options: SharedMutexOpenOrCreateOptions = {}): SharedMutex {
    return new SharedMutex(openOrCreatePair(rules, shapeOf(options), key, options));
  }

  /**
   * Takes a mutex by the identifier that another process passed.
   *
   * @param id The identifier.
   * @returns A handle that does not own it.
   * @throws {IpcError} EIDRM if there is none, EINVAL if it is something else, EACCES if its mode does
   * not permit it.
   */
  static fromId(id: number): SharedMutex {
    return new SharedMutex(pairFromId(rules, id, 0));
  }

  /** Whether somebody holds it, or died as its holder and nobody has taken it since. */
  get locked(): boolean {
    this.#members.check();
    return ownerOf(Atomics.load(this.#words, lock.word)) !== 0;
  }

  /**
   * Locks, waiting until it is free: behind a holder of this thread, too.
   *
   * @param options The signal and the timeout.
   * @returns A promise of a guard, to release with `using`. It rejects with the reason of the signal,
   * with a DOMException "TimeoutError" if the timeout expires, with a ReferenceError if the handle is
   * disposed, with IpcError EIDRM if the mutex is removed, ENOSPC if all places are taken.
   */
  async lock(options?: WaitOptions): Promise<SharedMutexGuard> {
    const limits = readWaitOptions(options);
    limits.signal?.throwIfAborted();
    if (!this.#line.taken) {
      const me = this.#seat.place;
      if (me !== 0 && Atomics.compareExchange(this.#words, lock.word, 0, me) === 0) {
        const due = turn();
        if (due !== undefined) await due;
        return new SharedMutexGuard(internal, this, 0);
      }
    }
    return await this.#wait(limits);
  }

  async #wait(options: WaitOptions): Promise<SharedMutexGuard> {
    const members = this.#members;
    const rest = remaining(options);
    const flow = () => members.protocol.lock(lock, this.#seat.place);
    const perform = () => members.drive(flow, "lock", rest());
    return this.#accept(await members.inLine(this.#line, "lock", options, perform));
  }

  /**
   * Locks, blocking the thread until it is free.
   *
   * @param options The timeout.
   * @returns A guard, to release with `using`.
   * @throws {IpcError} EDEADLK if this thread holds it; EINTR if the program handled a signal; EIDRM if
   * it is removed; ENOSPC if all places are taken.
   * @throws {DOMException} "TimeoutError" if the timeout expires.
   */
  lockSync(options?: TimeoutOptions): SharedMutexGuard {
    checkTimeoutOptions(options);
    const me = this.#seat.place;
    if (me !== 0 && Atomics.compareExchange(this.#words, lock.word, 0, me) === 0) {
      return new SharedMutexGuard(internal, this, 0);
    }
    return this.#block(options);
  }

  #block(options: TimeoutOptions | undefined): SharedMutexGuard {
    const members = this.#members;
    const rest = remaining(options ?? {});
    members.enterSync(rest());
    const deaths = this.#spin();
    if (deaths !== undefined) return new SharedMutexGuard(internal, this, deaths);
    if (members.isHere(ownerOf(Atomics.load(this.#words, lock.word)))) {
      throw members.error("EDEADLK", "lock", "this thread holds it: release it first");
    }
    const flow = members.protocol.lock(lock, this.#seat.place);
    return this.#accept(members.driveSync(flow, "lock", rest()));
  }

  /**
   * Locks if it is free.
   *
   * @returns A guard, to release with `using`, or undefined.
   * @throws {IpcError} EIDRM if it is removed, ENOSPC if all places are taken.
   */
  tryLock(): SharedMutexGuard | undefined {
    const members = this.#members;
    const deaths = members.tried((options) => {
      members.enterSync(options);
      const flow = members.protocol.tryLock(lock, this.#seat.place);
      return this.#take() ?? members.driveSync(flow, "lock", options);
    });
    return deaths === undefined ? undefined : this.#accept(deaths);
  }

  /**
   * Runs a function while it holds the lock.
   *
   * @param task The function, which is given the guard.
   * @param options The signal and the timeout.
   * @returns A promise of what the function returns; it rejects as {@linkcode SharedMutex.lock} does.
   */
  async run<Result>(
    task: (guard: SharedMutexGuard) => Result | Promise<Result>,
    options?: WaitOptions,
  ): Promise<Result> {
    checkFunction(task, "task");
    const guard = await this.lock(options);
    try {
      return await task(guard);
    } finally {
      guard.release();
    }
  }

  /** Looks for a while whether it becomes free. */
  #spin(): number | undefined {
    for (let i = 0; i < SPINS; i++) {
      if (ownerOf(Atomics.load(this.#words, lock.word)) !== 0) continue;
      const deaths = this.#take();
      if (deaths !== undefined) return deaths;
    }
    return undefined;
  }

  /** Takes a lock that nobody holds, and returns how many of its holders have died. */
  #take(): number | undefined {
    for (;;) {
      const seen = Atomics.load(this.#words, lock.word);
      if (ownerOf(seen) !== 0) return undefined;
      if ((seen & ENDED) !== 0) throw this.#removed();
      const taken = seen | this.#seat.place;
      if (Atomics.compareExchange(this.#words, lock.word, seen, taken) === seen) {
        return deathsOf(seen);
      }
    }
  }

  #accept(deaths: number): SharedMutexGuard {
    if (deaths === REFUSED) throw this.#removed();
    return new SharedMutexGuard(internal, this, deaths);
  }

  #removed(): Error {
    return this.#members.error("EIDRM", "lock");
  }

  #unlock(): void {
    const me = this.#seat.place;
    if (me === 0 || Atomics.compareExchange(this.#words, lock.word, me, 0) === me) return;
    this.#members.unlock(lock);
  }
}
