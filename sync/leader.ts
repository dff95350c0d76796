/**
 * Exactly one of many processes: {@linkcode Leader}.
 *
 * @module
 */

import { checkInteger, type TimeoutOptions, type WaitOptions } from "../check.ts";
import type { Key } from "../key.ts";
import type { CreateOptions, OpenOrCreateOptions } from "../object.ts";
import { SemaphoreSet } from "../semaphore.ts";
import type { SemaphoreArray } from "./array.ts";
import { leader as protocol } from "./protocols.ts";
import { type Guard, isRemoved, Structure } from "./structure.ts";

/** Options of {@linkcode Leader.every}. */
export interface EveryOptions {
  /** Ends it when it is aborted: the promise resolves. */
  signal?: AbortSignal | undefined;
}

const kind = "leader";
const { values } = protocol;

/** The leadership of one process, until it is released or the process ends. */
export class Leadership implements Disposable {
  /** Larger than that of every leader before: what it guards can refuse commands of former leaders. */
  readonly term: number;
  readonly #structure: Structure;
  readonly #guard: Guard;
  readonly #released = new AbortController();
  #lost: AbortController | undefined;

  /** Creates the leadership of a term. */
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

  /** Resigns: a candidate that waits leads at once. Does nothing the second time. */
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
 * Layout: semaphore 0 is 1 if the seat is vacant, 1 and 2 are the digits of the term, base 32768, and
 * nobody adds to 3. To lead: `[(0, -1, UNDO), (1, +1)]`, and if that gives ERANGE `[(0, -1, UNDO),
 * (1, -32767), (2, +1)]`. To resign: `(0, +1, UNDO)`.
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

  /** Makes it of semaphores that start with 1, 0, 0 and 0. */
  constructor(array: SemaphoreArray) {
    this.#structure = new Structure(array, kind);
  }

  /** Creates it. Disposing the handle removes it, unless `owner` is false. */
  static create(options: CreateOptions = {}): Leader {
    return new Leader(SemaphoreSet.create({ ...options, values, kind }));
  }

  /** Opens what exists. */
  static open(key: Key): Leader {
    return new Leader(SemaphoreSet.open(key, { kind }));
  }

  /** Opens or creates it, safely against every race and crash. */
  static openOrCreate(key: Key, options: OpenOrCreateOptions = {}): Leader {
    return new Leader(SemaphoreSet.openOrCreate(key, { ...options, values, kind }));
  }

  /** Takes the identifier of what another process made. */
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

  /** The process that leads; undefined if none does. */
  get leaderPid(): number | undefined {
    return this.#structure.holderOf(protocol.seat);
  }

  /**
   * Waits until this process leads.
   *
   * @param options The signal and the timeout.
   * @returns A promise of the leadership, to resign with `using`. It rejects with the reason of the
   * signal, with a DOMException "TimeoutError" if the time is up, with IpcError EIDRM if the object is
   * removed.
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
   * soon as that one dies. The first time is one interval after this process leads; a task that takes
   * longer than the interval delays the next.
   *
   * @param milliseconds The interval.
   * @param task What to do.
   * @param options The signal.
   * @returns A promise that resolves when the signal is aborted or the object removed, and rejects if
   * the task fails: then this process has resigned.
   */
  async every(
    milliseconds: number,
    task: (leadership: Leadership) => unknown,
    { signal }: EveryOptions = {},
  ): Promise<void> {
    checkInteger(milliseconds, 1, 0x7fffffff, `do something every ${milliseconds} milliseconds`);
    const candidate = await this.#campaignUntil(signal);
    if (candidate === undefined) return;
    using leadership = candidate;
    const ends = signal ? AbortSignal.any([signal, leadership.signal]) : leadership.signal;
    let due = performance.now() + milliseconds;
    while (await sleep(due - performance.now(), ends)) {
      await task(leadership);
      due = Math.max(due + milliseconds, performance.now());
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

  /** Removes it, now: whoever waits gets EIDRM. */
  remove(): void {
    this.#structure.array.remove();
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
