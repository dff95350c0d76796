/**
 * A limit on how many processes use something at once: {@linkcode Bulkhead}.
 *
 * @module
 */

import { checkInteger, checkOptions } from "../ffi/check.ts";
import { readWaitOptions, type TimeoutOptions, type WaitOptions } from "../wait/options.ts";
import { internal } from "../ipc/internal.ts";
import type { Key } from "../ipc/key.ts";
import type { CreateOptions, OpenOrCreateOptions } from "../ipc/object.ts";
import { SemaphoreSet } from "../ipc/semaphore_set.ts";
import type { Action } from "../ipc/steps.ts";
import type { SemaphoreArray } from "./array.ts";
import { Engine, ignoreRemoval } from "./engine.ts";
import { run, runSync } from "./flow.ts";
import * as flows from "./flows/bulkhead.ts";
import { Guard, releaseBy, runWith } from "./guard.ts";
import { Primitive, showPrimitive } from "./primitive.ts";
import { bulkhead as protocol } from "./protocols.ts";

/** The limit of a bulkhead: a number of tickets, or a share of the registered workers. */
export type BulkheadLimit = {
  /** The number of tickets, from 1 to 16383. */
  tickets: number;
  quota?: undefined;
} | {
  /** The tickets for each registered worker, above 0 and at most 1; rounded up, and at least one in all. */
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
   * The tickets for each registered worker, if a quota is the rule.
   *
   * @default {undefined} The number of tickets stays as it is.
   */
  quota?: number | undefined;
}

/** A snapshot of {@linkcode Bulkhead.state}. */
export interface BulkheadState {
  /** The number of tickets. */
  readonly tickets: number;
  /** The number of tickets held: above `tickets` after a resize to fewer. */
  readonly inUse: number;
  /** The number of registered workers. */
  readonly workers: number;
}

const kind = "bulkhead";
const acquire: Action = (name) => `acquire a ticket of ${name}`;
const release: Action = (name) => `release a ticket of ${name}`;
const register: Action = (name) => `register with ${name}`;
const unregister: Action = (name) => `unregister from ${name}`;
const resize = (tickets: number): Action => (name) => `resize ${name} to ${tickets} tickets`;
const describe: Action = (name) => `describe ${name}`;

const releaseTicket = releaseBy(flows.release(protocol), release);
const unregistering = releaseBy(flows.unregister(protocol), unregister, "registered");

/**
 * No ticket in time: `acquire`, `acquireSync` and `run` of a {@linkcode Bulkhead} throw it when their own timeout
 * expires. It is a DOMException "TimeoutError" as for any wait, but of its own class, which distinguishes it
 * from a TimeoutError of the task.
 *
 * @example
 * ```ts
 * import { Bulkhead, BulkheadTimeoutError } from "@sysv/ipc/sync";
 * import { assertRejects } from "@std/assert";
 *
 * using bulkhead = Bulkhead.create({ tickets: 1 });
 * using _permit = bulkhead.tryAcquire();
 * await assertRejects(() => bulkhead.run(() => {}, { timeout: 1 }), BulkheadTimeoutError);
 * ```
 */
export class BulkheadTimeoutError extends DOMException {
  /**
   * Creates the error.
   *
   * @param message What the wait was for, and its timeout.
   */
  constructor(message: string) {
    super(message, "TimeoutError");
  }
}

/** Makes a timeout of a wait for a ticket an error of its own class. */
function noTicket(error: unknown, signal?: AbortSignal): unknown {
  const late = error instanceof DOMException && error.name === "TimeoutError";
  return late && error !== signal?.reason ? new BulkheadTimeoutError(error.message) : error;
}

/**
 * A ticket of a {@linkcode Bulkhead}, until it is released or the process ends.
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
export class BulkheadPermit extends Guard {
  /** How long the wait for it was, in milliseconds. */
  readonly waited: number;

  /** @ignore */
  constructor(token: symbol, engine: Engine, waited: number) {
    super(token, engine, releaseTicket);
    this.waited = waited;
  }
}

