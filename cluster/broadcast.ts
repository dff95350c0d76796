/**
 * Messages to all, on a server.
 *
 * @module
 */

import { isRemoved } from "../ffi/error.ts";
import { showAs } from "../ipc/inspect.ts";
import type {
  Broadcast,
  BroadcastMessage,
  BroadcastSubscription,
  CodecOptions,
} from "../shared/mod.ts";
import { Iteration } from "../wait/iteration.ts";
import { readWaitOptions, type WaitOptions } from "../wait/options.ts";
import { turn } from "../wait/turn.ts";
import type { Remote } from "./remote.ts";
import type { Numbered, Topic } from "./topic.ts";

/** Options of a broadcast. */
export interface ClusterBroadcastOptions<Item> extends CodecOptions<Item> {
  /**
   * How many messages are kept for subscribers that are slow, from 1 to 1000000, if it is created.
   *
   * @default {1024}
   */
  keep?: number | undefined;
}

/** What one subscriber has still to read. */
class RemoteSubscription<Item> implements Remote<BroadcastSubscription<Item>> {
  readonly #topic: Topic<Item>;
  /** What was fetched and not received. */
  readonly #fetched: Numbered<Item>[] = [];
  /** The number of the last message that was received. */
  #position: number;

  constructor(topic: Topic<Item>, position: number) {
    this.#topic = topic;
    this.#position = position;
  }

  async receive(options?: WaitOptions): Promise<BroadcastMessage<Item>> {
    readWaitOptions(options).signal?.throwIfAborted();
    for (;;) {
      const message = await this.tryReceive();
      if (message !== undefined) return message;
      await this.#topic.waitAfter(this.#position, options);
    }
  }

  async tryReceive(): Promise<BroadcastMessage<Item> | undefined> {
    if (this.#fetched.length === 0) {
      this.#fetched.push(...await this.#topic.after(this.#position));
    }
    // Another receive can have fetched the same meanwhile.
    while (this.#fetched.length > 0 && this.#fetched[0]!.number <= this.#position) {
      this.#fetched.shift();
    }
    const next = this.#fetched.shift();
    if (next === undefined) return undefined;
    const missed = next.number - this.#position - 1;
    this.#position = next.number;
    return { value: next.item, missed };
  }

  [Symbol.asyncIterator](): AsyncGenerator<BroadcastMessage<Item>, void, void> {
    const next = async (options: WaitOptions) => {
      await turn();
      return await this.receive(options);
    };
    return new Iteration({ next, isEnd: isRemoved });
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

/** A broadcast on a server. */
export class RemoteBroadcast<Item> implements Remote<Broadcast<Item>> {
  readonly name: string;
  readonly #topic: Topic<Item>;

  constructor(topic: Topic<Item>, name: string) {
    this.#topic = topic;
    this.name = name;
  }

  static {
    showAs<RemoteBroadcast<unknown>>("Remote<Broadcast>", this.prototype, ({ name }) => ({ name }));
  }

  get created(): boolean {
    return this.#topic.created;
  }

  async publish(item: Item, options?: WaitOptions): Promise<void> {
    readWaitOptions(options).signal?.throwIfAborted();
    await this.#topic.add(item);
  }

  async subscribe(): Promise<Remote<BroadcastSubscription<Item>>> {
    return new RemoteSubscription(this.#topic, await this.#topic.lastNumber());
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
