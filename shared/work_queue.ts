/**
 * Jobs that come back when their holder dies: {@linkcode WorkQueue}.
 *
 * @module
 */

import { copyOf } from "../ffi/bytes.ts";
import { checkInteger } from "../ffi/check.ts";
import { isRemoved } from "../ffi/error.ts";
import { internal } from "../ipc/internal.ts";
import { showAs, shownKey } from "../ipc/inspect.ts";
import type { Key } from "../ipc/key.ts";
import type { CreateOptions, OpenOrCreateOptions } from "../ipc/object.ts";
import {
  checkTimeoutOptions,
  readWaitOptions,
  type TimeoutOptions,
  type WaitOptions,
} from "../wait/options.ts";
import { Iteration } from "../wait/iteration.ts";
import { turn } from "../wait/turn.ts";
import type { Codec, CodecOptions } from "./codec.ts";
import { checkPowerOf2, type Coded, CodedKind, isPowerOf2 } from "./coded.ts";
import { type Flow, remaining } from "./flow.ts";
import { Job } from "./job.ts";
import { type Claim, Jobs, jobsSize, ready, table, vacant } from "./jobs.ts";
import type { Gate } from "./layout.ts";
import { Members } from "./members.ts";
import type { MembersOptions, Shape } from "./pair.ts";
import { Port } from "./port.ts";
import { Reclaimer } from "./reclaimer.ts";
import { Line } from "./sleepers.ts";
import { SharedStructure, unmade } from "./structure.ts";

/** How much a queue of jobs holds. */
export interface WorkQueueSizeOptions {
  /**
   * How many jobs it holds, those in somebody's hands too: a power of 2 up to 65536.
   *
   * @default {256}
   */
  capacity?: number | undefined;
  /**
   * The most bytes of a job, as its codec makes them, from 1 to 2^24. Each job has as many reserved.
   *
   * @default {1024}
   */
  maxBytes?: number | undefined;
}

/** Options of {@linkcode WorkQueue.open} and {@linkcode WorkQueue.fromId}. */
export interface WorkQueueOpenOptions<Item> extends CodecOptions<Item> {}

/** Options of {@linkcode WorkQueue.create}. */
export interface WorkQueueCreateOptions<Item>
  extends CreateOptions, MembersOptions, WorkQueueSizeOptions, CodecOptions<Item> {}

/** Options of {@linkcode WorkQueue.openOrCreate}. */
export interface WorkQueueOpenOrCreateOptions<Item>
  extends OpenOrCreateOptions, MembersOptions, WorkQueueSizeOptions, CodecOptions<Item> {}

const MAX_JOBS = 65536;
const MAX_BYTES = 2 ** 24;

const kind = new CodedKind<WorkQueueSizeOptions>(
  {
    kind: "work queue",
    size: (shape) =>
      isPowerOf2(shape.capacity, 1, MAX_JOBS) && isLimit(shape.limit) ? sizeOf(shape) : undefined,
    describe: ({ capacity, limit }) => `${capacity} jobs of at most ${limit} bytes`,
  },
  ({ capacity = 256, maxBytes = 1024 }) => {
    checkPowerOf2(capacity, 1, MAX_JOBS, `make a queue of ${capacity} jobs`);
    checkInteger(maxBytes, 1, MAX_BYTES, `make a queue of jobs of ${maxBytes} bytes`);
    return { capacity, limit: maxBytes };
  },
);

function isLimit(limit: number): boolean {
  return limit >= 1 && limit <= MAX_BYTES;
}

function sizeOf(shape: Shape): number | undefined {
  const size = jobsSize(shape);
  return size <= 2 ** 31 - 1 ? size : undefined;
}

const SEND = "send to";
const RECEIVE = "receive from";

