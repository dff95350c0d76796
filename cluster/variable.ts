/**
 * Shared variables on a server: {@linkcode ClusterVariable}.
 *
 * @module
 */

import { checkFunction, checkInteger } from "../ffi/check.ts";
import { showAs } from "../ipc/inspect.ts";
import type { WaitOptions } from "../wait/options.ts";
import type { CodecOptions } from "./codec.ts";
import type { Topic } from "./topic.ts";

/** Options of a variable. */
export interface ClusterVariableOptions<Value> extends CodecOptions<Value> {
  /** The value with which it starts, if it is made. */
  initial: Value;
}

/** A value, and its version. */
export interface Versioned<Value> {
  /** The value. */
  readonly value: Value;
  /** How often it was changed before. */
  readonly version: number;
}

/** What to wait for. */
export interface ChangeOptions extends WaitOptions {
  /**
   * The version that is known already.
   *
   * @default {undefined} The version of this moment.
   */
  newerThan?: number | undefined;
}

/**
 * A value that processes of many hosts share, and wait for changes of.
 *
 * - **Versions:** each change makes a version larger than all before. Who waits for what is newer than a
 *   version misses no last value, whenever it comes.
 * - **Death:** a value is changed or it is not, even if the process dies meanwhile.
 * - **Durable:** a value that `set` has resolved for outlives a crash of the server.
 *
 * @example
 * ```ts
 * import { connect } from "@sysv/ipc/cluster";
 * import { assertEquals } from "@std/assert";
 *
 * await using cluster = await connect();
 * const limit = await cluster.variable("my-app/per-minute", { initial: 60 });
 * await limit.update((perMinute) => perMinute * 2);
 * assertEquals(await limit.get(), 120);
 * const { version } = await limit.getVersioned();
 * const change = limit.wait({ newerThan: version });
 * await limit.set(90);
 * assertEquals((await change).value, 90);
 * ```
 */
export class ClusterVariable<Value> implements AsyncIterable<Value> {
  /** The name. */
  readonly name: string;
  readonly #topic: Topic<Value>;

  /** @ignore Users call `cluster.variable()`. */
  constructor(topic: Topic<Value>, name: string) {
    this.#topic = topic;
    this.name = name;
  }

  static {
    showAs<ClusterVariable<unknown>>(
      "ClusterVariable",
      this.prototype,
      ({ name }) => ({ name }),
    );
  }

  /** A promise of the number of changes so far. */
  get version(): Promise<number> {
    return this.#topic.lastNumber();
  }

  /** Reads the value. */
  async get(): Promise<Value> {
    return (await this.#topic.last()).item;
  }

  /** Reads the value and its version, of one moment. */
  async getVersioned(): Promise<Versioned<Value>> {
    const { number, item } = await this.#topic.last();
    return { version: number, value: item };
  }

  /**
   * Changes the value.
   *
   * @param value The new value.
   * @returns A promise of its version.
   */
  async set(value: Value): Promise<number> {
    return (await this.#topic.add(value))!;
  }

  /**
   * Changes the value to what a function makes of it. If another process changes it meanwhile, the
   * function is called again with what that one made.
   *
   * @param change The function: it should do nothing but return the new value.
   * @returns A promise of the new value.
   */
  async update(change: (value: Value) => Value | Promise<Value>): Promise<Value> {
    checkFunction(change, "change");
    for (;;) {
      const { number, item } = await this.#topic.last();
      const changed = await change(item);
      if (await this.#topic.add(changed, number) !== undefined) return changed;
    }
  }

  /**
   * Waits for a change.
   *
   * @param options The version that is known, the signal and the timeout.
   * @returns A promise of the newest value then, with its version. It rejects with the reason of the
   * signal, with a DOMException "TimeoutError" if the time is up, with IpcError EIDRM if it is removed.
   */
  async wait({ newerThan, ...options }: ChangeOptions = {}): Promise<Versioned<Value>> {
    const known = newerThan ?? await this.#topic.lastNumber();
    checkInteger(known, 0, Number.MAX_SAFE_INTEGER, `wait for what is newer than ${known}`);
    await this.#topic.waitAfter(known, options);
    return await this.getVersioned();
  }

  /** Yields the value, and then the newest one whenever it has changed. */
  async *[Symbol.asyncIterator](): AsyncIterableIterator<Value> {
    let known = await this.getVersioned();
    for (;;) {
      yield known.value;
      known = await this.wait({ newerThan: known.version });
    }
  }

  /** Removes it, now: pending and later calls reject with EIDRM. */
  async remove(): Promise<void> {
    await this.#topic.remove();
  }
}
