/**
 * Exactly one of many processes: {@linkcode Leader}.
 *
 * @module
 */

import { checkInteger } from "../ffi/check.ts";
import type { TimeoutOptions, WaitOptions } from "../wait/options.ts";
import type { Key } from "../ipc/key.ts";
import type { CreateOptions, OpenOrCreateOptions } from "../ipc/object.ts";
import { SemaphoreSet } from "../ipc/semaphore_set.ts";
import type { SemaphoreArray } from "./array.ts";
import { leader as protocol } from "./protocols.ts";
import { checkFunction, type Guard, isRemoved, Structure } from "./structure.ts";

/** Options of {@linkcode Leader.every}. */
export interface EveryOptions {
  /**
   * Whether the first time is as soon as this process leads, instead of one interval later. It is
   * never less than one interval after the last time in this call.
   *
   * @default {false}
   */
  immediate?: boolean | undefined;
  /** Ends it when it is aborted: the promise resolves. */
  signal?: AbortSignal | undefined;
}

const kind = "leader";
const { values } = protocol;

let endOf: (leadership: Leadership) => AbortSignal;

/**
 * The leadership of one process, until it is released or the process ends.
 *
 * @example
 * ```ts
 * import { Leader } from "@sysv/ipc/sync";
 * import { assertEquals } from "@std/assert";
 *
 * using leader = Leader.create();
 * const leadership = leader.campaignSync();
 * assertEquals([leadership.term, leader.tryCampaign()], [1, undefined]);
 * leadership.release();
 * assertEquals(leader.leaderPid, undefined);
 * ```
 */
export class Leadership implements Disposable {
  /** Larger than that of every leader before: what it guards can refuse commands of former leaders. */
  readonly term: number;
  readonly #structure: Structure;
  readonly #guard: Guard;
  readonly #released = new AbortController();
  #lost: AbortController | undefined;

  static {
    endOf = (leadership) => leadership.#released.signal;
  }

  /**
   * Creates the leadership of a term.
   *
   * @param structure The semaphores.
   * @param term The number of the term.
   */
  constructor(structure: Structure, term: number) {
    this.#structure = structure;
    this.#guard = structure.guard(protocol.resign);
    this.term = term;
  }

  /**
   * Fires when the object is removed: then others can make a new one, and lead too. From its first
   * use until the release it is a wait, which keeps the program alive.
   */
  get signal(): AbortSignal {
    if (this.#lost === undefined) {
      const lost = this.#lost = new AbortController();
      if (!this.#released.signal.aborted) this.#watch(lost);
    }
    return this.#lost.signal;
  }

  async #watch(lost: AbortController): Promise<void> {
    const { signal } = this.#released;
    try {
      using own = this.#structure.reopen();
      await own.array.operate(protocol.untilRemoved, { signal });
    } catch (error) {
      if (!signal.aborted) lost.abort(error);
    }
  }

  /**
   * Resigns: a candidate that waits leads at once. Works after the handle is disposed. Does nothing the
   * second time, nor once the object is removed.
   */
  release(): void {
    this.#released.abort();
    this.#guard.release();
  }

  /** Resigns, so that `using` does. */
  [Symbol.dispose](): void {
    this.release();
  }
}

/**
 * The choice of one leader among processes.
 *
 * - **Exactly one:** holds the leadership at a time.
 * - **Death:** when the leader dies, by SIGKILL too, the candidate that has waited longest leads at
 *   once, without polling or messages: the kernel gives it the seat.
 * - **Terms:** each leadership has a number larger than all before, taken in the same atomic step.
 * - **Threads:** the leadership belongs to the process.
 *
 * Layout: semaphore 0 is 1 if the seat is vacant, 1 is the low digit of the term and 2 the high one,
 * base 32768, and nobody adds to 3, so that who waits for that learns of the removal. To lead:
 * `[(0, -1, UNDO), (1, +1)]`, and if that gives ERANGE `[(0, -1, UNDO), (1, -32767), (2, +1)]` with
 * NOWAIT, or on EAGAIN the first again. Then the term is semaphore 2 times 32768, plus semaphore 1. To
 * resign: `(0, +1, UNDO)`.
 *
 * @example
 * ```ts
 * import { Leader } from "@sysv/ipc/sync";
 * import { assertEquals } from "@std/assert";
 *
 * using leader = Leader.create();
 * {
 *   using leadership = await leader.campaign();
 *   assertEquals(leadership.term, 1);
 * }
 * using next = await leader.campaign();
 * assertEquals(next.term, 2);
 * ```
 */