/**
 * Jobs in shared memory, each of which is done at least once, even if processes die.
 *
 * - **Death:** a job whose holder dies before it is done goes back to the front of the queue, and a pending
 *   receive gets it at once. No death loses a job.
 * - **At least once:** a job whose holder dies after doing it and before saying so is done again: `attempts`
 *   counts that, and shows poison jobs that kill their holders.
 * - **Order:** jobs are given out as they were sent; jobs that come back go first.
 * - **Bounded:** a full queue makes senders wait. Jobs in somebody's hands count.
 * - **Cost:** as long as there are jobs and room, nobody makes a system call but, now and then, one to
 *   look for the dead.
 *
 * @example
 * ```ts
 * import { WorkQueue } from "@sysv/ipc/shared";
 * import { assertEquals } from "@std/assert";
 *
 * using queue = WorkQueue.create<{ resize: string }>();
 * await queue.send({ resize: "cat.jpg" });
 * const job = await queue.receive();
 * assertEquals(job.value, { resize: "cat.jpg" });
 * job.done();
 * assertEquals([queue.waiting, queue.claimed], [0, 0]);
 * ```
 */
export class WorkQueue<Item = unknown> extends SharedStructure {
  /** How many jobs it holds. */
  readonly capacity: number;
  /** The most bytes of a job. */
  readonly maxBytes: number;
  readonly #members: Members;
  readonly #jobs: Jobs;
  readonly #reclaimer: Reclaimer;
  readonly #port: Port;
  readonly #codec: Codec<Item>;
  readonly #senders = new Line();
  readonly #receivers = new Line();
  /** The jobs in the hands of this handle. */
  readonly #held = new Set<Claim>();

  static {
    showAs<WorkQueue>("WorkQueue", this.prototype, (queue) => ({
      id: queue.id,
      key: shownKey(queue.key),
      waiting: () => queue.waiting,
      claimed: () => queue.claimed,
      capacity: queue.capacity,
    }));
  }

  private constructor({ pair, codec }: Coded<Item> = unmade()) {
    const members = new Members(pair, [table]);
    super(internal, members);
    this.#members = members;
    this.#jobs = new Jobs(members);
    this.#reclaimer = new Reclaimer(members, this.#jobs);
    this.#port = new Port(members, table);
    this.#codec = codec;
    this.capacity = members.shape.capacity;
    this.maxBytes = members.shape.limit;
  }

  /**
   * Creates a queue. Disposing the handle removes it, unless `owner` is false.
   *
   * @param options The codec, the sizes, the key, the mode, who owns it, and how many can take part.
   * @returns A handle to an empty queue.
   * @throws {IpcError} EEXIST if the key is taken, ENOSPC or ENOMEM if a limit of the system is reached.
   * @throws {RangeError} If the capacity is no power of 2 up to 65536, or the bytes not from 1 to 2^24.
   */
  static create<Item = unknown>(options: WorkQueueCreateOptions<Item> = {}): WorkQueue<Item> {
    return new WorkQueue(kind.create(options));
  }

  /**
   * Opens a queue that exists.
   *
   * @param key The key or name.
   * @param options The codec.
   * @returns A handle that does not own it.
   * @throws {IpcError} ENOENT if there is none, EINVAL if it is something else or of another codec,
   * EACCES if its mode does not permit it, EAGAIN if its creator has not finished it,
   * EIDRM if it is just being removed.
   */
  static open<Item = unknown>(key: Key, options: WorkQueueOpenOptions<Item> = {}): WorkQueue<Item> {
    return new WorkQueue(kind.open(key, options));
  }

  /**
   * Opens a queue, or creates it, safely against every race and crash.
   *
   * @param key The key or name.
   * @param options The codec, the sizes, the mode to create it with, how many can take part, and whether to accept
   * one of another user.
   * @returns A handle that does not own it.
   * @throws {IpcError} EPERM if another user created it, EINVAL if it is something else, of another codec
   * or of another size, EACCES, ENOSPC, ENOMEM,
   * EAGAIN if another process is stopped as it makes it.
   */
  static openOrCreate<Item = unknown>(
    key: Key,
    options: WorkQueueOpenOrCreateOptions<Item> = {},
  ): WorkQueue<Item> {
    return new WorkQueue(kind.openOrCreate(key, options));
  }

