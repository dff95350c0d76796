/**
 * A count of who is busy: {@linkcode Gauge}.
 *
 * @module
 */

import { checkInteger, checkOptions } from "../ffi/check.ts";
import { readWaitOptions, type TimeoutOptions, type WaitOptions } from "../wait/options.ts";
import { internal } from "../ipc/internal.ts";
import type { Key } from "../ipc/key.ts";
import type { CreateOptions, OpenOrCreateOptions } from "../ipc/object.ts";
import { SemaphoreSet } from "../ipc/semaphore_set.ts";
import type { Action } from "../ipc/steps.ts";
import type { SemaphoreArray } from "./array.ts";
import { Engine } from "./engine.ts";
import { type Flow, run, runSync } from "./flow.ts";
import * as flows from "./flows/gauge.ts";
import { Guard, releaseBy } from "./guard.ts";
import { Primitive, showPrimitive } from "./primitive.ts";
import { gauge as protocol } from "./protocols.ts";

const kind = "gauge";
const enter: Action = (name) => `enter ${name}`;
const leave: Action = (name) => `leave ${name}`;
const waitForIdle: Action = (name) => `wait until ${name} is idle`;
const waitForAtLeast = (least: number): Action => (name) => `wait until ${name} reaches ${least}`;
const waitForAtMost = (limit: number): Action => (name) => `wait until ${name} falls to ${limit}`;
const { values } = protocol;

/**
 * A count, such as of busy workers, that never drifts: when a process dies, the kernel subtracts what the
 * process had entered.
 *
 * - **Death:** the entries of a process end with it, even by SIGKILL.
 * - **Waiting:** until the gauge is idle, reaches a number, or falls to one.
 * - **Threads:** an entry belongs to its process.
 *
 * Layout: semaphore 0 is the value, semaphore 1 what is left to 32767. To enter: `[(1, -1, UNDO),
 * (0, +1, UNDO)]`, to leave `[(0, -1, UNDO), (1, +1, UNDO)]`. To wait until it is idle: `(0, 0)`, for n
 * at least: `[(0, -n), (0, +n)]`, for n at most the same of semaphore 1 with 32767 - n.
 *
 * @example
 * ```ts
 * import { Gauge } from "@sysv/ipc/sync";
 * import { assertEquals } from "@std/assert";
 *
 * using gauge = Gauge.create();
 * {
 *   using _busy = gauge.enter();
 *   assertEquals(gauge.value, 1);
 * }
 * await gauge.waitForIdle();
 * ```
 */
export class Gauge extends Primitive {
  readonly #engine: Engine;

  /**
   * Makes a gauge of semaphores that start with 0 and 32767.
   *
   * @param array The semaphores: if they are not in the kernel, one can only wait for the
   * gauge in promises, and remove it.
   */
  constructor(array: SemaphoreArray) {
    const engine = new Engine(array, kind);
    super(internal, engine);
    this.#engine = engine;
  }

  /**
   * Creates a gauge. Disposing the handle removes it, unless `owner` is false.
   *
   * @param options The key, the mode, and whether the handle owns it.
   * @returns A handle to an idle gauge.
   * @throws {IpcError} EEXIST if the key is taken, ENOSPC if a limit of the system is reached.
   */
  static create(options: CreateOptions = {}): Gauge {
    checkOptions(options);
    return new Gauge(SemaphoreSet.create({ ...options, values, kind }));
  }

  /**
   * Opens a gauge that exists.
   *
   * @param key The key or name.
   * @returns A handle that does not own it.
   * @throws {IpcError} ENOENT if there is none, EINVAL if it is something else, EACCES if its mode does
   * not permit reading, EAGAIN if its creator has not finished it: `openOrCreate` does.
   */
  static open(key: Key): Gauge {
    return new Gauge(SemaphoreSet.open(key, { kind }));
  }

  /**
   * Opens a gauge, or creates it, safely against every race and crash.
   *
   * @param key The key or name.
   * @param options The mode to create it with, and whether to accept one of another user.
   * @returns A handle that does not own it.
   * @throws {IpcError} EPERM if another user created it, EINVAL if it is something else, EACCES, ENOSPC.
   */
  static openOrCreate(key: Key, options: OpenOrCreateOptions = {}): Gauge {
    checkOptions(options);
    return new Gauge(SemaphoreSet.openOrCreate(key, { ...options, values, kind }));
  }

  /**
   * Takes a gauge by the identifier that another process passed.
   *
   * @param id The identifier.
   * @returns A handle that does not own it.
   * @throws {IpcError} EIDRM if there is none, EINVAL if it is something else, EACCES if its mode does
   * not permit reading.
   */
  static fromId(id: number): Gauge {
    return new Gauge(SemaphoreSet.fromId(id, { kind }));
  }

  static {
    showPrimitive("Gauge", this.prototype, (gauge) => ({ value: () => gauge.value }));
  }

  /** The count: how many entries there are. */
  get value(): number {
    return this.#engine.readSync()[protocol.value]!;
  }

