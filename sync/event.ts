/**
 * A flag to wait for: {@linkcode Event}.
 *
 * @module
 */

import { checkFlag, checkOptions } from "../ffi/check.ts";
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

/** The first state of an event. */
export interface EventOptions {
  /**
   * Whether the event is set when it is created.
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
 * - **Waiting:** setting it ends all pending waits, in every process. A wait can miss an event that is reset
 *   at once: reset it after the waits have ended.
 * - **Death:** the event stays as it is when a process dies.
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
   * @param array The semaphore: if it is not in the kernel, only `wait` and `remove`
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
   * @param options Whether it is set, the key, the mode, and whether the handle owns it.
   * @returns A handle that owns the event.
   * @throws {IpcError} EEXIST if the key is taken, ENOSPC if a limit of the system is reached.
   */
  static create(options: EventCreateOptions = {}): Event {
    const values = valuesOf(options);
    return new Event(SemaphoreSet.create({ ...options, values, kind }));
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
   * @param options Whether it is set and the mode to create it with, and whether to accept one of another
   * user.
   * @returns A handle that does not own it.
   * @throws {IpcError} EPERM if another user created it, EINVAL if it is something else, EACCES, ENOSPC.
   */
  static openOrCreate(key: Key, options: EventOpenOrCreateOptions = {}): Event {
    const values = valuesOf(options);
    return new Event(SemaphoreSet.openOrCreate(key, { ...options, values, kind }));
  }

  /**
   * Takes an event by the identifier that another process passed.
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

  /** Whether the event is set. */
  get isSet(): boolean {
    return this.#engine.readSync()[protocol.unset] === 0;
  }

  /**
   * Sets the event, which ends all pending waits; never waits.
   *
   * @returns Whether this call changed it: false if it was set already.
   * @throws {IpcError} EIDRM if the event is removed.
   */
  set(): boolean {
    return runSync(this.#engine, flows.set(protocol), set);
  }

  /**
   * Resets the event, so that later waits wait; never waits.
   *
   * @returns Whether this call changed it: false if it was not set.
   * @throws {IpcError} EIDRM if the event is removed.
   */
  reset(): boolean {
    return runSync(this.#engine, flows.reset(protocol), reset);
  }

  /**
   * Waits until the event is set.
   *
   * It resolves only if the event was set at some moment after it began. A moment shorter than entering the kernel takes can be
   * missed, and a longer one while threads start or are lacking.
   *
   * @param options The signal and the timeout.
   * @returns A promise that rejects with the reason of the signal, with a DOMException "TimeoutError"
   * if the timeout expires, with a ReferenceError if the handle is disposed, with IpcError EIDRM if the
   * event is removed.
   */
  async wait(options?: WaitOptions): Promise<void> {
    await run(this.#engine, flows.wait(protocol), wait, options);
  }

  /**
   * Waits until the event is set, blocking the thread.
   *
   * @param options The timeout.
   * @throws {DOMException} "TimeoutError" if the timeout expires.
   * @throws {IpcError} EINTR if the program handled a signal, EIDRM if the event is removed.
   */
  waitSync(options?: TimeoutOptions): void {
    runSync(this.#engine, flows.wait(protocol), wait, options);
  }

  /**
   * Returns whether the event is set, without waiting.
   *
   * @returns Whether it is set.
   * @throws {IpcError} EIDRM if the event is removed.
   */
  tryWait(): boolean {
    return runSync(this.#engine, flows.tryWait(protocol), wait);
  }
}

/** Checked before anything is made. */
function valuesOf(options: EventOptions): number[] {
  checkOptions(options);
  return protocol.values(checkFlag(options.set, "set") === true);
}
