/**
 * Waiting without blocking the event loop.
 *
 * Equal waits stand in one line, of which only the first is in the kernel, on a thread of its own; when it
 * wakes, the others are tried at once. If they change nothing, a result is for all that had joined when the
 * call was last entered. Lines without a thread are tried at an interval that grows to 5 ms, so nothing can
 * deadlock on threads.
 *
 * **A wait that ends early has changed nothing.** If the kernel was faster, the result goes to the next in
 * line; if there is none, it is reversed; if it cannot be reversed, the promise resolves, because it happened.
 *
 * docs/design.md follows one wait through all threads.
 *
 * @module
 */

import { errors } from "../ffi/constants.ts";
import { checkInteger, checkOptions } from "../ffi/check.ts";
import { MAX_THREADS, Pool } from "./pool.ts";
import type { Thread } from "./thread.ts";
import { type Place, type Wait, Waiter, Waiters } from "./waiter.ts";

/** Options of {@linkcode configure}. */
export interface ConfigureOptions {
  /**
   * How many different waits may have a thread each, from 0 to 256; any more are tried at an interval.
   *
   * @default {8}
   */
  waiterThreads?: number | undefined;
}

/** The longest interval between two tries without a thread, in milliseconds. */
const MAX_INTERVAL = 5;
/** How long a line waits before a thread is started for it, in milliseconds: many waits are over sooner. */
const PATIENCE = 10;

/**
 * Equal waits, first come first served.
 *
 * | state     | what it means                                          | what ends it                           |
 * | --------- | ------------------------------------------------------ | -------------------------------------- |
 * | "queued"  | it has no thread, and is tried at an interval          | a thread is free: "blocked"            |
 * | "blocked" | the call of the first wait is in the kernel            | the answer: see below                  |
 * | "ending"  | the same, but no wait wants it any more: interrupted   | the answer: see below                  |
 * | "closed"  | it is empty, and a new line may take its key           | nothing                                |
 *
 * After an answer, the line is "blocked" again if a wait is left, or "queued" if its thread has failed;
 * otherwise it is "closed". A line that is "queued" is "closed" as soon as it is empty.
 */
class WaitQueue implements Place {
  readonly #key: string;
  readonly #waiters = new Waiters();
  /** Waits that gave up while the kernel may have been serving them: its answer decides. */
  readonly #leaving = new Map<Waiter, unknown>();
  #state: "queued" | "blocked" | "ending" | "closed" = "queued";
  /** Since when it is queued. */
  #since = 0;
  /** How many waits have joined, modulo 2^32. */
  #joined = 0;
  /** The thread, while it is "blocked" or "ending", and the waiter whose call it makes. */
  #thread: Thread | undefined;
  #served: Waiter | undefined;

  constructor(key: string) {
    this.#key = key;
    lines.set(key, this);
  }

