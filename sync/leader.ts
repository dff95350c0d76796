/**
 * One process of many leads: {@linkcode Leader}.
 *
 * @module
 */

import { checkFlag, checkFunction, checkInteger, checkOptions } from "../ffi/check.ts";
import {
  checkSignal,
  readWaitOptions,
  type TimeoutOptions,
  type WaitOptions,
} from "../wait/options.ts";
import { until } from "../wait/timer.ts";
import { checkInternal, internal } from "../ipc/internal.ts";
import type { Key } from "../ipc/key.ts";
import type { CreateOptions, OpenOrCreateOptions } from "../ipc/object.ts";
import { SemaphoreSet } from "../ipc/semaphore_set.ts";
import type { Action } from "../ipc/steps.ts";
import type { SemaphoreArray } from "./array.ts";
import { Engine } from "./engine.ts";
import { run, runSync } from "./flow.ts";
import * as flows from "./flows/leader.ts";
import { Guard, releaseBy, runWith } from "./guard.ts";
import { Primitive, showPrimitive } from "./primitive.ts";
import { leader as protocol } from "./protocols.ts";

/** Options of {@linkcode Leader.every}. */
export interface EveryOptions {
  /**
   * Whether the task first runs as soon as this process leads, instead of one interval later; but never
   * sooner than one interval after it ran last in this call.
   *
   * @default {false}
   */
  immediate?: boolean | undefined;
  /** Ends the timer when it is aborted: the promise resolves. */
  signal?: AbortSignal | undefined;
}

const kind = "leader";
const { values } = protocol;

const campaign: Action = (name) => `lead by ${name}`;
const resign: Action = (name) => `resign from ${name}`;

const release = releaseBy(flows.resign(protocol), resign);

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
export class Leadership extends Guard {
  /** The number of the term, larger than all before: a service can refuse commands of former leaders by it. */
  readonly term: number;
  readonly #engine: Engine;
  readonly #released = new AbortController();
  #lost: AbortController | undefined;

  /** @ignore */
  constructor(token: symbol, engine: Engine, term: number) {
    super(token, engine, release);
    this.#engine = engine;
    this.term = term;
  }

  /**
   * Fires when it is released.
   *
   * @ignore
   */
  ended(token: symbol): AbortSignal {
    checkInternal(token, "leadership.signal");
    return this.#released.signal;
  }

  /**
   * Fires as `lost` does, but at once: from its first use until the release it is a wait in the kernel, which
   * takes a thread and keeps the program alive.
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
    let own;
    try {
      own = this.#engine.reopen();
      await own.array.operate(protocol.untilRemoved, { signal });
    } catch (error) {
      if (!signal.aborted) lost.abort(error);
    } finally {
      own?.[Symbol.dispose]();
    }
  }

  /** Resigns: a candidate that waits leads at once. */
  override release(): void {
    super.release();
    this.#released.abort();
  }
}

