/**
 * A limit on how many use something at once: {@linkcode Bulkhead}.
 *
 * @module
 */

import { checkInteger } from "../ffi/check.ts";
import { checkTimeout, type TimeoutOptions, type WaitOptions } from "../wait/options.ts";
import type { Key } from "../ipc/key.ts";
import type { CreateOptions, OpenOrCreateOptions } from "../ipc/object.ts";
import { SemaphoreSet } from "../ipc/semaphore_set.ts";
import type { SemaphoreArray } from "./array.ts";
import { bulkhead as protocol } from "./protocols.ts";
import { checkFunction, type Guard, ignoreRemoval, Structure } from "./structure.ts";

/** How many tickets a bulkhead has: a number, or a share of the registered workers. */
export type BulkheadLimit = {
  /** The number of tickets, from 1 to 16383. */
  tickets: number;
  quota?: undefined;
} | {
  /** The tickets for each registered worker, more than 0 and at most 1; rounded up, at least one in all. */
  quota: number;
  tickets?: undefined;
};

/** Options of {@linkcode Bulkhead.create}. */
export type BulkheadCreateOptions = CreateOptions & BulkheadLimit;

/** Options of {@linkcode Bulkhead.openOrCreate}. */
export type BulkheadOpenOrCreateOptions = OpenOrCreateOptions & BulkheadLimit;

/** Options of {@linkcode Bulkhead.open} and {@linkcode Bulkhead.fromId}. */
export interface BulkheadOpenOptions {
  /**
   * The tickets for each registered worker, if that is the rule.
   *
   * @default {undefined} The number of tickets stays as it is.
   */
  quota?: number | undefined;
}

/** What {@linkcode Bulkhead.state} tells. */
export interface BulkheadState {
  /** The number of tickets. */
  readonly tickets: number;
  /** How many of them are held: more than there are, after the number was made smaller. */
  readonly inUse: number;
  /** The registered workers. */
  readonly workers: number;
}

const kind = "bulkhead";

/**
 * A ticket of a {@linkcode Bulkhead}.
 *
 * @example
 * ```ts
 * import { Bulkhead } from "@sysv/ipc/sync";
 * import { assert, assertEquals } from "@std/assert";
 *
 * using bulkhead = Bulkhead.create({ tickets: 1 });
 * {
 *   using permit = await bulkhead.acquire();
 *   assert(permit.waited >= 0);
 *   assertEquals(bulkhead.tryAcquire(), undefined);
 * }
 * assertEquals(bulkhead.state().inUse, 0);
 * ```
 */
export class BulkheadPermit implements Disposable {
  /** How long it was waited for, in milliseconds. */
  readonly waited: number;
  readonly #guard: Guard;

  /**
   * Creates a permit.
   *
   * @param guard What gives the ticket back.
   * @param waited How long it was waited for, in milliseconds.
   */
  constructor(guard: Guard, waited: number) {
    this.#guard = guard;
    this.waited = waited;
  }

  /**
   * Gives the ticket back, even after the handle of the bulkhead is disposed. Does nothing the second
   * time, nor once the bulkhead is removed.
   */
  release(): void {
    this.#guard.release();
  }

  /** Gives the ticket back, so that `using` does. */
  [Symbol.dispose](): void {
    this.release();
  }
}

/**
 * A limit on how many processes use something at once, such as a slow service, so that the others
 * fail fast instead of waiting for it too. (After Shopify's semian.)
 *
 * - **Death:** a ticket of a process that dies, by SIGKILL too, is free at once, and so is its place
 *   among the workers: a quota counts it off at the next call of a live worker.
 * - **Resizing:** takes effect at once where it grows, and as tickets come back where it shrinks.
 * - **Workers:** each handle is one worker, from `register` until it is disposed or its process ends.
 *
 * Layout: semaphore 0 is 16383 plus the tickets left, 1 the tickets, 2 the workers. To take a ticket:
 * `[(0, -16384, UNDO), (0, +16383, UNDO)]`, to give it back `(0, +1, UNDO)`. To register: `(2, +1, UNDO)`.
 * To resize from a to b: `[(1, -a), (1, 0), (1, +b), (0, b - a)]`, without the last if they are equal.
 *
 * With a quota q, b has to be w * q, rounded up and at least 1, when w are registered. Whoever comes,
 * goes, takes a ticket or asks for the state reads all values first, and if a is not b, resizes on
 * condition that there are still w workers: `[(1, -a), (1, 0), (1, +b), (0, b - a), (2, -w), (2, 0),
 * (2, +w)]` with NOWAIT, where what would add 0 is left out; then it reads again.
 *
 * @example
 * ```ts
 * import { Bulkhead } from "@sysv/ipc/sync";
 * import { assertEquals } from "@std/assert";
 *
 * using bulkhead = Bulkhead.create({ tickets: 2 });
 * const answer = await bulkhead.run(() => {
 *   assertEquals(bulkhead.state(), { tickets: 2, inUse: 1, workers: 0 });
 *   return 42;
 * }, { timeout: 1000 });
 * assertEquals(answer, 42);
 * ```
 *
 * @see https://github.com/Shopify/semian
 */
