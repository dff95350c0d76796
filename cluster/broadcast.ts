/**
 * Messages to all, on a server: {@linkcode ClusterBroadcast}.
 *
 * @module
 */

import { showAs } from "../ipc/inspect.ts";
import type { WaitOptions } from "../wait/options.ts";
import type { CodecOptions } from "./codec.ts";
import type { Numbered, Topic } from "./topic.ts";

/** Options of a broadcast. */
export interface ClusterBroadcastOptions<Item> extends CodecOptions<Item> {
  /**
   * How many messages are kept for subscribers that are slow, from 1 to 1000000, if it is made.
   *
   * @default {1024}
   */
  keep?: number | undefined;
}

/**
 * A subscriber: it gets each message that was sent after it came.
 *
 * @example
 * ```ts
 * import { connect } from "@sysv/ipc/cluster";
 * import { assertEquals } from "@std/assert";
 *
 * await using cluster = await connect();
 * const ticks = await cluster.broadcast<number>("my-app/ticks", { keep: 2 });
 * const slow = await ticks.subscribe();
 * for (const tick of [1, 2, 3]) await ticks.send(tick);
 * assertEquals([await slow.receive(), slow.missed], [2, 1]);
 * ```
 */
export class ClusterSubscription<Item> implements AsyncIterable<Item> {
  readonly #topic: Topic<Item>;
  /** What was fetched and not received. */
  readonly #fetched: Numbered<Item>[] = [];
  #position: number;
  #missed = 0;

  /** @ignore Users call `broadcast.subscribe()`. */
  constructor(topic: Topic<Item>, position: number) {
    this.#topic = topic;
    this.#position = position;
  }

  /** How many messages it has missed so far, as it was too slow. */
  get missed(): number {
    return this.#missed;
  }

  /**
   * Receives the next message, waiting for one. Call it again only once it has settled.
   *
   * @param options The signal and the timeout.
   * @returns A promise that rejects with the reason of the signal, with a DOMException "TimeoutError" if
   * the time is up, with IpcError EIDRM if the broadcast is removed.
   */
  async receive(options?: WaitOptions): Promise<Item> {
    for (;;) {
      const received = await this.#next();
      if (received !== undefined) return received.item;
      await this.#topic.waitAfter(this.#position, options);
    }
  }

  /** Receives the next message if there is one. */
  async tryReceive(): Promise<Item | undefined> {
    return (await this.#next())?.item;
  }

  /** Receives the messages one after the other. */
  async *[Symbol.asyncIterator](): AsyncIterableIterator<Item> {
    for (;;) yield await this.receive();
  }

  async #next(): Promise<Numbered<Item> | undefined> {
    if (this.#fetched.length === 0) {
      this.#fetched.push(...await this.#topic.after(this.#position));
    }
    const next = this.#fetched.shift();
    if (next === undefined) return undefined;
    this.#missed += next.number - this.#position - 1;
    this.#position = next.number;
    return next;
  }
}

/**
 * Messages that go to every subscriber, on any host.
 *
 * - **Order:** all subscribers get the messages in the same order.
 * - **Slow subscribers** hold nobody up: they learn how many messages they have missed.
 * - **Death:** a dead subscriber costs nothing.
 *
 * @example
 * ```ts
 * import { connect } from "@sysv/ipc/cluster";
 * import { assertEquals } from "@std/assert";
 *
 * await using cluster = await connect();
 * const news = await cluster.broadcast<string>("my-app/news");
 * const subscription = await news.subscribe();
 * await news.send("a new release");
 * assertEquals(await subscription.receive(), "a new release");
 * ```
 */
export class ClusterBroadcast<Item> {
  /** The name. */
  readonly name: string;
  readonly #topic: Topic<Item>;

  /** @ignore Users call `cluster.broadcast()`. */
  constructor(topic: Topic<Item>, name: string) {
    this.#topic = topic;
    this.name = name;
  }

  static {
    showAs<ClusterBroadcast<unknown>>(
      "ClusterBroadcast",
      this.prototype,
      ({ name }) => ({ name }),
    );
  }

  /** Sends a message to all who have subscribed. */
  async send(item: Item): Promise<void> {
    await this.#topic.add(item);
  }

  /** Subscribes to what is sent from now on. */
  async subscribe(): Promise<ClusterSubscription<Item>> {
    return new ClusterSubscription(this.#topic, await this.#topic.lastNumber());
  }

  /** Removes it, now: pending and later calls reject with EIDRM. */
  async remove(): Promise<void> {
    await this.#topic.remove();
  }
}
