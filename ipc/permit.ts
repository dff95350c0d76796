/**
 * A part of a semaphore that a process owns: {@linkcode Permit}.
 *
 * @module
 */

import { errors, SEM_UNDO } from "../ffi/constants.ts";
import { attemptSingle } from "../ffi/attempt.ts";
import { checkInternal } from "./internal.ts";
import type { Handle } from "./handle.ts";
import { showAs } from "./inspect.ts";
import { onUnload } from "../wait/unload.ts";

/** Names one semaphore in messages: of a set, or on its own. */
export function semaphoreName(handle: Handle, index: number): string {
  return handle.noun === "semaphore" ? handle.name : `semaphore ${index} of ${handle.name}`;
}

/** The permit that was acquired last of those that are held and undone at the end. */
let latest: Permit | undefined;
let listening = false;

/**
 * A part of a {@linkcode Semaphore} that was acquired. Releasing gives it back, once, with the same undo. If the
 * process dies first, the kernel gives it back, unless it was acquired with `{ undo: false }`.
 *
 * A permit belongs to the process: the end of a thread releases nothing, and a child does not inherit it.
 *
 * @example
 * ```ts
 * import { Semaphore } from "@sysv/ipc";
 * import { assertEquals } from "@std/assert";
 *
 * using connections = Semaphore.create({ value: 2 });
 * {
 *   using _permit = connections.acquireSync();
 *   assertEquals(connections.value, 1);
 * }
 * assertEquals(connections.value, 2);
 * ```
 */
export class Permit implements Disposable {
  /** How much was acquired. */
  readonly count: number;
  readonly #index: number;
  readonly #flags: number;
  /** Undefined once it is released. */
  #handle: Handle | undefined;
  #lost: AbortController | undefined;
  #before: Permit | undefined;
  #after: Permit | undefined;

  /** @ignore */
  constructor(token: symbol, handle: Handle, index: number, count: number, undo: boolean) {
    checkInternal(token, "semaphore.acquire()");
    this.#handle = handle;
    this.#index = index;
    this.count = count;
    this.#flags = undo ? SEM_UNDO : 0;
    if (undo) this.#link();
  }

  /**
   * Gives back what was acquired; never waits. Does nothing the second time, nor once the semaphore
   * is removed. Works after the semaphore's handle is disposed, too; if it fails, it can be called again.
   *
   * @throws {IpcError} ERANGE if the value would pass 32767, because other processes have added meanwhile.
   */
  release(): void {
    const handle = this.#handle;
    if (handle === undefined) return;
    const result = attemptSingle(handle.id, this.#index, this.count, this.#flags);
    if (result < 0) this.#fail(handle, result);
    this.#handle = undefined;
    if (this.#flags !== 0) this.#unlink();
    if (this.#lost !== undefined) handle.unwatch(this.#lost);
  }

  /**
   * Fires, within about 50 ms, when the semaphore is removed before this is released: then others can make a
   * new one and acquire that, too. It costs nothing before it is asked for, and keeps no program alive.
   */
  get lost(): AbortSignal {
    if (this.#lost === undefined) {
      this.#lost = new AbortController();
      this.#handle?.watch(this.#lost);
    }
    return this.#lost.signal;
  }

  /** Whether it was given back. */
  get released(): boolean {
    return this.#handle === undefined;
  }

  #link(): void {
    this.#before = latest;
    if (latest !== undefined) latest.#after = this;
    latest = this;
    if (listening) return;
    listening = true;
    onUnload(Permit.#undoAll);
  }

  #unlink(): void {
    const [before, after] = [this.#before, this.#after];
    if (after === undefined) latest = before;
    else after.#before = before;
    if (before !== undefined) before.#after = after;
    this.#before = this.#after = undefined;
  }

  /** Gives back what is held as the program ends, where the kernel does not. */
  static #undoAll(): void {
    for (let permit = latest; permit !== undefined; permit = permit.#before) {
      attemptSingle(permit.#handle!.id, permit.#index, permit.count, permit.#flags);
      permit.#handle = undefined;
    }
    latest = undefined;
  }

  #fail(handle: Handle, result: number): void {
    if (result === -errors.EINVAL || result === -errors.EIDRM) return;
    throw handle.error(
      -result,
      "semop",
      `release ${this.count} to ${semaphoreName(handle, this.#index)}`,
    );
  }

  /** Releases, so that `using` does. */
  [Symbol.dispose](): void {
    this.release();
  }
}

showAs("Permit", Permit.prototype, (permit) => ({
  count: permit.count,
  released: permit.released,
}));