export class Bulkhead implements Disposable {
  /** The tickets for each registered worker, if that is the rule. */
  readonly quota: number | undefined;
  readonly #structure: Structure;
  #registration: Guard | undefined;

  /**
   * Makes a bulkhead of semaphores that start with 16383 and the tickets, the tickets, and 0.
   *
   * @param array The semaphores: with those of another engine than the kernel, only `acquire`, `run` and
   * `remove` work, and nobody can register.
   * @param options The quota, if that is the rule.
   */
  constructor(array: SemaphoreArray, { quota }: BulkheadOpenOptions = {}) {
    checkQuota(quota);
    this.#structure = new Structure(array, kind);
    this.quota = quota;
  }

  /**
   * Creates a bulkhead. Disposing the handle removes it, unless `owner` is false.
   *
   * @param options The tickets or the quota, the key, the mode, and who owns it.
   * @returns A handle to a bulkhead with all its tickets, that is no worker yet.
   * @throws {IpcError} EEXIST if the key is taken, ENOSPC if a limit of the system is reached.
   */
  static create({ tickets, quota, ...options }: BulkheadCreateOptions): Bulkhead {
    const values = valuesOf(tickets, quota);
    return new Bulkhead(SemaphoreSet.create({ ...options, values, kind }), { quota });
  }

  /**
   * Opens a bulkhead that exists.
   *
   * @param key The key or name.
   * @param options The quota, if that is the rule.
   * @returns A handle that does not own it.
   * @throws {IpcError} ENOENT if there is none, EINVAL if it is something else, EACCES if its mode does
   * not permit reading, EAGAIN if its creator has not finished it: `openOrCreate` does.
   */
  static open(key: Key, options: BulkheadOpenOptions = {}): Bulkhead {
    checkQuota(options.quota);
    return new Bulkhead(SemaphoreSet.open(key, { kind }), options);
  }

  /**
   * Opens a bulkhead, whose number of tickets is left alone, or creates it, safely against every race and crash.
   *
   * @param key The key or name.
   * @param options The tickets or the quota, the mode to create it with, and whether that of
   * another user will do.
   * @returns A handle that does not own it.
   * @throws {IpcError} EPERM if another user made it, EINVAL if it is something else, EACCES, ENOSPC.
   */
  static openOrCreate(
    key: Key,
    { tickets, quota, ...options }: BulkheadOpenOrCreateOptions,
  ): Bulkhead {
    const values = valuesOf(tickets, quota);
    return new Bulkhead(SemaphoreSet.openOrCreate(key, { ...options, values, kind }), { quota });
  }

  /**
   * Takes the identifier of a bulkhead that another process made.
   *
   * @param id The identifier.
   * @param options The quota, if that is the rule.
   * @returns A handle that does not own it.
   * @throws {IpcError} EIDRM if there is none, EINVAL if it is something else, EACCES if its mode does
   * not permit reading.
   */
  static fromId(id: number, options: BulkheadOpenOptions = {}): Bulkhead {
    checkQuota(options.quota);
    return new Bulkhead(SemaphoreSet.fromId(id, { kind }), options);
  }

  /** The identifier, by which other processes of this machine can take it. */
  get id(): number {
    return this.#structure.set.id;
  }

  /** The key, undefined for a private bulkhead. */
  get key(): number | undefined {
    return this.#structure.set.key;
  }

