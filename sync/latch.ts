/**
 * Waiting until a number of things have happened: {@linkcode Latch}.
 *
 * @module
 */

import { checkInteger, checkOptions } from "../ffi/check.ts";
import type { TimeoutOptions, WaitOptions } from "../wait/options.ts";
import { internal } from "../ipc/internal.ts";
import type { Key } from "../ipc/key.ts";
import type { CreateOptions, OpenOrCreateOptions } from "../ipc/object.ts";
import { SemaphoreSet } from "../ipc/semaphore_set.ts";
import type { Action } from "../ipc/steps.ts";
import type { SemaphoreArray } from "./array.ts";
import { Engine } from "./engine.ts";
import { run, runSync } from "./flow.ts";
import * as flows from "./flows/latch.ts";
import { Primitive, showPrimitive } from "./primitive.ts";
import { latch as protocol } from "./protocols.ts";

/** The count of a latch. */
export interface LatchOptions {
  /** The first count, from 0 to 32767. */
  count: number;
}

/** Options of {@linkcode Latch.create}. */
export interface LatchCreateOptions extends CreateOptions, LatchOptions {}

/** Options of {@linkcode Latch.openOrCreate}. */
export interface LatchOpenOrCreateOptions extends OpenOrCreateOptions, LatchOptions {}

const kind = "latch";
const reset: Action = (name) => `reset ${name}`;
const countDown: Action = (name) => `count ${name} down`;
const wait: Action = (name) => `wait for ${name}`;

/** The largest count. */
const most = 32767;

/**
 * A count that falls to 0, which ends all waits: pending and later ones.
 *
 * - **Death:** what was counted down stays counted down. A process that dies before it counts down never will:
 *   use a timeout, or a {@linkcode Barrier}.
 *
 * Layout: semaphore 0 is the count. To count down by n: `(0, -n, NOWAIT)`. To wait: `(0, 0)`.
 *
 * @example
 * ```ts
 * import { Latch } from "@sysv/ipc/sync";
 * import { assertEquals } from "@std/assert";
 *
 * using latch = Latch.create({ count: 2 });
 * latch.countDown();
 * latch.countDown();
 * await latch.wait();
 * assertEquals(latch.count, 0);
 * ```
 */
export class Latch extends Primitive {
  readonly #engine: Engine;
  /** The count of `reset()` without one. */
  readonly #initial: number | undefined;

  /**
   * Makes a latch of one semaphore that starts with the count.
   *
   * @param array The semaphore: if it is not in the kernel, only `wait` and `remove`
   * work.
   * @param options The count of `reset()` without one.
   */
  constructor(array: SemaphoreArray, options: Partial<LatchOptions> = {}) {
    checkOptions(options);
    const { count } = options;
    if (count !== undefined) checkCount(count);
    const engine = new Engine(array, kind);
    super(internal, engine);
    this.#engine = engine;
    this.#initial = count;
  }

  /**
   * Creates a latch. Disposing the handle removes it, unless `owner` is false.
   *
   * @param options The count, the key, the mode, and whether the handle owns it.
   * @returns A handle to a latch with that count.
   * @throws {IpcError} EEXIST if the key is taken, ENOSPC if a limit of the system is reached.
   */
  static create(options: LatchCreateOptions): Latch {
    checkOptions(options);
    const { count, ...others } = options;
    checkCount(count);
    const values = protocol.values(count);
    return new Latch(SemaphoreSet.create({ ...others, values, kind }), { count });
  }

  /**
   * Opens a latch that exists.
   *
   * @param key The key or name.
   * @returns A handle that does not own it.
   * @throws {IpcError} ENOENT if there is none, EINVAL if it is something else, EACCES if its mode does
   * not permit reading, EAGAIN if its creator has not finished it: `openOrCreate` does.
   */
  static open(key: Key): Latch {
    return new Latch(SemaphoreSet.open(key, { kind }));
  }

  /**
   * Opens a latch, whose count is left alone, or creates it, safely against every race and crash.
   *
   * @param key The key or name.
   * @param options The count and the mode to create it with, and whether to accept
   * one of another user.
   * @returns A handle that does not own it.
   * @throws {IpcError} EPERM if another user created it, EINVAL if it is something else, EACCES, ENOSPC.
   */
  static openOrCreate(key: Key, options: LatchOpenOrCreateOptions): Latch {
    checkOptions(options);
    const { count, ...others } = options;
    checkCount(count);
    const values = protocol.values(count);
    return new Latch(SemaphoreSet.openOrCreate(key, { ...others, values, kind }), { count });
  }

  /**
   * Takes a latch by the identifier that another process passed.
   *
   * @param id The identifier.
   * @returns A handle that does not own it.
   * @throws {IpcError} EIDRM if there is none, EINVAL if it is something else, EACCES if its mode does
   * not permit reading.
   */
  static fromId(id: number): Latch {
    return new Latch(SemaphoreSet.fromId(id, { kind }));
  }

  static {
    showPrimitive("Latch", this.prototype, (latch) => ({ count: () => latch.count }));
  }

  /** The count that is left. */
  get count(): number {
    return this.#engine.readSync()[protocol.count]!;
  }

  /**
   * Counts down, if the count is large enough; never waits.
   *
   * @param by How much, from 1 to 32767, 1 unless given.
   * @returns Whether the count was large enough; if not, it stays as it is.
   * @throws {IpcError} EIDRM if the latch is removed.
   */
  countDown(by = 1): boolean {
    checkInteger(by, 1, most, `count the latch down by ${by}`);
    return runSync(this.#engine, flows.countDown(protocol, by), countDown);
  }

  /**
   * Sets the count, whatever it is; never waits. Pending waits go on waiting, for the new count.
   *
   * @param count The count, from 0 to 32767; the first one of this handle unless given.
   * @throws {TypeError} If no count is given, and this handle was opened without one.
   * @throws {IpcError} EIDRM if the latch is removed.
   */
  reset(count: number | undefined = this.#initial): void {
    if (count === undefined) {
      throw new TypeError(
        "Cannot reset a latch that was made elsewhere to nothing: expected a count",
      );
    }
    checkInteger(count, 0, most, `reset the latch to ${count}`);
    runSync(this.#engine, flows.reset(protocol, count), reset);
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
   * latch is removed.
   */
  async wait(options?: WaitOptions): Promise<void> {
    await run(this.#engine, flows.wait(protocol), wait, options);
  }

  /**
   * Waits until the count is 0, blocking the thread.
   *
   * @param options The timeout.
   * @throws {DOMException} "TimeoutError" if the timeout expires.
   * @throws {IpcError} EINTR if the program handled a signal, EIDRM if the latch is removed.
   */
  waitSync(options?: TimeoutOptions): void {
    runSync(this.#engine, flows.wait(protocol), wait, options);
  }

  /**
   * Returns whether the count is 0, without waiting.
   *
   * @returns Whether it is 0.
   * @throws {IpcError} EIDRM if the latch is removed.
   */
  tryWait(): boolean {
    return runSync(this.#engine, flows.tryWait(protocol), wait);
  }
}

/** Checked before anything is made. */
function checkCount(count: number): void {
  checkInteger(count, 0, most, `make a latch with a count of ${count}`);
}