export class Leader implements Disposable {
  readonly #structure: Structure;

  /**
   * Makes it of semaphores that start with 1, 0, 0 and 0.
   *
   * @param array The semaphores: with those of another engine than the kernel, only `campaign`, `every`
   * and `remove` work.
   */
  constructor(array: SemaphoreArray) {
    this.#structure = new Structure(array, kind);
  }

  /**
   * Creates an object to lead by. Disposing the handle removes it, unless `owner` is false.
   *
   * @param options The key, the mode, and who owns it.
   * @returns A handle to an object whose seat is vacant.
   * @throws {IpcError} EEXIST if the key is taken, ENOSPC if a limit of the system is reached.
   */
  static create(options: CreateOptions = {}): Leader {
    return new Leader(SemaphoreSet.create({ ...options, values, kind }));
  }

  /**
   * Opens an object that exists.
   *
   * @param key The key or name.
   * @returns A handle that does not own it.
   * @throws {IpcError} ENOENT if there is none, EINVAL if it is something else, EACCES if its mode does
   * not permit reading, EAGAIN if its creator has not finished it: `openOrCreate` does.
   */
  static open(key: Key): Leader {
    return new Leader(SemaphoreSet.open(key, { kind }));
  }

  /**
   * Opens such an object, or creates it, safely against every race and crash.
   *
   * @param key The key or name.
   * @param options The mode to create it with, and whether that of another user will do.
   * @returns A handle that does not own it.
   * @throws {IpcError} EPERM if another user made it, EINVAL if it is something else, EACCES, ENOSPC.
   */
  static openOrCreate(key: Key, options: OpenOrCreateOptions = {}): Leader {
    return new Leader(SemaphoreSet.openOrCreate(key, { ...options, values, kind }));
  }

  /**
   * Takes the identifier of an object that another process made.
   *
   * @param id The identifier.
   * @returns A handle that does not own it.
   * @throws {IpcError} EIDRM if there is none, EINVAL if it is something else, EACCES if its mode does
   * not permit reading.
   */
  static fromId(id: number): Leader {
    return new Leader(SemaphoreSet.fromId(id, { kind }));
  }

  /** The identifier, by which other processes of this machine can take it. */
  get id(): number {
    return this.#structure.set.id;
  }

  /** The key, undefined if it is private. */
  get key(): number | undefined {
    return this.#structure.set.key;
  }

  /** The process that leads, 0 for one of another PID namespace; undefined if none does. */
  get leaderPid(): number | undefined {
    return this.#structure.holderOf(protocol.seat);
  }

  /**
   * Waits until this process leads.
   *
   * @param options The signal and the timeout.
   * @returns A promise of the leadership, to resign with `using`. It rejects with the reason of the
   * signal, with a DOMException "TimeoutError" if the time is up, with a ReferenceError if the handle
   * is disposed, with IpcError EIDRM if the object is removed.
   */
  async campaign(options?: WaitOptions): Promise<Leadership> {
    const { array } = this.#structure;
    for (let won = false; !won;) {
      try {
        await array.operate(protocol.win, options);
        won = true;
      } catch (error) {
        if (!isFull(error)) throw error;
        // Whoever is first carries; after that the digit has room again.
        won = await array.tryOperate(protocol.winAndCarry);
      }
    }
    try {
      return this.#leadership(await array.read());
    } catch (error) {
      this.#structure.giveBack(protocol.resign);
      throw error;
    }
  }

