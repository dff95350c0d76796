/**
 * What stands on a server: {@linkcode Cluster}.
 *
 * @module
 */

import { checkFlag, checkInteger, checkObject, checkOptions } from "../ffi/check.ts";
import { ipcError } from "../ffi/error.ts";
import type { Semaphore } from "../ipc/semaphore.ts";
import { codecOf } from "../shared/codec.ts";
import type { Broadcast, Codec, SharedVariable } from "../shared/mod.ts";
import type {
  Barrier,
  BarrierOptions,
  Bulkhead,
  BulkheadLimit,
  Event,
  EventOptions,
  Gauge,
  Latch,
  LatchOptions,
  Leader,
  Mutex,
  MutexOptions,
  RwLock,
  RwLockOptions,
} from "../sync/mod.ts";
import { event, gauge, leader, mutex, rwlock } from "../sync/protocols.ts";
import { type ClusterBroadcastOptions, RemoteBroadcast } from "./broadcast.ts";
import { idleMilliseconds } from "./idle.ts";
import { call } from "./link.ts";
import { barrierValues, checkParties, RemoteBarrier } from "./primitives/barrier.ts";
import { bulkheadValues, RemoteBulkhead } from "./primitives/bulkhead.ts";
import { RemoteEvent } from "./primitives/event.ts";
import { RemoteGauge } from "./primitives/gauge.ts";
import { latchValues, RemoteLatch } from "./primitives/latch.ts";
import { RemoteLeader } from "./primitives/leader.ts";
import { onDeathOf, RemoteMutex } from "./primitives/mutex.ts";
import { preferOf, RemoteRwLock } from "./primitives/rwlock.ts";
import { RemoteSemaphore } from "./primitives/semaphore.ts";
import { checkMaxBytes, ClusterQueue } from "./queue.ts";
import type { Remote } from "./remote.ts";
import { checkValues, ClusterSemaphores, type Found } from "./semaphores.ts";
import type { Session } from "./session.ts";
import { checkName, checkText } from "./sizes.ts";
import { Topic } from "./topic.ts";
import { type ClusterVariableOptions, RemoteVariable } from "./variable.ts";

/** How a primitive is opened or made. */
export interface IdleOptions {
  /**
   * How long it may be unused before it vanishes: a number of milliseconds, or such as `"30s"`, `"10m"`,
   * `"1h"` or `"7d"`. What is held or waited for is used. A handle that is used again makes it anew. What
   * counts is what was said when it was made.
   *
   * @default {undefined} It stays until it is removed.
   */
  idle?: number | string | undefined;
}

/** Options of {@linkcode Cluster.semaphores}. */
export interface ClusterSemaphoresOptions extends IdleOptions {
  /**
   * What they are: who opens them as another kind is refused.
   *
   * @default {"set"}
   */
  kind?: string | undefined;
}

/** Options of {@linkcode Cluster.semaphore}. */
export interface ClusterSemaphoreOptions extends IdleOptions {
  /**
   * The value with which it starts: how many permits there are, from 0 to 32767.
   *
   * @default {0}
   */
  value?: number | undefined;
}

/** Options of {@linkcode Cluster.queue}. */
export interface ClusterQueueOptions {
  /**
   * The maximum number of bytes that the queue holds, and of messages, if it is made: a full queue makes
   * senders wait. With 0 it is closed for now.
   *
   * @default {undefined} It has no limit.
   */
  maxBytes?: number | undefined;
}

const open = call("open", "text text int[] interval", true);
const openQueue = call("open_queue", "text bigint", true);
const openTopic = call("open_topic", "text text text int bytea", true);
const detach = call("detach", "int");
const sweep = call("sweep", "");

/** The most milliseconds between looks for what the dead have left and what is idle. */
const SWEEP_EVERY = 30_000;
/** The least. */
const MIN_SWEEP = 500;

/**
 * A session with a PostgreSQL server, and the primitives that are shared through it.
 *
 * - **Opening:** each method opens what has the name, or makes it. All processes have to say the same
 *   kind and number; what else they say counts for their own handle.
 * - **Death:** what a process holds goes to others when its session ends: about 35 ms after it was
 *   killed, 10 to 11 s after its host is gone.
 * - **Loss:** `lost` fires before the server gives away what the session held, everything rejects with
 *   {@linkcode SessionLostError} from then on, and nothing is taken again in silence: connect anew.
 *
 * @example
 * ```ts
 * import { connect } from "@sysv/ipc/cluster";
 * import { assertEquals } from "@std/assert";
 *
 * await using cluster = await connect();
 * const downloads = await cluster.bulkhead("my-app/downloads", { tickets: 5 });
 * assertEquals(await downloads.run(() => "done"), "done");
 * ```
 */
export class Cluster implements AsyncDisposable {
  readonly #session: Session;
  #sweepEvery = SWEEP_EVERY;
  #sweptAt = performance.now();