  /**
   * Registers this handle as a worker, until it is disposed or the process ends. Does nothing the
   * second time.
   *
   * @throws {IpcError} EIDRM if the bulkhead is removed.
   */
  register(): void {
    if (this.#registration !== undefined) return;
    this.#structure.set.tryOperate(protocol.register);
    this.#registration = this.#structure.guard(protocol.unregister);
    this.#adjust();
  }

  /** Counts this handle off the workers. Does nothing the second time, nor once the bulkhead is removed. */
  unregister(): void {
    if (this.#registration === undefined) return;
    this.#registration.release();
    this.#registration = undefined;
    try {
      this.#adjust();
    } catch (error) {
      ignoreRemoval(error);
    }
  }

  /**
   * Takes a ticket, waiting until one is free.
   *
   * @param options The signal and the timeout.
   * @returns A promise of a permit, to release with `using`. It rejects with the reason of the signal,
   * with a DOMException "TimeoutError" if the time is up, with a ReferenceError if the handle is
   * disposed, with IpcError EIDRM if the bulkhead is removed.
   */
  async acquire(options?: WaitOptions): Promise<BulkheadPermit> {
    checkTimeout(options?.timeout);
    options?.signal?.throwIfAborted();
    const start = performance.now();
    await this.#adjustAsync();
    await this.#structure.array.operate(protocol.acquire, options);
    return this.#permit(start);
  }

  /**
   * Takes a ticket, blocking the thread until one is free.
   *
   * @param options The timeout.
   * @returns A permit, to release with `using`.
   * @throws {DOMException} "TimeoutError" if the time is up.
   * @throws {IpcError} EINTR if the program handled a signal, EIDRM if the bulkhead is removed.
   */
  acquireSync(options?: TimeoutOptions): BulkheadPermit {
    checkTimeout(options?.timeout);
    const start = performance.now();
    this.#adjust();
    this.#structure.set.operateSync(protocol.acquire, options);
    return this.#permit(start);
  }

  /**
   * Takes a ticket if one is free.
   *
   * @returns A permit, to release with `using`, or undefined.
   * @throws {IpcError} EIDRM if the bulkhead is removed.
   */
  tryAcquire(): BulkheadPermit | undefined {
    const start = performance.now();
    this.#adjust();
    return this.#structure.set.tryOperate(protocol.acquire) ? this.#permit(start) : undefined;
  }

  /**
   * Runs a function with a ticket.
   *
   * @param run The function; the ticket is given back when it, or its promise, is done.
   * @param options The signal and the timeout of the wait for the ticket.
   * @returns A promise of what the function gives. It rejects with what the function throws, and as that
   * of `acquire` if there is no ticket: then the function is not run.
   */
  async run<Result>(
    run: (permit: BulkheadPermit) => Result | Promise<Result>,
    options?: WaitOptions,
  ): Promise<Result> {
    checkFunction(run);
    using permit = await this.acquire(options);
    return await run(permit);
  }

  /**
   * Changes the number of tickets. Permits that are held stay good: if there are more of them, nobody
   * gets a ticket until enough have come back.
   *
   * @param tickets The number of tickets, from 1 to 16383.
   * @throws {TypeError} If a quota is the rule.
   * @throws {IpcError} EIDRM if the bulkhead is removed.
   */
  resize(tickets: number): void {
    checkTickets(tickets);
    if (this.quota !== undefined) {
      throw new TypeError("Cannot resize a bulkhead whose rule is a quota");
    }
    const { set } = this.#structure;
    let resized = false;
    while (!resized) {
      resized = set.tryOperate(protocol.resize(set.values[protocol.limit]!, tickets));
    }
  }

  /**
   * Tells how many tickets there are, how many are held, and how many workers are registered, at one
   * moment.
   *
   * @returns A snapshot.
   * @throws {IpcError} EIDRM if the bulkhead is removed.
   */
  state(): BulkheadState {
    const [room, limit, workers] = this.#adjust() ?? this.#structure.set.values;
    return { tickets: limit!, inUse: protocol.floor + limit! - room!, workers: workers! };
  }

  /**
   * Removes the bulkhead, now: whoever waits gets EIDRM.
   *
   * @throws {IpcError} EPERM if this process is neither owner nor creator nor privileged, EIDRM if it
   * is removed already.
   */
  remove(): void {
    this.#structure.remove();
  }

  /** Unregisters, ends the handle, and removes the bulkhead if the handle owns it. A permit stays good. */
  [Symbol.dispose](): void {
    this.#registration?.release();
    this.#registration = undefined;
    this.#structure.dispose();
  }

  #permit(start: number): BulkheadPermit {
    return new BulkheadPermit(this.#structure.guard(protocol.release), performance.now() - start);
  }

  /** Makes the number of tickets what the quota says, if that is the rule; gives the values then. */
  #adjust(): readonly number[] | undefined {
    if (this.quota === undefined) return undefined;
    const { set } = this.#structure;
    for (;;) {
      const { values } = set;
      const step = this.#due(values);
      if (step === undefined) return values;
      set.tryOperate(step);
    }
  }

  async #adjustAsync(): Promise<void> {
    if (this.quota === undefined) return;
    const { array } = this.#structure;
    let step = this.#due(await array.read());
    while (step !== undefined) {
      await array.tryOperate(step);
      step = this.#due(await array.read());
    }
  }

  /** The step by which the number of tickets becomes what it should be, if it is not. */
  #due(values: readonly number[]): ReturnType<typeof protocol.resize> | undefined {
    const limit = values[protocol.limit]!;
    const workers = values[protocol.workers]!;
    const due = share(workers, this.quota!);
    return due === limit ? undefined : protocol.resize(limit, due, workers);
  }
}

/** Rounded up, but not for what a binary fraction adds: 0.7 of 10 is 7. */
function share(workers: number, quota: number): number {
  return Math.min(Math.max(1, Math.ceil(workers * quota - 1e-9)), protocol.floor);
}

function valuesOf(tickets: number | undefined, quota: number | undefined): number[] {
  if (quota === undefined) checkTickets(tickets!);
  else if (tickets !== undefined) {
    throw new TypeError("Cannot limit by tickets and quota: expected one of them");
  } else checkQuota(quota);
  return protocol.values(tickets ?? 1);
}

function checkTickets(tickets: number): void {
  checkInteger(tickets, 1, protocol.floor, `make a bulkhead of ${tickets} tickets`);
}

function checkQuota(quota: number | undefined): void {
  if (quota === undefined || (typeof quota === "number" && quota > 0 && quota <= 1)) return;
  const message = `Cannot give out a share of ${quota}: expected more than 0 and at most 1`;
  throw typeof quota === "number" ? new RangeError(message) : new TypeError(message);
}