  /**
   * Blocks the thread until this process leads.
   *
   * @param options The timeout.
   * @returns The leadership, to resign with `using`.
   * @throws {DOMException} "TimeoutError" if the time is up.
   * @throws {IpcError} EINTR if the program handled a signal, EIDRM if the object is removed.
   */
  campaignSync(options?: TimeoutOptions): Leadership {
    const { set } = this.#structure;
    for (let won = false; !won;) {
      try {
        set.operateSync(protocol.win, options);
        won = true;
      } catch (error) {
        if (!isFull(error)) throw error;
        won = set.tryOperate(protocol.winAndCarry);
      }
    }
    return this.#leadership(set.values);
  }

  /**
   * Leads if nobody does.
   *
   * @returns The leadership, to resign with `using`, or undefined.
   * @throws {IpcError} EIDRM if the object is removed.
   */
  tryCampaign(): Leadership | undefined {
    const { set } = this.#structure;
    let won;
    try {
      won = set.tryOperate(protocol.win);
    } catch (error) {
      if (!isFull(error)) throw error;
      won = set.tryOperate(protocol.winAndCarry);
    }
    return won ? this.#leadership(set.values) : undefined;
  }

  /**
   * Does something at an interval, in exactly one process of all that call this: in another one as
   * soon as that one dies. A task that takes longer than the interval delays the next.
   *
   * A task that releases the leadership steps down: whoever waits longest does it from then on, and this
   * process campaigns again, behind all who wait.
   *
   * @param milliseconds The interval, from 1 to 2147483647.
   * @param task What to do.
   * @param options The signal, and whether the first time is at once.
   * @returns A promise that resolves when the signal is aborted or the object removed, and rejects if
   * the task fails: then this process has resigned.
   */
  async every(
    milliseconds: number,
    task: (leadership: Leadership) => unknown,
    { signal, immediate = false }: EveryOptions = {},
  ): Promise<void> {
    checkInteger(milliseconds, 1, 0x7fffffff, `do something every ${milliseconds} milliseconds`);
    checkFunction(task);
    let due = 0;
    for (;;) {
      using leadership = await this.#campaignUntil(signal);
      if (leadership === undefined) return;
      const released = endOf(leadership);
      const ends = AbortSignal.any([leadership.signal, released, ...(signal ? [signal] : [])]);
      const now = performance.now();
      due = immediate ? Math.max(due, now) : now + milliseconds;
      let atOnce = due === now && !ends.aborted;
      while (atOnce || await sleep(due - performance.now(), ends)) {
        atOnce = false;
        await task(leadership);
        due = Math.max(due + milliseconds, performance.now());
      }
      if (!released.aborted) return;
    }
  }

  /** Campaigns until the signal is aborted or the object removed. */
  async #campaignUntil(signal: AbortSignal | undefined): Promise<Leadership | undefined> {
    try {
      return await this.campaign({ signal });
    } catch (error) {
      if (signal?.aborted || isRemoved(error)) return undefined;
      throw error;
    }
  }

  /**
   * Removes the object, now: whoever waits gets EIDRM.
   *
   * @throws {IpcError} EPERM if this process is neither owner nor creator nor privileged, EIDRM if it
   * is removed already.
   */
  remove(): void {
    this.#structure.remove();
  }

  /** Ends the handle, and removes the object if the handle owns it. A leadership stays good. */
  [Symbol.dispose](): void {
    this.#structure.dispose();
  }

  #leadership(values: readonly number[]): Leadership {
    return new Leadership(this.#structure, protocol.term(values));
  }
}

/** Whether the low digit of the term can grow no more. */
function isFull(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ERANGE";
}

/** Waits for some milliseconds; false if it was ended. */
function sleep(milliseconds: number, ends: AbortSignal): Promise<boolean> {
  if (ends.aborted) return Promise.resolve(false);
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      resolve(false);
    };
    const timer = setTimeout(() => {
      ends.removeEventListener("abort", end);
      resolve(true);
    }, Math.max(Math.ceil(milliseconds), 0));
    ends.addEventListener("abort", end, { once: true });
  });
}
