/**
 * Shared variables on a server.
 *
 * @module
 */

import { checkFunction, checkInteger } from "../ffi/check.ts";
import { isRemoved } from "../ffi/error.ts";
import { showAs } from "../ipc/inspect.ts";
import type { CodecOptions, NewerOptions, SharedVariable, Versioned } from "../shared/mod.ts";
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

  async wait(
    { newerThan, ...options }: WaitOptions & NewerOptions = {},
  ): Promise<Versioned<Value>> {
    const known = newerThan ?? await this.version;
    checkInteger(known, 0, Number.MAX_SAFE_INTEGER, `wait for what is newer than ${known}`);
    await this.#topic.waitAfter(known, options);
    return (await this.read())!;
  }

  async *changes(
    { newerThan = 0, signal }: { signal?: AbortSignal | undefined } & NewerOptions = {},
  ): AsyncGenerator<Versioned<Value>, void, void> {
    for (let known = newerThan;;) {
      let next: Versioned<Value>;
      try {
        next = await this.wait({ newerThan: known, signal });
      } catch (error) {
        if (isRemoved(error)) return;
        throw error;
      }
      known = next.version;
      yield next;
    }
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Value, void, void> {
    for await (const { value } of this.changes()) yield value;
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