  /**
   * Takes a queue by the identifier that another process passed.
   *
   * @param id The identifier.
   * @param options The codec.
   * @returns A handle that does not own it.
   * @throws {IpcError} EIDRM if there is none, EINVAL if it is something else or of another codec,
   * EACCES if its mode does not permit it.
   */
  static fromId<Item = unknown>(
    id: number,
    options: WorkQueueOpenOptions<Item> = {},
  ): WorkQueue<Item> {
    return new WorkQueue(kind.fromId(id, options));
  }

  /** How many jobs wait to be given out. */
  get waiting(): number {
    this.#members.check();
    return this.#jobs.waiting;
  }

  /** The number of jobs that are held, also by dead processes until their death is noticed. */
  get claimed(): number {
    this.#members.check();
    return this.#jobs.claimed;
  }

  // Sending.

  /**
   * Sends a job, waiting until there is room. Promises of a handle send theirs in order.
   *
   * @param item What is to be done.
   * @param options The signal and the timeout.
   * @returns A promise that rejects with the reason of the signal, with a DOMException "TimeoutError" if
   * the timeout expires, with a ReferenceError if the handle is disposed, with a RangeError if the job is
   * longer than `maxBytes`, with IpcError EIDRM if the queue is removed, ENOSPC if all places are taken.
   */
  async send(item: Item, options?: WaitOptions): Promise<void> {
    const limits = readWaitOptions(options);
    const bytes = copyOf(this.#encode(item));
    const add = () => this.#jobs.add(bytes) || undefined;
    await this.#until(this.#senders, SEND, limits, add, vacant);
  }

  /**
   * Sends a job, blocking the thread until there is room.
   *
   * @param item What is to be done.
   * @param options The timeout.
   * @throws {RangeError} If it is longer than `maxBytes`.
   * @throws {IpcError} EINTR if the program handled a signal, EIDRM if the queue is removed, ENOSPC if
   * all places are taken.
   * @throws {DOMException} "TimeoutError" if the timeout expires.
   */
  sendSync(item: Item, options: TimeoutOptions = {}): void {
    checkTimeoutOptions(options);
    const bytes = this.#encode(item);
    this.#untilSync(SEND, options, () => this.#jobs.add(bytes) || undefined, vacant);
  }

  /**
   * Sends a job if there is room.
   *
   * @param item What is to be done.
   * @returns Whether it was sent.
   * @throws {RangeError} If it is longer than `maxBytes`.
   * @throws {IpcError} EIDRM if the queue is removed, ENOSPC if all places are taken.
   */
  trySend(item: Item): boolean {
    const bytes = this.#encode(item);
    const deaths = this.#members.tried((options) => this.#port.takeSync(SEND, options));
    return deaths !== undefined && this.#withLock(deaths, () => this.#jobs.add(bytes));
  }

  #encode(item: Item): Uint8Array {
    const bytes = this.#codec.encode(item);
    if (bytes instanceof Uint8Array && bytes.length <= this.maxBytes) return bytes;
    throw this.#members.unfit(bytes, SEND);
  }

  // Receiving.

  /**
   * Receives a job, waiting until there is one: a new one, or one whose holder has died. Promises of a handle
   * get theirs in order.
   *
   * @param options The signal and the timeout.
   * @returns A promise of a job, to say `done()` of, or to release with `using`. It rejects with the reason
   * of the signal, with a DOMException "TimeoutError" if the timeout expires, with a ReferenceError if the
   * handle is disposed, with IpcError EIDRM if the queue is removed, ENOSPC if all places are taken.
   */
  async receive(options?: WaitOptions): Promise<Job<Item>> {
    const limits = readWaitOptions(options);
    return await this.#until(this.#receivers, RECEIVE, limits, () => this.#claim(), ready);
  }

  /**
   * Receives a job, blocking the thread until there is one.
   *
   * @param options The timeout.
   * @returns A job, to say `done()` of, or to release with `using`.
   * @throws {IpcError} EINTR if the program handled a signal, EIDRM if the queue is removed, ENOSPC if
   * all places are taken.
   * @throws {DOMException} "TimeoutError" if the timeout expires.
   */
  receiveSync(options: TimeoutOptions = {}): Job<Item> {
    checkTimeoutOptions(options);
    return this.#untilSync(RECEIVE, options, () => this.#claim(), ready);
  }

