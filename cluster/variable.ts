/**
 * Shared variables on a server.
 *
 * @module
 */

import { checkFunction } from "../ffi/check.ts";
import { showAs } from "../ipc/inspect.ts";
import {
  changesOf,
  type ChangesOptions,
  checkVersion,
  type NewerOptions,
  type Versioned,
} from "../shared/changes.ts";
import type { CodecOptions, SharedVariable } from "../shared/mod.ts";
import { readWaitOptions, type WaitOptions } from "../wait/options.ts";
import type { Remote } from "./remote.ts";
import type { Topic } from "./topic.ts";

/** Options of a variable. */
export interface ClusterVariableOptions<Value> extends CodecOptions<Value> {
  /**
   * The value with which it starts, if it is created.
   *
   * @default {undefined} It has none until one is set.
   */
  initial?: Value | undefined;
}

/** A variable on a server: its versions are the numbers of a topic that keeps one item. */
export class RemoteVariable<Value> implements Omit<Remote<SharedVariable<Value>>, "get"> {
  readonly name: string;
  readonly #topic: Topic<Value>;

  constructor(topic: Topic<Value>, name: string) {
    this.#topic = topic;
    this.name = name;
  }

  static {
    showAs<RemoteVariable<unknown>>(
      "Remote<SharedVariable>",
      this.prototype,
      ({ name }) => ({ name }),
    );
  }

  get created(): boolean {
    return this.#topic.created;
  }

  get version(): Promise<number> {
    return this.#topic.lastNumber();
  }

  async get(): Promise<Value | undefined> {
    return (await this.read())?.value;
  }

  async read(): Promise<Versioned<Value> | undefined> {
    const last = await this.#topic.last();
    return last && { value: last.item, version: last.number };
  }

  async set(value: Value, options?: WaitOptions): Promise<number> {
    readWaitOptions(options).signal?.throwIfAborted();
    return (await this.#topic.add(value))!;
  }

  /** Calls the function again if another process has set the value meanwhile. */
  async update(
    change: (old: Value | undefined) => Value,
    options?: WaitOptions,
  ): Promise<Versioned<Value>> {
    checkFunction(change, "change");
    const { signal } = readWaitOptions(options);
    for (;;) {
      signal?.throwIfAborted();
      const old = await this.read();
      const value = change(old?.value);
      const version = await this.#topic.add(value, old?.version ?? 0);
      if (version !== undefined) return { value, version };
    }
  }

  async wait(options: WaitOptions & NewerOptions = {}): Promise<Versioned<Value>> {
    const { timeout, signal } = readWaitOptions(options);
    signal?.throwIfAborted();
    const known = checkVersion(options.newerThan ?? await this.version);
    await this.#topic.waitAfter(known, { timeout, signal });
    return (await this.read())!;
  }

  changes(options: ChangesOptions = {}): AsyncGenerator<Versioned<Value>, void, void> {
    return changesOf((newer) => this.wait(newer), options, (change) => change);
  }

  [Symbol.asyncIterator](): AsyncGenerator<Value, void, void> {
    return changesOf((newer) => this.wait(newer), {}, ({ value }) => value);
  }

  async remove(): Promise<void> {
    await this.#topic.remove();
  }

  [Symbol.dispose](): void {
    this.#topic.dispose();
  }

  // deno-lint-ignore require-await
  async [Symbol.asyncDispose](): Promise<void> {
    this.#topic.dispose();
  }
}
