/**
 * Waiting until something is the case: {@linkcode Event}.
 *
 * @module
 */

import type { TimeoutOptions, WaitOptions } from "../wait/options.ts";
import { internal } from "../ipc/internal.ts";
import type { Key } from "../ipc/key.ts";
import type { CreateOptions, OpenOrCreateOptions } from "../ipc/object.ts";
import { SemaphoreSet } from "../ipc/semaphore_set.ts";
import type { Action } from "../ipc/steps.ts";
import type { SemaphoreArray } from "./array.ts";
import { Engine } from "./engine.ts";
import { run, runSync } from "./flow.ts";
import * as flows from "./flows/event.ts";
import { Primitive, showPrimitive } from "./primitive.ts";
import { event as protocol } from "./protocols.ts";

/** How an event begins. */
export interface EventOptions {
  /**
   * Whether it is set.
   *
   * @default {false}
   */
  set?: boolean | undefined;
}

/** Options of {@linkcode Event.create}. */
export interface EventCreateOptions extends CreateOptions, EventOptions {}

/** Options of {@linkcode Event.openOrCreate}. */
export interface EventOpenOrCreateOptions extends OpenOrCreateOptions, EventOptions {}

const kind = "event";
const set: Action = (name) => `set ${name}`;
const reset: Action = (name) => `reset ${name}`;
const wait: Action = (name) => `wait for ${name}`;

/**
 * A flag that processes set, reset and wait for.
 *
 * - **Waiting:** setting it lets all go on who wait. If it is reset at once, promises whose thread is
 *   still to come may miss it: reset it when they have been seen to go on.
 * - **Death:** it stays as it is.
 *
 * Layout: semaphore 0 is 0 if it is set, else 1. To set: `(0, -1, NOWAIT)`. To reset: `[(0, 0, NOWAIT),
 * (0, +1)]`. To wait: `(0, 0)`.
 *
 * @example
 * ```ts
 * import { Event } from "@sysv/ipc/sync";
 * import { assertEquals } from "@std/assert";
 *
 * using ready = Event.create();
 * setTimeout(() => ready.set(), 10);
 * await ready.wait();
 * assertEquals(ready.isSet, true);
 * ```
 */
export class Event extends Primitive {
  readonly #engine: Engine;

  /**
   * Makes an event of one semaphore that starts with 1, or 0 if it is set.
   *
   * @param array The semaphore: with one of another engine than the kernel, only `wait` and `remove`
   * work.
   */
  constructor(array: SemaphoreArray) {
    const engine = new Engine(array, kind);
    super(internal, engine);
    this.#engine = engine;
  }

  /**
   * Creates an event. Disposing the handle removes it, unless `owner` is false.
   *
   * @param options Whether it is set, the key, the mode, and who owns it.
   * @returns A handle to an event that is set or not.
   * @throws {IpcError} EEXIST if the key is taken, ENOSPC if a limit of the system is reached.
   */
  static create({ set = false, ...options }: EventCreateOptions = {}): Event {
    return new Event(SemaphoreSet.create({ ...options, values: protocol.values(set), kind }));
  }

  /**
   * Opens an event that exists.
   *
   * @param key The key or name.
   * @returns A handle that does not own it.
   * @throws {IpcError} ENOENT if there is none, EINVAL if it is something else, EACCES if its mode does
   * not permit reading, EAGAIN if its creator has not finished it: `openOrCreate` does.
   */
  static open(key: Key): Event {
    return new Event(SemaphoreSet.open(key, { kind }));
  }

  /**
   * Opens an event, which is left as it is, or creates it, safely against every race and crash.
   *
   * @param key The key or name.
   * @param options Whether it is set and the mode to create it with, and whether that of another
   * user will do.
   * @returns A handle that does not own it.
   * @throws {IpcError} EPERM if another user made it, EINVAL if it is something else, EACCES, ENOSPC.
   */
  static openOrCreate(key: Key, { set = false, ...options }: EventOpenOrCreateOptions = {}): Event {
    const values = protocol.values(set);
    return new Event(SemaphoreSet.openOrCreate(key, { ...options, values, kind }));
  }

  /**
   * Takes the identifier of an event that another process made.
   *
   * @param id The identifier.
   * @returns A handle that does not own it.
   * @throws {IpcError} EIDRM if there is none, EINVAL if it is something else, EACCES if its mode does
   * not permit reading.
   */
  static fromId(id: number): Event {
    return new Event(SemaphoreSet.fromId(id, { kind }));
  }

  static {
    showPrimitive("Event", this.prototype, (event) => ({ isSet: () => event.isSet }));
  }

  /** Whether it is set. */
  get isSet(): boolean {
    return this.#engine.readSync()[protocol.unset] === 0;
  }

  /**
   * Sets it, so that all go on who wait; never waits.
   *
   * @returns Whether it was not set before.
   * @throws {IpcError} EIDRM if the event is removed.
   */
  set(): boolean {
    return runSync(this.#engine, flows.set(protocol), set);
  }

  /**
   * Resets it, so that who comes from now on waits; never waits.
   *
   * @returns Whether it was set before.
   * @throws {IpcError} EIDRM if the event is removed.
   */
  reset(): boolean {
    return runSync(this.#engine, flows.reset(protocol), reset);
  }

  /**
   * Waits until it is set.
   *
   * @param options The signal and the timeout.
   * @returns A promise that rejects with the reason of the signal, with a DOMException "TimeoutError"
   * if the time is up, with a ReferenceError if the handle is disposed, with IpcError EIDRM if the
   * event is removed.
   */
  async wait(options?: WaitOptions): Promise<void> {
    await run(this.#engine, flows.wait(protocol), wait, options);
  }

  /**
   * Blocks the thread until it is set.
   *
   * @param options The timeout.
   * @throws {DOMException} "TimeoutError" if the time is up.
   * @throws {IpcError} EINTR if the program handled a signal, EIDRM if the event is removed.
   */
  waitSync(options?: TimeoutOptions): void {
    runSync(this.#engine, flows.wait(protocol), wait, options);
  }

  /**
   * Tells whether it is set.
   *
   * @returns Whether nobody has to wait.
   * @throws {IpcError} EIDRM if the event is removed.
   */
  tryWait(): boolean {
    return runSync(this.#engine, flows.tryWait(protocol), wait);
  }
}