  /**
   * Receives a job if there is one.
   *
   * @returns A job, to say `done()` of, or to release with `using`; or undefined.
   * @throws {IpcError} EIDRM if the queue is removed, ENOSPC if all places are taken.
   */
  tryReceive(): Job<Item> | undefined {
    const deaths = this.#members.tried((options) => this.#port.takeSync(RECEIVE, options));
    return deaths === undefined ? undefined : this.#withLock(deaths, () => this.#claim());
  }

  /** Receives job after job, until the queue is removed. */
  [Symbol.asyncIterator](): AsyncGenerator<Job<Item>, void, void> {
    return new Iteration({
      next: (options) => this.receive(options),
      isEnd: isRemoved,
      giveBack: (job) => job.release(),
    });
  }

  /** Takes a job with the lock: where there is none, one of the dead. */
  #claim(): Job<Item> | undefined {
    const { place } = this.#members.seat;
    this.#reclaimer.look();
    const claim = this.#jobs.claim(place);
    if (claim === undefined) return undefined;
    this.#held.add(claim);
    return new Job(
      internal,
      this.#members,
      claim,
      this.#codec,
      (claim, isDone) => this.#end(claim, isDone),
    );
  }

  #end(claim: Claim, isDone: boolean): void {
    // What was given back with the handle need not be given back again.
    if (!isDone && !this.#held.has(claim)) return;
    try {
      this.#withLock(this.#port.takeAnyway("end a job of"), () => {
        const { place } = this.#members.seat;
        if (isDone) this.#jobs.finish(claim.slot, place);
        else this.#jobs.giveBack(claim.slot, place);
      });
    } catch (error) {
      // With the queue, all its jobs are gone.
      if (!isRemoved(error)) throw error;
    }
    this.#held.delete(claim);
  }

  /** Works on the table with its lock, after making right what the dead have left, and gives it back. */
  #withLock<Result>(deaths: number, work: () => Result): Result {
    try {
      this.#reclaimer.settle(deaths);
      return work();
    } finally {
      this.#port.release();
    }
  }

  /** Attempts something until it succeeds, in the order of the calls, and sleeps in between. */
  async #until<Result>(
    line: Line,
    action: string,
    options: WaitOptions,
    attempt: () => Result | undefined,
    gate: Gate,
  ): Promise<Result> {
    const members = this.#members;
    const rest = remaining(options);
    const work = (deaths: number) => this.#withLock(deaths, attempt);
    const flow = () => this.#sleepAndWork(action, work, gate, members.promises.place);
    options.signal?.throwIfAborted();
    const perform = async () =>
      await this.#port.perform(action, rest(), work) ?? await members.drive(flow, action, rest());
    const result = await members.inLine(line, action, options, perform);
    const due = turn();
    if (due !== undefined) await due;
    return result;
  }

  #untilSync<Result>(
    action: string,
    options: TimeoutOptions,
    attempt: () => Result | undefined,
    gate: Gate,
  ): Result {
    const members = this.#members;
    const rest = remaining(options);
    const work = (deaths: number) => this.#withLock(deaths, attempt);
    const result = work(this.#port.takeSync(action, rest()));
    if (result !== undefined) return result;
    const flow = this.#sleepAndWork(action, work, gate, members.seat.place);
    return members.driveSync(flow, action, rest());
  }

  *#sleepAndWork<Result>(
    action: string,
    work: (deaths: number) => Result | undefined,
    gate: Gate,
    me: number,
  ): Flow<Result> {
    for (;;) {
      this.#members.refuseRemoved(action);
      yield* this.#jobs.await(gate, me);
      const result = work(yield* this.#port.take(action, gate));
      if (result !== undefined) return result;
    }
  }

  /**
   * Gives the jobs back that this handle holds, ends the handle, and removes the queue if the handle owns
   * it. Does nothing the second time.
   */
  override [Symbol.dispose](): void {
    for (const claim of [...this.#held]) this.#end(claim, false);
    super[Symbol.dispose]();
  }
}
