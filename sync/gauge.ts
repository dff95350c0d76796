/**
 * How many are at it: {@linkcode Gauge}.
 *
 * @module
 */

import { checkInteger } from "../ffi/check.ts";
import type { TimeoutOptions, WaitOptions } from "../wait/options.ts";
import type { Key } from "../ipc/key.ts";
import type { CreateOptions, OpenOrCreateOptions } from "../ipc/object.ts";
import { SemaphoreSet } from "../ipc/semaphore_set.ts";
import type { SemaphoreArray } from "./array.ts";
import { gauge as protocol, type Step } from "./protocols.ts";
import { type Guard, Structure } from "./structure.ts";

const kind = "gauge";
const { values } = protocol;

/**
 * A count of those who are at something, such as busy workers, which never drifts: who dies is
 * counted off by the kernel. A semaphore the other way round.
 *
 * - **Death:** what a process has entered is taken back when it ends, by SIGKILL too.
 * - **Waiting:** for the gauge to be idle, to reach a number, or to fall to one.
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
export class Gauge implements Disposable {
  readonly #structure: Structure;

  /**
   * Makes a gauge of semaphores that start with 0 and 32767.
   *
   * @param array The semaphores: with those of another engine than the kernel, one can only wait for the
   * gauge in promises, and remove it.
   */
  constructor(array: SemaphoreArray) {
    this.#structure = new Structure(array, kind);
  }

  /**
   * Creates a gauge. Disposing the handle removes it, unless `owner` is false.
   *
   * @param options The key, the mode, and who owns it.
   * @returns A handle to a gauge that is idle.
   * @throws {IpcError} EEXIST if the key is taken, ENOSPC if a limit of the system is reached.
   */
  static create(options: CreateOptions = {}): Gauge {
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
   * @param options The mode to create it with, and whether that of another user will do.
   * @returns A handle that does not own it.
   * @throws {IpcError} EPERM if another user made it, EINVAL if it is something else, EACCES, ENOSPC.
   */
  static openOrCreate(key: Key, options: OpenOrCreateOptions = {}): Gauge {
    return new Gauge(SemaphoreSet.openOrCreate(key, { ...options, values, kind }));
  }

  /**
   * Takes the identifier of a gauge that another process made.
   *
   * @param id The identifier.
   * @returns A handle that does not own it.
   * @throws {IpcError} EIDRM if there is none, EINVAL if it is something else, EACCES if its mode does
   * not permit reading.
   */
  static fromId(id: number): Gauge {
    return new Gauge(SemaphoreSet.fromId(id, { kind }));
  }

  /** The identifier, by which other processes of this machine can take it. */
  get id(): number {
    return this.#structure.set.id;
  }

  /** The key, undefined for a private gauge. */
  get key(): number | undefined {
    return this.#structure.set.key;
  }

  /** How many are at it. */
  get value(): number {
    return this.#structure.set.values[protocol.value]!;
  }

  /**
   * Enters; never waits.
   *
   * @param by How many enter, from 1 to 32767.
   * @returns What leaves again, with `using`.
   * @throws {RangeError} If more than 32767 would be at it.
   * @throws {IpcError} EIDRM if the gauge is removed.
   */
  enter(by = 1): Guard {
    checkInteger(by, 1, protocol.most, `enter the gauge by ${by}`);
    if (this.#structure.set.tryOperate(protocol.enter(by))) {
      return this.#structure.guard(protocol.leave(by));
    }
    throw new RangeError(
      `Cannot enter the gauge by ${by} as it counts no more than ${protocol.most}`,
    );
  }

  /**
   * Waits until nobody is at it.
   *
   * @param options The signal and the timeout.
   * @returns A promise that rejects with the reason of the signal, with a DOMException "TimeoutError"
   * if the time is up, with a ReferenceError if the handle is disposed, with IpcError EIDRM if the
   * gauge is removed.
   */
  async waitForIdle(options?: WaitOptions): Promise<void> {
    await this.#structure.array.operate(protocol.isIdle, options);
  }

  /**
   * Blocks the thread until nobody is at it.
   *
   * @param options The timeout.
   * @throws {DOMException} "TimeoutError" if the time is up.
   * @throws {IpcError} EINTR if the program handled a signal, EIDRM if the gauge is removed.
   */
  waitForIdleSync(options?: TimeoutOptions): void {
    this.#structure.set.operateSync(protocol.isIdle, options);
  }

  /**
   * Waits until so many are at it.
   *
   * @param least How many, from 1 to 32767.
   * @param options The signal and the timeout.
   * @returns A promise that rejects with the reason of the signal, with a DOMException "TimeoutError"
   * if the time is up, with a ReferenceError if the handle is disposed, with IpcError EIDRM if the
   * gauge is removed.
   */
  async waitForAtLeast(least: number, options?: WaitOptions): Promise<void> {
    await this.#structure.array.operate(atLeast(least), options);
  }

  /**
   * Blocks the thread until so many are at it.
   *
   * @param least How many, from 1 to 32767.
   * @param options The timeout.
   * @throws {DOMException} "TimeoutError" if the time is up.
   * @throws {IpcError} EINTR if the program handled a signal, EIDRM if the gauge is removed.
   */
  waitForAtLeastSync(least: number, options?: TimeoutOptions): void {
    this.#structure.set.operateSync(atLeast(least), options);
  }

  /**
   * Waits until no more than so many are at it.
   *
   * @param limit How many, from 0 to 32766.
   * @param options The signal and the timeout.
   * @returns A promise that rejects with the reason of the signal, with a DOMException "TimeoutError"
   * if the time is up, with a ReferenceError if the handle is disposed, with IpcError EIDRM if the
   * gauge is removed.
   */
  async waitForAtMost(limit: number, options?: WaitOptions): Promise<void> {
    await this.#structure.array.operate(atMost(limit), options);
  }

  /**
   * Blocks the thread until no more than so many are at it.
   *
   * @param limit How many, from 0 to 32766.
   * @param options The timeout.
   * @throws {DOMException} "TimeoutError" if the time is up.
   * @throws {IpcError} EINTR if the program handled a signal, EIDRM if the gauge is removed.
   */
  waitForAtMostSync(limit: number, options?: TimeoutOptions): void {
    this.#structure.set.operateSync(atMost(limit), options);
  }

  /**
   * Removes the gauge, now: whoever waits gets EIDRM.
   *
   * @throws {IpcError} EPERM if this process is neither owner nor creator nor privileged, EIDRM if it
   * is removed already.
   */
  remove(): void {
    this.#structure.remove();
  }

  /** Ends the handle, and removes the gauge if the handle owns it. An entry stays good. */
  [Symbol.dispose](): void {
    this.#structure.dispose();
  }
}

function atLeast(least: number): Step {
  checkInteger(least, 1, protocol.most, `wait for the gauge to reach ${least}`);
  return protocol.isAtLeast(least);
}

function atMost(limit: number): Step {
  checkInteger(limit, 0, protocol.most - 1, `wait for the gauge to fall to ${limit}`);
  return protocol.isAtMost(limit);
}