/**
 * A limit on how many processes use something at once, such as a slow service, so that the others fail fast
 * instead of waiting for it too. (After Shopify's Semian.)
 *
 * - **Death:** when a process dies, even by SIGKILL, its tickets are free at once, and it is no worker any more:
 *   a quota is adjusted at the next call of a live worker.
 * - **Resizing:** takes effect at once where it grows, and as tickets come back where it shrinks.
 * - **Workers:** each handle is one worker, from `register` until it is disposed or its process ends.
 *
 * Layout: semaphore 0 is 16383 plus the tickets left, 1 the tickets, 2 the workers. To take a ticket:
 * `[(0, -16384, UNDO), (0, +16383, UNDO)]`, to give it back `(0, +1, UNDO)`. To register: `(2, +1, UNDO)`.
 * To resize from a to b: `[(1, -a), (1, 0), (1, +b), (0, b - a)]`, without the last if they are equal.
 *
 * With a quota q, b has to be w * q, rounded up and at least 1, when w are registered. A process that
 * registers, unregisters, takes a ticket or asks for the state reads all values first, and if a is not b, resizes
 * on condition that there are still w workers: `[(1, -a), (1, 0), (1, +b), (0, b - a), (2, -w), (2, 0),
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
export class Bulkhead extends Primitive {
  /** The tickets for each registered worker, if a quota is the rule. */
  readonly quota: number | undefined;
  readonly #engine: Engine;
  #registration: Guard | undefined;

  /**
   * Makes a bulkhead of semaphores that start with 16383 and the tickets, the tickets, and 0.
   *
   * @param array The semaphores: if they are not in the kernel, only `acquire`, `run` and
   * `remove` work, and no worker can register.
   * @param options The quota, if that is the rule; a number of tickets unless given.
   */
  constructor(array: SemaphoreArray, options: BulkheadOpenOptions = {}) {
    const quota = quotaOf(options);
    const engine = new Engine(array, kind);
    super(internal, engine);
    this.#engine = engine;
    this.quota = quota;
  }

  /**
   * Creates a bulkhead. Disposing the handle removes it, unless `owner` is false.
   *
   * @param options The tickets or the quota, the key, the mode, and whether the handle owns it.
   * @returns A handle to a bulkhead with all its tickets; it is no worker yet.
   * @throws {IpcError} EEXIST if the key is taken, ENOSPC if a limit of the system is reached.
   */
  static create(options: BulkheadCreateOptions): Bulkhead {
    checkOptions(options);
    const { tickets, quota, ...others } = options;
    const values = valuesOf(tickets, quota);
    return new Bulkhead(SemaphoreSet.create({ ...others, values, kind }), { quota });
  }

  /**
   * Opens a bulkhead that exists.
   *
   * @param key The key or name.
   * @param options The quota, if that is the rule; a number of tickets unless given.
   * @returns A handle that does not own it.
   * @throws {IpcError} ENOENT if there is none, EINVAL if it is something else, EACCES if its mode does
   * not permit reading, EAGAIN if its creator has not finished it: `openOrCreate` does.
   */
  static open(key: Key, options: BulkheadOpenOptions = {}): Bulkhead {
    quotaOf(options);
    return new Bulkhead(SemaphoreSet.open(key, { kind }), options);
  }

  /**
   * Opens a bulkhead, or creates it, safely against every race and crash. A bulkhead that exists
   * gets the new number of tickets, as by `resize`: the last program decides.
   *
   * @param key The key or name.
   * @param options The tickets or the quota, the mode to create it with, and whether to accept one of
   * another user.
   * @returns A handle that does not own it.
   * @throws {IpcError} EPERM if another user created it, EINVAL if it is something else, EACCES if its
   * mode does not permit reading, or writing where the tickets differ, ENOSPC.
   */
  static openOrCreate(key: Key, options: BulkheadOpenOrCreateOptions): Bulkhead {
    checkOptions(options);
    const { tickets, quota, ...others } = options;
    const values = valuesOf(tickets, quota);
    for (;;) {
      const set = SemaphoreSet.openOrCreate(key, { ...others, values, kind });
      const bulkhead = new Bulkhead(set, { quota });
      try {
        if (tickets !== undefined) bulkhead.#resize(tickets);
        return bulkhead;
      } catch (error) {
        ignoreRemoval(error);
      }
    }
  }

  /**
   * Takes a bulkhead by the identifier that another process passed.
   *
   * @param id The identifier.
   * @param options The quota, if that is the rule; a number of tickets unless given.
   * @returns A handle that does not own it.
   * @throws {IpcError} EIDRM if there is none, EINVAL if it is something else, EACCES if its mode does
   * not permit reading.
   */
  static fromId(id: number, options: BulkheadOpenOptions = {}): Bulkhead {
    quotaOf(options);
    return new Bulkhead(SemaphoreSet.fromId(id, { kind }), options);
  }

  static {
    showPrimitive("Bulkhead", this.prototype, (bulkhead) => ({ state: () => bulkhead.state() }));
  }

  /**
   * Registers this handle as a worker, until it is disposed or the process ends. Does nothing the
   * second time.
   *
   * @throws {IpcError} EIDRM if the bulkhead is removed.
   */
  register(): void {
    if (this.#registration !== undefined) return;
    runSync(this.#engine, flows.register(protocol, this.quota), register);
    this.#registration = new Guard(internal, this.#engine, unregistering);
  }

  /** Ends the registration of this handle. Does nothing the second time, nor once the bulkhead is removed. */
  unregister(): void {
    if (this.#registration === undefined) return;
    this.#registration.release();
    this.#registration = undefined;
    try {
      runSync(this.#engine, flows.adjust(protocol, this.quota), unregister);
    } catch (error) {
      ignoreRemoval(error);
    }
  }

  /**
   * Takes a ticket, waiting until one is free.
   *
   * @param options The signal and the timeout.
   * @returns A promise of a permit, to release with `using`. It rejects with the reason of the signal,
   * with a {@linkcode BulkheadTimeoutError} if the timeout expires, with a ReferenceError if the handle is
   * disposed, with IpcError EIDRM if the bulkhead is removed.
   */
  async acquire(options?: WaitOptions): Promise<BulkheadPermit> {
    const start = performance.now();
    const engine = this.#engine;
    const flow = flows.acquire(protocol, this.quota);
    try {
      await engine.local.pend(run(engine, flow, acquire, options));
    } catch (error) {
      throw noTicket(error, options?.signal);
    }
    return this.#permit(start);
  }

  /**
   * Takes a ticket, blocking the thread until one is free.
   *
   * @param options The timeout.
   * @returns A permit, to release with `using`.
   * @throws {BulkheadTimeoutError} If the timeout expires.
   * @throws {IpcError} EDEADLK if this thread holds all tickets, or waits for them in promises; EINTR if the program handled a signal, EIDRM if the bulkhead is removed.
   */
  acquireSync(options?: TimeoutOptions): BulkheadPermit {
    const limits = readWaitOptions(options);
    const start = performance.now();
    const permit = this.tryAcquire();
    if (permit !== undefined) return permit;
    const engine = this.#engine;
    const { held, pending } = engine.local;
    if (held + pending >= engine.readSync()[protocol.limit]!) {
      engine.local.refuseDeadlock(engine, acquire);
    }
    try {
      runSync(engine, flows.acquire(protocol, this.quota), acquire, limits);
    } catch (error) {
      throw noTicket(error);
    }
    return this.#permit(start);
  }

  /**
   * Takes a ticket if one is free; never waits.
   *
   * @returns A permit, to release with `using`, or undefined.
   * @throws {IpcError} EIDRM if the bulkhead is removed.
   */
  tryAcquire(): BulkheadPermit | undefined {
    const start = performance.now();
    const may = runSync(this.#engine, flows.tryAcquire(protocol, this.quota), acquire);
    return may ? this.#permit(start) : undefined;
  }

  /**
   * Runs a function with a ticket.
   *
   * @param run The function; the ticket is given back when it, or its promise, is done.
   * @param options The signal and the timeout of the wait for the ticket.
   * @returns A promise of what the function returns. It rejects with what the function throws, and as `acquire`
   * does if there is no ticket: then the function is not run.
   */
  run<Result>(
    run: (permit: BulkheadPermit) => Result | Promise<Result>,
    options?: WaitOptions,
  ): Promise<Result> {
    return runWith(() => this.acquire(options), run);
  }

  /**
   * Changes the number of tickets. Permits that are held stay good: if there are more of them, no
   * ticket is free until enough have come back.
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
    this.#resize(tickets);
  }

  /**
   * Returns how many tickets there are, how many are held, and how many workers are registered, at one
   * moment.
   *
   * @returns A snapshot.
   * @throws {IpcError} EIDRM if the bulkhead is removed.
   */
  state(): BulkheadState {
    const values = runSync(this.#engine, flows.state(protocol, this.quota), describe);
    const [room, limit, workers] = values;
    return { tickets: limit!, inUse: protocol.floor + limit! - room!, workers: workers! };
  }

  /** Unregisters, ends the handle, and removes the bulkhead if the handle owns it. A permit stays good. */
  override [Symbol.dispose](): void {
    this.#registration?.release();
    this.#registration = undefined;
    super[Symbol.dispose]();
  }

  #resize(tickets: number): void {
    const engine = this.#engine;
    // A bulkhead of this size needs no permission to change.
    if (engine.readSync()[protocol.limit] === tickets) return;
    runSync(engine, flows.resize(protocol, tickets), resize(tickets));
  }

  #permit(start: number): BulkheadPermit {
    return new BulkheadPermit(internal, this.#engine, performance.now() - start);
  }
}

function valuesOf(tickets: number | undefined, quota: number | undefined): number[] {
  if (quota === undefined) checkTickets(tickets!);
  else if (tickets !== undefined) {
    throw new TypeError("Cannot limit by tickets and quota: expected one of them");
  } else checkQuota(quota);
  return protocol.values(tickets ?? 1);
}

function quotaOf(options: BulkheadOpenOptions): number | undefined {
  checkOptions(options);
  checkQuota(options.quota);
  return options.quota;
}

function checkTickets(tickets: number): void {
  checkInteger(tickets, 1, protocol.floor, `make a bulkhead of ${tickets} tickets`);
}

function checkQuota(quota: number | undefined): void {
  if (quota === undefined || (typeof quota === "number" && quota > 0 && quota <= 1)) return;
  const message = `Cannot use ${quota} as a quota: expected more than 0 and at most 1`;
  throw typeof quota === "number" ? new RangeError(message) : new TypeError(message);
}