  /** @ignore Users call `connect()`. */
  constructor(session: Session) {
    this.#session = session;
    session.link.onBeat = (idle) => this.#nextBeat(idle);
    session.link.ask(sweep).catch(() => {});
  }

  /** The number of the session, by which `ipc.session` knows it. */
  get session(): number {
    return this.#session.sid;
  }

  /** Fires when the session is lost; the reason is a {@linkcode SessionLostError}. */
  get lost(): AbortSignal {
    return this.#session.link.lost;
  }

  /** How many queries were sent. */
  get queries(): number {
    return this.#session.link.queries;
  }

  /**
   * Opens semaphores that change in atomic steps, or makes them.
   *
   * @param name The name.
   * @param values The values with which they start, each from 0 to 32767; at most 250.
   * @param options What kind they are, and how long they may be unused.
   * @returns A promise of them. It rejects with IpcError EINVAL if there are others of this name.
   */
  async semaphores(
    name: string,
    values: readonly number[],
    options: ClusterSemaphoresOptions = {},
  ): Promise<ClusterSemaphores> {
    checkOptions(options);
    checkName(name);
    checkValues(values);
    const { kind = "set" } = options;
    checkText(kind, "kind");
    const idle = idleMilliseconds(options.idle);
    if (idle !== undefined) {
      this.#sweepEvery = Math.min(this.#sweepEvery, Math.max(idle / 2, MIN_SWEEP));
    }
    const find = () => this.#find({ name, kind, values, idle });
    const shape = { name, kind, size: values.length };
    return new ClusterSemaphores(
      this.#session,
      shape,
      await find(),
      idle === undefined ? undefined : find,
    );
  }