/**
 * The choice of one leader among processes.
 *
 * - **One leader:** at most one process leads at a time.
 * - **Death:** when the leader dies, even by SIGKILL, the candidate that has waited longest leads at once,
 *   without polling or messages: the kernel gives it the seat.
 * - **Terms:** each leadership has a number larger than all before, taken in the same atomic step.
 * - **Threads:** the leadership belongs to the process.
 *
 * Layout: semaphore 0 is 1 if the seat is vacant, 1 is the low digit of the term and 2 the high one,
 * base 32768, and 3 is always 0, so that a wait for it ends with the removal. To lead:
 * `[(0, -1, UNDO), (1, +1)]`, and if that fails with ERANGE `[(0, -1, UNDO), (1, -32767), (2, +1)]` with
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
export class Leader extends Primitive {
  readonly #engine: Engine;

  /**
   * Makes a leader of semaphores that start with 1, 0, 0 and 0.
   *
   * @param array The semaphores: if they are not in the kernel, only `campaign`, `every`
   * and `remove` work.
   */
  constructor(array: SemaphoreArray) {
    const engine = new Engine(array, kind);
    super(internal, engine);
    this.#engine = engine;
  }

  /**
   * Creates a leader object. Disposing the handle removes it, unless `owner` is false.
   *
   * @param options The key, the mode, and whether the handle owns it.
   * @returns A handle to an object whose seat is vacant.
   * @throws {IpcError} EEXIST if the key is taken, ENOSPC if a limit of the system is reached.
   */
  static create(options: CreateOptions = {}): Leader {
    checkOptions(options);
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
   * Opens an object, or creates it, safely against every race and crash.
   *
   * @param key The key or name.
   * @param options The mode to create it with, and whether to accept one of another user.
   * @returns A handle that does not own it.
   * @throws {IpcError} EPERM if another user created it, EINVAL if it is something else, EACCES, ENOSPC.
   */
  static openOrCreate(key: Key, options: OpenOrCreateOptions = {}): Leader {
    checkOptions(options);
    return new Leader(SemaphoreSet.openOrCreate(key, { ...options, values, kind }));
  }

  /**
   * Takes an object by the identifier that another process passed.
   *
   * @param id The identifier.
   * @returns A handle that does not own it.
   * @throws {IpcError} EIDRM if there is none, EINVAL if it is something else, EACCES if its mode does
   * not permit reading.
   */
  static fromId(id: number): Leader {
    return new Leader(SemaphoreSet.fromId(id, { kind }));
  }

  static {
    showPrimitive("Leader", this.prototype, (leader) => ({ leaderPid: () => leader.leaderPid }));
  }

  /** The process that leads, 0 for one of another PID namespace; undefined if there is none. */
  get leaderPid(): number | undefined {
    return this.#engine.holderOf(protocol.seat);
  }

  /**
   * Waits until this process leads.
   *
   * @param options The signal and the timeout.
   * @returns A promise of the leadership, to resign with `using`. It rejects with the reason of the
   * signal, with a DOMException "TimeoutError" if the timeout expires, with a ReferenceError if the handle
   * is disposed, with IpcError EIDRM if the object is removed.
   */
  async campaign(options?: WaitOptions): Promise<Leadership> {
    const engine = this.#engine;
    const running = run(engine, flows.campaign(protocol), campaign, options);
    return new Leadership(internal, engine, await engine.local.pend(running));
  }

  /**
   * Waits until this process leads, blocking the thread.
   *
   * @param options The timeout.
   * @returns The leadership, to resign with `using`.
   * @throws {DOMException} "TimeoutError" if the timeout expires.
   * @throws {IpcError} EDEADLK if this thread leads, or waits for that in a promise; EINTR if the program handled a signal, EIDRM if the object is removed.
   */
  campaignSync(options?: TimeoutOptions): Leadership {
    const limits = readWaitOptions(options);
    const engine = this.#engine;
    engine.local.refuseDeadlock(engine, campaign);
    const term = runSync(engine, flows.campaign(protocol), campaign, limits);
    return new Leadership(internal, engine, term);
  }

  /**
   * Leads if no process does; never waits.
   *
   * @returns The leadership, to resign with `using`, or undefined.
   * @throws {IpcError} EIDRM if the object is removed.
   */
  tryCampaign(): Leadership | undefined {
    const term = runSync(this.#engine, flows.tryCampaign(protocol), campaign);
    return term === undefined ? undefined : new Leadership(internal, this.#engine, term);
  }

  /**
   * Runs a function while this process leads.
   *
   * @param run The function, given the leadership; it resigns when the function, or its promise, is done.
   * @param options The signal and the timeout of the wait for the leadership.
   * @returns A promise of what the function returns. It rejects with what the function throws, and as
   * `campaign` does if this process does not lead: then the function is not run.
   */
  run<Result>(
    run: (leadership: Leadership) => Result | Promise<Result>,
    options?: WaitOptions,
  ): Promise<Result> {
    return runWith(() => this.campaign(options), run);
  }

  /**
   * Runs a task at an interval, in exactly one of all processes that call this; when that process dies, in
   * another one at once. A task that takes longer than the interval delays the next.
   *
   * A task that releases the leadership steps down: the process that has waited longest goes on, and this one
   * campaigns again, behind all others.
   *
   * @param milliseconds The interval, from 1 to 2147483647.
   * @param task The task, given the leadership.
   * @param options The signal, and whether the task first runs at once.
   * @returns A promise that resolves when the signal is aborted. It rejects with what the task throws,
   * and with IpcError EIDRM if the object is removed: this process has resigned then.
   */
  async every(
    milliseconds: number,
    task: (leadership: Leadership) => unknown,
    options: EveryOptions = {},
  ): Promise<void> {
    checkInteger(milliseconds, 1, 0x7fffffff, `do something every ${milliseconds} milliseconds`);
    checkFunction(task, "task");
    checkOptions(options);
    const { signal } = options;
    checkSignal(signal);
    const immediate = checkFlag(options.immediate, "immediate") === true;
    const routine = { milliseconds, task, immediate, signal, due: 0 };
    for (;;) {
      const leadership = await this.#campaignUntil(signal);
      if (leadership === undefined) return;
      try {
        await lead(leadership, routine);
      } finally {
        leadership.release();
      }
    }
  }

  /** Campaigns until the signal is aborted. */
  async #campaignUntil(signal: AbortSignal | undefined): Promise<Leadership | undefined> {
    try {
      return await this.campaign({ signal });
    } catch (error) {
      if (signal?.aborted) return undefined;
      throw error;
    }
  }
}

/** A task, and its interval. */
interface Routine {
  readonly milliseconds: number;
  readonly task: (leadership: Leadership) => unknown;
  readonly immediate: boolean;
  readonly signal: AbortSignal | undefined;
  /** When it is due next, kept from one term to the next. */
  due: number;
}

/** Runs a task at its interval until the leadership is released or the signal is aborted. */
async function lead(leadership: Leadership, routine: Routine): Promise<void> {
  const { milliseconds, task, immediate, signal } = routine;
  const lost = leadership.signal;
  const ends = AbortSignal.any([lost, leadership.ended(internal), ...(signal ? [signal] : [])]);
  const now = performance.now();
  routine.due = immediate ? Math.max(routine.due, now) : now + milliseconds;
  let atOnce = routine.due === now && !ends.aborted;
  while (atOnce || await sleep(routine.due - performance.now(), ends)) {
    atOnce = false;
    await task(leadership);
    routine.due = Math.max(routine.due + milliseconds, performance.now());
  }
  if (lost.aborted && !signal?.aborted) throw lost.reason;
}

/** Waits for some milliseconds; false if that was ended early. */
function sleep(milliseconds: number, ends: AbortSignal): Promise<boolean> {
  return until(performance.now() + milliseconds, ends).then(() => true, () => false);
}