  /** One of the waits, which may have been given up: its call is the call of all that are shared. */
  get wait(): Wait<unknown> | undefined {
    return (this.#served ?? this.#waiters.first)?.wait;
  }

  join<Result>(wait: Wait<Result>): Promise<Result> {
    const isFirst = this.#waiters.isEmpty;
    if (wait.readOnly && !isFirst) {
      // A wait that changes nothing takes nothing from the others.
      const result = wait.attempt();
      if (result >= 0) return Promise.resolve(wait.take(result));
    }
    const { promise, resolve, reject } = Promise.withResolvers<Result>();
    this.#joined = (this.#joined + 1) | 0;
    this.#waiters.add(new Waiter(wait, this.#joined, this, resolve, reject));
    if (this.#thread === undefined) { if (isFirst) this.#queue(); }
    else if (wait.readOnly) this.#thread.admit(this.#joined);
    return promise;
  }

  /** Waits for a thread, behind the lines that wait for one already. */
  #queue(): void {
    this.#state = "queued";
    this.#since = performance.now();
    threadless.add(this);
    if (!this.enter()) poll();
  }

  /** Whether it has waited for a thread long enough that one may be started for it. */
  isImpatient(now: number): boolean {
    return now - this.#since >= PATIENCE;
  }

  /** Goes into the kernel if there is a thread for it. */
  enter(): boolean {
    const thread = pool.take();
    if (thread === undefined) return false;
    threadless.delete(this);
    this.#thread = thread;
    this.#block(thread);
    return true;
  }

  #block(thread: Thread): void {
    this.#state = "blocked";
    const { wait } = this.#served = this.#waiters.first!;
    thread.run(wait.call, wait.request(thread.memory), this.#joined, (result) => {
      if (result >= 0) wait.received?.(thread.memory, result);
      this.#answer(thread, result);
    });
  }

  #answer(thread: Thread, result: number): void {
    const served = this.#served!;
    this.#served = undefined;
    if (result >= 0) this.#give(served, result, thread.entered);
    else if (result !== -errors.EINTR) this.#refuse(served, -result);
    for (const [leaving, reason] of this.#leaving) leaving.reject(reason);
    this.#leaving.clear();
    this.serve();
    if (!this.#waiters.isEmpty && !thread.failed) return this.#block(thread);
    this.#thread = undefined;
    pool.giveBack(thread);
    if (this.#waiters.isEmpty) this.#close();
    else this.#queue();
    admit();
  }

  /**
   * Hands over a result of the kernel: to the first in line; without one, it is reversed if that is possible.
   * A result that changed nothing is for all that had joined when the call was entered.
   */
  #give(served: Waiter, result: number, entered: number): void {
    const { wait } = served;
    if (wait.readOnly) return this.#giveAll(result, entered);
    const receiver = wait.shared ? this.#waiters.first : served;
    if (receiver !== undefined && this.#waiters.delete(receiver)) return receiver.resolve(result);
    if (wait.reverse?.()) return;
    const [leaver] = wait.shared ? this.#leaving.keys() : [served];
    this.#leaving.delete(leaver!);
    leaver!.resolve(result);
  }

  #giveAll(result: number, entered: number): void {
    for (const waiter of this.#waiters) {
      if (((waiter.number - entered) | 0) > 0) return;
      this.#waiters.delete(waiter);
      waiter.resolve(result);
    }
  }

  /** Hands over an error of the kernel: to all, or to the wait whose call it was. */
  #refuse(served: Waiter, errno: number): void {
    if (errno === errors.E2BIG && served.wait.grow?.()) return;
    for (const refused of served.wait.shared ? this.#waiters : [served]) {
      if (this.#waiters.delete(refused)) refused.fail(errno);
    }
  }

  /** Serves as many waits as possible without waiting. */
  serve(): void {
    while (!this.#waiters.isEmpty) {
      const waiter = this.#waiters.first!;
      const result = waiter.wait.attempt();
      if (result === -errors.EAGAIN || result === -errors.ENOMSG) return;
      if (result >= 0) this.#give(waiter, result, this.#joined);
      else this.#refuse(waiter, -result);
    }
    if (this.#state === "queued") this.#close();
  }

  /** Takes a wait out of the line. If the kernel may be serving it, its answer decides. */
  giveUp(waiter: Waiter, reason: unknown): void {
    if (!this.#waiters.delete(waiter)) return;
    const isServed = this.#served !== undefined &&
      (waiter.wait.shared ? this.#waiters.isEmpty : waiter === this.#served);
    if (isServed) {
      this.#leaving.set(waiter, reason);
      this.#state = "ending";
      this.#thread!.cancel();
    } else {
      waiter.reject(reason);
      if (this.#state === "queued" && this.#waiters.isEmpty) this.#close();
    }
  }

  /** Ends the call in the kernel, as the program ends. */
  abandon(): void {
    this.#thread?.abandon();
  }

  #close(): void {
    this.#state = "closed";
    threadless.delete(this);
    lines.delete(this.#key);
  }
}

const lines = new Map<string, WaitQueue>();
/** Lines without a thread, the one that has waited longest first. */
const threadless = new Set<WaitQueue>();
/** The threads, of which lines take one each. */
export const pool: Pool = new Pool(admit, abandon);
let polling = false;

/** Ends all threads, as the program ends and its process may not. */
function abandon(): void {
  for (const line of lines.values()) line.abandon();
  pool.abandon();
}

/** Gives idle threads to lines. */
function admit(): void {
  for (const line of threadless) {
    if (!line.enter()) return;
  }
}

/** Tries lines without a thread, less and less often, and starts threads for those that have waited a while. */
function poll(): void {
  if (polling) return;
  polling = true;
  let interval = 1;
  const tick = () => {
    for (const line of threadless) line.serve();
    const [oldest] = threadless;
    polling = oldest !== undefined;
    if (oldest === undefined) return;
    if (oldest.isImpatient(performance.now())) pool.start();
    interval = Math.min(interval + 1, MAX_INTERVAL);
    setTimeout(tick, interval);
  };
  setTimeout(tick, interval);
}

/** One of the equal waits that stand in line, behind which the next one queues; undefined if there is no line. */
export function equalWait(key: string): Wait<unknown> | undefined {
  return lines.get(key)?.wait;
}

/** Waits in line behind its equals. */
export function wait<Result>(wait: Wait<Result>): Promise<Result> {
  return (lines.get(wait.key) ?? new WaitQueue(wait.key)).join(wait);
}

/** Whether anything waits at all: mostly nothing does. */
export function anyWaiting(): boolean {
  return lines.size > 0;
}

/**
 * Starts waiter threads ahead of time. Otherwise they are started one after the other for waits that take
 * longer than 10 ms, and each start blocks the event loop for up to 50 ms in Deno and 3 ms in Bun and Node. Idle
 * threads end after half a minute.
 *
 * @example
 * ```ts
 * import { MessageQueue, prepare } from "@sysv/ipc";
 * import { assertEquals } from "@std/assert";
 *
 * await prepare(); // at the start of a program
 * using queue = MessageQueue.create();
 * setTimeout(() => queue.trySend("now"), 20);
 * assertEquals((await queue.receive()).text(), "now");
 * ```
 *
 * @param count How many different waits will need one, from 1 to 256, 1 unless given.
 * @returns A promise that resolves when they have started, or as many as the system and `waiterThreads` allow.
 * It rejects with a RangeError if the number is not from 1 to 256.
 */
export async function prepare(count = 1): Promise<void> {
  checkInteger(count, 1, MAX_THREADS, `prepare ${count} threads`);
  await pool.prepare(count);
}

/**
 * Sets how this thread of the program waits.
 *
 * @example
 * ```ts
 * import { configure } from "@sysv/ipc";
 *
 * configure({ waiterThreads: 16 }); // for up to 16 different waits at once
 * ```
 *
 * @param options How many threads may wait.
 * @throws {RangeError} If the number of threads is not from 0 to 256.
 */
export function configure(options: ConfigureOptions): void {
  checkOptions(options);
  const { waiterThreads } = options;
  if (waiterThreads === undefined) return;
  checkInteger(waiterThreads, 0, MAX_THREADS, `wait with ${waiterThreads} threads`);
  pool.limit = waiterThreads;
}
