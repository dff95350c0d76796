/**
 * Waiting until so many things have happened: {@linkcode Latch}.
 *
 * @module
 */

import { checkInteger, type TimeoutOptions, type WaitOptions } from "../check.ts";
import type { Key } from "../key.ts";
import type { CreateOptions, OpenOrCreateOptions } from "../object.ts";
import { SemaphoreSet } from "../semaphore.ts";
import type { SemaphoreArray } from "./array.ts";
import { latch as protocol } from "./protocols.ts";
import { Structure } from "./structure.ts";

/** How many a latch waits for. */
export interface LatchOptions {
  /** How many times it has to be counted down, from 0 to 32767. */
  count: number;
}

/** Options of {@linkcode Latch.create}. */
export interface LatchCreateOptions extends CreateOptions, LatchOptions {}

/** Options of {@linkcode Latch.openOrCreate}. */
export interface LatchOpenOrCreateOptions extends OpenOrCreateOptions, LatchOptions {}

const kind = "latch";

/**
 * A count that only falls: who waits goes on once it is 0, and from then on nobody waits any more.
 *
 * - **Death:** what was counted down stays so. Who dies before it has counted down is missed for
 *   ever: where that can be, use a timeout, or a {@linkcode Barrier}.
 *
 * Layout: semaphore 0 is the count. To count down: `(0, -1, NOWAIT)`. To wait: `(0, 0)`.
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
export class Latch implements Disposable {
  readonly #structure: Structure;

  /** Makes a latch of one semaphore that starts with the count. */
  constructor(array: SemaphoreArray) {
    this.#structure = new Structure(array, kind);
  }

  /** Creates a latch. Disposing the handle removes it, unless `owner` is false. */
  static create({ count, ...options }: LatchCreateOptions): Latch {
    return new Latch(SemaphoreSet.create({ ...options, values: protocol.values(count), kind }));
  }

  /** Opens a latch that exists. */
  static open(key: Key): Latch {
    return new Latch(SemaphoreSet.open(key, { kind }));
  }

  /** Opens a latch, or creates it, safely against every race and crash. */
  static openOrCreate(key: Key, { count, ...options }: LatchOpenOrCreateOptions): Latch {
    const values = protocol.values(count);
    return new Latch(SemaphoreSet.openOrCreate(key, { ...options, values, kind }));
  }

  /** Takes the identifier of a latch that another process made. */
  static fromId(id: number): Latch {
    return new Latch(SemaphoreSet.fromId(id, { kind }));
  }

  /** The identifier, by which other processes of this machine can take it. */
  get id(): number {
    return this.#structure.set.id;
  }

  /** The key, undefined for a private latch. */
  get key(): number | undefined {
    return this.#structure.set.key;
  }

  /** How many times it has still to be counted down. */
  get count(): number {
    return this.#structure.set.values[protocol.count]!;
  }

  /**
   * Counts down if the count is as large; never waits.
   *
   * @param by How much, from 1 to 32767.
   * @returns Whether it was; if not, it stays as it is.
   */
  countDown(by = 1): boolean {
    checkInteger(by, 1, 32767, `count down by ${by}`);
    return this.#structure.set.tryOperate(protocol.countDown(by));
  }

  /**
   * Waits until the count is 0.
   *
   * @param options The signal and the timeout.
   * @returns A promise that rejects with the reason of the signal, with a DOMException "TimeoutError"
   * if the time is up, with IpcError EIDRM if the latch is removed.
   */
  async wait(options?: WaitOptions): Promise<void> {
    await this.#structure.array.operate(protocol.wait, options);
  }

  /**
   * Blocks the thread until the count is 0.
   *
   * @param options The timeout.
   */
  waitSync(options?: TimeoutOptions): void {
    this.#structure.set.operateSync(protocol.wait, options);
  }

  /** Tells whether the count is 0. */
  tryWait(): boolean {
    return this.#structure.set.tryOperate(protocol.wait);
  }

  /** Removes the latch, now: whoever waits gets EIDRM. */
  remove(): void {
    this.#structure.array.remove();
  }

  /** Ends the handle, and removes the latch if the handle owns it. */
  [Symbol.dispose](): void {
    this.#structure.dispose();
  }
}