  /**
   * Adds to the count; never waits.
   *
   * @param by How much to add, from 1 to 32767, 1 unless given.
   * @returns An entry, to leave with `using`.
   * @throws {RangeError} If the count would pass 32767.
   * @throws {IpcError} EIDRM if the gauge is removed.
   */
  enter(by = 1): Guard {
    checkInteger(by, 1, protocol.most, `enter the gauge by ${by}`);
    const engine = this.#engine;
    if (runSync(engine, flows.enter(protocol, by), enter)) {
      return new Guard(internal, engine, releaseBy(flows.leave(protocol, by), leave, "held", by));
    }
    throw new RangeError(
      `Cannot enter ${engine.name} by ${by}: it counts no more than ${protocol.most}`,
    );
  }

  /**
   * Waits until the count is 0.
   *
   * It resolves only if the count was 0 at some moment after it began. A moment shorter than entering the kernel takes can be
   * missed, and a longer one while threads start or are lacking.
   *
   * @param options The signal and the timeout.
   * @returns A promise that rejects with the reason of the signal, with a DOMException "TimeoutError"
   * if the timeout expires, with a ReferenceError if the handle is disposed, with IpcError EIDRM if the
   * gauge is removed.
   */
  async waitForIdle(options?: WaitOptions): Promise<void> {
    await run(this.#engine, flows.waitForIdle(protocol), waitForIdle, options);
  }

  /**
   * Waits until the count is 0, blocking the thread.
   *
   * @param options The timeout.
   * @throws {IpcError} EDEADLK if an entry of this thread is not left yet.
   * @throws {DOMException} "TimeoutError" if the timeout expires.
   * @throws {IpcError} EINTR if the program handled a signal, EIDRM if the gauge is removed.
   */
  waitForIdleSync(options?: TimeoutOptions): void {
    this.#fallSync(flows.waitForIdle(protocol), waitForIdle, 0, options);
  }

  /**
   * Waits until the count is at least `least`.
   *
   * It resolves only if the count was large enough at some moment after it began. A moment shorter than entering the kernel takes can be
   * missed, and a longer one while threads start or are lacking.
   *
   * @param least The count to wait for, from 1 to 32767.
   * @param options The signal and the timeout.
   * @returns A promise that rejects with the reason of the signal, with a DOMException "TimeoutError"
   * if the timeout expires, with a ReferenceError if the handle is disposed, with IpcError EIDRM if the
   * gauge is removed.
   */
  async waitForAtLeast(least: number, options?: WaitOptions): Promise<void> {
    checkLeast(least);
    const flow = flows.waitForAtLeast(protocol, least);
    await run(this.#engine, flow, waitForAtLeast(least), options);
  }

  /**
   * Waits until the count is at least `least`, blocking the thread.
   *
   * @param least The count to wait for, from 1 to 32767.
   * @param options The timeout.
   * @throws {DOMException} "TimeoutError" if the timeout expires.
   * @throws {IpcError} EINTR if the program handled a signal, EIDRM if the gauge is removed.
   */
  waitForAtLeastSync(least: number, options?: TimeoutOptions): void {
    checkLeast(least);
    const flow = flows.waitForAtLeast(protocol, least);
    runSync(this.#engine, flow, waitForAtLeast(least), options);
  }

  /**
   * Waits until the count is at most `limit`.
   *
   * It resolves only if the count was small enough at some moment after it began. A moment shorter than entering the kernel takes can be
   * missed, and a longer one while threads start or are lacking.
   *
   * @param limit The count to wait for, from 0 to 32766.
   * @param options The signal and the timeout.
   * @returns A promise that rejects with the reason of the signal, with a DOMException "TimeoutError"
   * if the timeout expires, with a ReferenceError if the handle is disposed, with IpcError EIDRM if the
   * gauge is removed.
   */
  async waitForAtMost(limit: number, options?: WaitOptions): Promise<void> {
    checkLimit(limit);
    const flow = flows.waitForAtMost(protocol, limit);
    await run(this.#engine, flow, waitForAtMost(limit), options);
  }

  /**
   * Waits until the count is at most `limit`, blocking the thread.
   *
   * @param limit The count to wait for, from 0 to 32766.
   * @param options The timeout.
   * @throws {IpcError} EDEADLK if entries of this thread that are not left yet are more.
   * @throws {DOMException} "TimeoutError" if the timeout expires.
   * @throws {IpcError} EINTR if the program handled a signal, EIDRM if the gauge is removed.
   */
  waitForAtMostSync(limit: number, options?: TimeoutOptions): void {
    checkLimit(limit);
    this.#fallSync(flows.waitForAtMost(protocol, limit), waitForAtMost(limit), limit, options);
  }

  /** Waits until the gauge falls; refuses what an entry of this thread prevents. */
  #fallSync(flow: Flow<void>, action: Action, limit: number, options?: TimeoutOptions): void {
    const limits = readWaitOptions(options);
    const { local } = this.#engine;
    if (local.held > limit && limits.timeout === Infinity) {
      throw local.deadlock(this.#engine, action);
    }
    runSync(this.#engine, flow, action, limits);
  }
}

function checkLeast(least: number): void {
  checkInteger(least, 1, protocol.most, `wait for the gauge to reach ${least}`);
}

function checkLimit(limit: number): void {
  checkInteger(limit, 0, protocol.most - 1, `wait for the gauge to fall to ${limit}`);
}