  /** Opens a counting semaphore, or makes it with a value. */
  async semaphore(
    name: string,
    options: ClusterSemaphoreOptions = {},
  ): Promise<Remote<Semaphore>> {
    checkOptions(options);
    const { value = 0 } = options;
    return new RemoteSemaphore(await this.#open(name, "semaphore", [value], options));
  }

  /** Opens a mutex, or makes it. Its guards have a `term`. */
  async mutex(name: string, options: MutexOptions & IdleOptions = {}): Promise<Remote<Mutex>> {
    const onDeath = onDeathOf(options);
    return new RemoteMutex(await this.#open(name, "mutex", mutex.values, options), onDeath);
  }

  /** Opens a lock of many readers or one writer, or makes it. */
  async rwlock(name: string, options: RwLockOptions & IdleOptions = {}): Promise<Remote<RwLock>> {
    const prefer = preferOf(options);
    return new RemoteRwLock(await this.#open(name, "rwlock", rwlock.values, options), prefer);
  }

  /** Opens a latch, or makes it with a count. */
  async latch(name: string, options: LatchOptions & IdleOptions): Promise<Remote<Latch>> {
    checkObject(options, "options");
    const values = latchValues(options.count);
    return new RemoteLatch(await this.#open(name, "latch", values, options), options);
  }

  /** Opens an event, or makes it. */
  async event(name: string, options: EventOptions & IdleOptions = {}): Promise<Remote<Event>> {
    checkOptions(options);
    const values = event.values(checkFlag(options.set, "set") ?? false);
    return new RemoteEvent(await this.#open(name, "event", values, options));
  }

  /** Opens a barrier, or makes it for a number of parties. */
  async barrier(name: string, options: BarrierOptions & IdleOptions): Promise<Remote<Barrier>> {
    checkObject(options, "options");
    const set = await this.#open(name, "barrier", barrierValues(options), options);
    await checkParties(set, options.parties);
    return new RemoteBarrier(set, options);
  }

  /** Opens a gauge, or makes it. */
  async gauge(name: string, options: IdleOptions = {}): Promise<Remote<Gauge>> {
    return new RemoteGauge(await this.#open(name, "gauge", gauge.values, options));
  }

  /** Opens a bulkhead, or makes it, with a number of tickets or a quota: who comes last decides. */
  async bulkhead(name: string, options: BulkheadLimit & IdleOptions): Promise<Remote<Bulkhead>> {
    checkObject(options, "options");
    const set = await this.#open(name, "bulkhead", bulkheadValues(options), options);
    const bulkhead = new RemoteBulkhead(set, options.quota);
    if (options.tickets !== undefined && !set.created) await bulkhead.resize(options.tickets);
    return bulkhead;
  }

  /** Opens what processes choose a leader by, or makes it. */
  async leader(name: string, options: IdleOptions = {}): Promise<Remote<Leader>> {
    return new RemoteLeader(await this.#open(name, "leader", leader.values, options));
  }

  /**
   * Opens a queue of messages, or makes it.
   *
   * @example
   * ```ts
   * import { connect } from "@sysv/ipc/cluster";
   * import { assertEquals } from "@std/assert";
   *
   * await using cluster = await connect();
   * const pages = await cluster.queue("my-app/pages", { maxBytes: 10_000_000 });
   * await pages.send("https://example.com/1"); // waits while the queue is full
   * for await (const page of pages) {
   *   assertEquals(page.text(), "https://example.com/1");
   *   break;
   * }
   * ```
   */
  async queue(name: string, options: ClusterQueueOptions = {}): Promise<ClusterQueue> {
    checkOptions(options);
    checkName(name);
    const { maxBytes } = options;
    checkMaxBytes(maxBytes);
    type Row = { id: number; made: boolean };
    const [row] = await this.#session.link.ask<Row>(openQueue, [name, maxBytes ?? null]);
    const { id, made: created } = row!;
    return new ClusterQueue(this.#session, { id, name, created });
  }

  /**
   * Opens a shared variable, or makes it with a value.
   *
   * @example
   * ```ts
   * import { connect } from "@sysv/ipc/cluster";
   * import { assertEquals } from "@std/assert";
   *
   * await using cluster = await connect();
   * const limit = await cluster.variable("my-app/per-minute", { initial: 60 });
   * const { version } = await limit.update((perMinute) => perMinute! * 2);
   * const change = limit.wait({ newerThan: version });
   * await limit.set(90);
   * assertEquals((await change).value, 90);
   * ```
   */
  async variable<Value = unknown>(
    name: string,
    options: ClusterVariableOptions<Value> = {},
  ): Promise<Remote<SharedVariable<Value>>> {
    checkOptions(options);
    const codec = codecOf(options);
    const { initial } = options;
    const first = initial === undefined ? null : codec.encode(initial);
    const variable = new RemoteVariable(await this.#topic(name, "variable", 1, first, codec), name);
    // The compiler cannot know of a Value that it is nothing that is held.
    return variable as unknown as Remote<SharedVariable<Value>>;
  }

  /**
   * Opens a broadcast, or makes it.
   *
   * @example
   * ```ts
   * import { connect } from "@sysv/ipc/cluster";
   * import { assertEquals } from "@std/assert";
   *
   * await using cluster = await connect();
   * const news = await cluster.broadcast<string>("my-app/news", { keep: 100 });
   * const subscription = await news.subscribe();
   * await news.publish("a new release");
   * assertEquals(await subscription.receive(), { value: "a new release", missed: 0 });
   * ```
   */
  async broadcast<Item = unknown>(
    name: string,
    options: ClusterBroadcastOptions<Item> = {},
  ): Promise<Remote<Broadcast<Item>>> {
    checkOptions(options);
    const { keep = 1024 } = options;
    checkInteger(keep, 1, 1_000_000, `keep ${keep} messages`);
    const topic = await this.#topic(name, "broadcast", keep, null, codecOf(options));
    return new RemoteBroadcast(topic, name);
  }

  /** Ends the session. What it holds goes to others at once; what it waits for rejects. */
  async close(): Promise<void> {
    const { link, tickets } = this.#session;
    const closing = link.close(detach);
    tickets.close();
    await closing;
  }

  /** Closes, so that `await using` does. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #open(
    name: string,
    kind: string,
    values: readonly number[],
    options: IdleOptions,
  ): Promise<ClusterSemaphores> {
    checkOptions(options);
    return await this.semaphores(name, values, { kind, idle: options.idle });
  }

  async #topic<Item>(
    name: string,
    kind: string,
    keep: number,
    first: Uint8Array | null,
    codec: Codec<Item>,
  ): Promise<Topic<Item>> {
    checkName(name);
    type Row = { id: number; codec: string; made: boolean };
    const values = [name, kind, codec.name, keep, first];
    const [row] = await this.#session.link.ask<Row>(openTopic, values);
    const { id, codec: found, made: created } = row!;
    const title = `${kind} "${name}"`;
    if (found === codec.name) return new Topic(this.#session, { id, created, title }, codec);
    const reason = `its items are encoded as "${found}", not as "${codec.name}"`;
    throw ipcError("EINVAL", `open ${title}`, { syscall: "shmget", reason });
  }

  async #find(
    { name, kind, values, idle }: {
      name: string;
      kind: string;
      values: readonly number[];
      idle: number | undefined;
    },
  ): Promise<Found> {
    type Row = { id: number; size: number; kind: string; made: boolean };
    const interval = idle === undefined ? null : `${idle} milliseconds`;
    const [row] = await this.#session.link.ask<Row>(open, [name, kind, `{${values}}`, interval]);
    const { id, size, kind: found, made } = row!;
    if (found === kind && size === values.length) return { id, created: made };
    const reason = `it is a ${found} of ${size} semaphores`;
    throw ipcError("EINVAL", `open ${kind} "${name}"`, { syscall: "semget", reason });
  }

  /** What is asked at a beat, if anything is due. */
  #nextBeat(idle: boolean): (() => Promise<unknown>) | undefined {
    const { link, tickets, removals } = this.#session;
    const now = performance.now();
    if (now - this.#sweptAt > this.#sweepEvery * (0.8 + 0.4 * Math.random())) {
      this.#sweptAt = now;
      return () => link.ask(sweep);
    }
    return (idle ? tickets.rest() : undefined) ?? removals.look();
  }
}
