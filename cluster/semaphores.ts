/**
 * Semaphore sets on a server: {@linkcode ClusterSemaphores}.
 *
 * @module
 */

import { checkArray, checkFlag, checkInteger, checkObject } from "../ffi/check.ts";
import { ipcError } from "../ffi/error.ts";
import type { SemaphoreOperation } from "../ipc/semop.ts";
import type { SemaphoreArray } from "../sync/array.ts";
import { readWaitOptions, timeoutError, type WaitOptions } from "../wait/options.ts";
import { codes, ignoreGone, serverError } from "./errors.ts";
import { call } from "./link.ts";
import { type Session, waitFor } from "./session.ts";
import { parseAnswer, type Told } from "./told.ts";

const read = call("read", "int");
const remove = call("remove", "int");
const cancel = call("cancel", "bigint");

/** The most semaphores of a set, as a notification carries all their values. */
export const MAX_SEMAPHORES = 250;
/** The most operations of one step, as in the kernel. */
const MAX_OPERATIONS = 500;
const MAX_VALUE = 32767;

/** How a set is found, and found again once it has vanished. */
export interface Found {
  readonly id: number;
  /** Whether this made it. */
  readonly created: boolean;
}

/**
 * Semaphores on a server that change in one atomic step, as a SemaphoreSet does in the kernel:
 *
 * - **Undo:** what is operated with `undo` is reversed when the session ends, however it does.
 * - **Order:** a session that makes room completes the waiting operations, in the kernel's order: first
 *   what changes nothing, then the others from the one that has waited longest.
 * - **Cancellation:** a wait that is aborted or timed out has changed nothing.
 * - **Crash of the server:** what is not undone outlives it; what is undone is undone.
 *
 * @example
 * ```ts
 * import { connect } from "@sysv/ipc/cluster";
 * import { assertEquals } from "@std/assert";
 *
 * await using cluster = await connect();
 * const pools = await cluster.semaphores("my-app/pools", [10, 4]);
 * // Both or none.
 * await pools.operate([{ index: 0, delta: -1, undo: true }, { index: 1, delta: -1, undo: true }]);
 * assertEquals(await pools.read(), [9, 3]);
 * ```
 */
export class ClusterSemaphores implements SemaphoreArray {
  /** The name. */
  readonly name: string;
  /** What they are, such as `"mutex"`; `"set"` for those without a meaning of their own. */
  readonly kind: string;
  /** How many there are. */
  readonly size: number;
  /** Whether they were made when this handle was opened. */
  readonly created: boolean;
  /** @ignore What they stand on. */
  readonly session: Session;
  #id: number;
  /** Opens or makes them again, if they vanish when they are idle. */
  readonly #reopen: (() => Promise<Found>) | undefined;

  /** @ignore Users call `cluster.semaphores()`. */
  constructor(
    session: Session,
    { name, kind, size }: { name: string; kind: string; size: number },
    { id, created }: Found,
    reopen: (() => Promise<Found>) | undefined,
  ) {
    this.session = session;
    this.name = name;
    this.kind = kind;
    this.size = size;
    this.created = created;
    this.#id = id;
    this.#reopen = reopen;
  }

  /** @ignore The number of the set in the schema. */
  get id(): number {
    return this.#id;
  }

  /** Fires when the session is lost: what it held of these semaphores goes to others. */
  get lost(): AbortSignal {
    return this.session.link.lost;
  }

  /** Names them in messages. */
  get title(): string {
    return `${this.kind === "set" ? "semaphores" : this.kind} "${this.name}"`;
  }

  /**
   * Performs operations in one atomic step, waiting until all can happen.
   *
   * @param operations The operations, in their order.
   * @param options The signal and the timeout.
   * @returns A promise that rejects with the reason of the signal, with a DOMException "TimeoutError" if
   * the time is up, with {@linkcode SessionLostError} if the session is lost, with IpcError EIDRM if they
   * are removed, ERANGE if a value would leave its range.
   */
  async operate(operations: readonly SemaphoreOperation[], options?: WaitOptions): Promise<void> {
    await this.perform(operations, `operate on ${this.title}`, options);
  }

  /**
   * Performs operations in one atomic step if all can happen at once.
   *
   * @param operations The operations, in their order.
   * @returns A promise of whether they did. It rejects as `operate` does, but never waits.
   */
  async tryOperate(operations: readonly SemaphoreOperation[]): Promise<boolean> {
    return await this.attempt(operations, `operate on ${this.title}`) !== undefined;
  }

  /**
   * Reads all values at one moment.
   *
   * @returns A promise of the values. It rejects with IpcError EIDRM if they are removed.
   */
  async read(): Promise<number[]> {
    for (;;) {
      const [row] = await this.session.link.ask<{ result: number[] | null }>(read, [this.#id]);
      if (row!.result !== null) return row!.result;
      await this.#revive(codes.removed, `read ${this.title}`);
    }
  }

  /**
   * Removes them, now: pending and later calls reject with EIDRM, in every process.
   *
   * @returns A promise that rejects with IpcError EIDRM if they are removed already.
   */
  async remove(): Promise<void> {
    const [row] = await this.session.link.ask<{ result: number }>(remove, [this.#id]);
    this.session.removals.removed(this.#id);
    if (row!.result !== 0) throw serverError(row!.result, `remove ${this.title}`);
  }

  /** @ignore The same set for what is held of it: never another one that was made in its place. */
  get pinned(): ClusterSemaphores {
    if (this.#reopen === undefined) return this;
    return new ClusterSemaphores(this.session, this, { id: this.#id, created: false }, undefined);
  }

  /** @ignore Performs operations that give back, unless there is nothing to give back any more. */
  async giveBack(operations: readonly SemaphoreOperation[], action: string): Promise<void> {
    const { lost, closed } = this.session.link;
    // What ended the session has given back all.
    if (closed || lost.aborted) return;
    try {
      if (await this.attempt(operations, action) !== undefined) return;
    } catch (error) {
      return ignoreGone(error);
    }
    const reason = "somebody else has set its values: nothing is given back";
    throw ipcError("EAGAIN", action, { syscall: "semop", reason });
  }

  /** @ignore What `operate` does, with the answer. `disposed` ends a wait, too. */
  async perform(
    operations: readonly SemaphoreOperation[],
    action: string,
    options?: WaitOptions,
    disposed?: AbortSignal,
  ): Promise<Told> {
    const { timeout, signal } = readWaitOptions(options);
    signal?.throwIfAborted();
    const ops = this.#pack(operations);
    const since = performance.now();
    const answer = await this.#ask(ops, timeout > 0, action);
    const told = typeof answer !== "string" ? answer : await waitFor(
      this.session,
      answer,
      { action, since, timeout, signals: [signal, disposed] },
      { cancel, undo: () => this.#reverse(operations), watched: true },
    );
    if (told.code === 0) return told;
    if (told.code === codes.again) throw timeoutError(action, timeout);
    if (told.code === codes.removed) this.session.removals.removed(this.#id);
    throw serverError(told.code, action);
  }

  /** @ignore What `tryOperate` does, with the answer, or undefined if it is not possible. */
  async attempt(
    operations: readonly SemaphoreOperation[],
    action: string,
  ): Promise<Told | undefined> {
    const told = await this.#ask(this.#pack(operations), false, action) as Told;
    if (told.code === codes.again) return undefined;
    if (told.code !== 0) throw serverError(told.code, action);
    return told;
  }

  async #ask(ops: readonly number[], waits: boolean, action: string): Promise<Told | string> {
    for (;;) {
      const set = this.#id;
      const answer = parseAnswer(await this.session.link.operate({ set, ops, waits }));
      if (typeof answer === "string" || answer.code !== codes.removed) return answer;
      await this.#revive(answer.code, action);
    }
  }

  /** Makes them again if they have vanished as they were idle, so that nothing of them was held. */
  async #revive(code: number, action: string): Promise<void> {
    this.session.removals.removed(this.#id);
    if (this.#reopen === undefined) throw serverError(code, action);
    this.#id = (await this.#reopen()).id;
  }

  /** Takes back what was done just before it was cancelled, if that can never fail. */
  async #reverse(operations: readonly SemaphoreOperation[]): Promise<boolean> {
    if (operations.some(({ delta }) => delta > 0)) return false;
    const back = operations.flatMap(({ delta, ...rest }) =>
      delta === 0 ? [] : [{ ...rest, delta: -delta }]
    );
    if (back.length > 0) await this.tryOperate(back);
    return true;
  }

  #pack(operations: readonly SemaphoreOperation[]): number[] {
    checkArray(operations, "operations");
    checkInteger(operations.length, 1, MAX_OPERATIONS, `operate ${operations.length} times`);
    const ops: number[] = [];
    for (const operation of operations) {
      checkObject(operation, "an operation");
      const { index = 0, delta, undo = false } = operation;
      checkInteger(index, 0, this.size - 1, `operate on semaphore ${index} of ${this.title}`);
      checkInteger(delta, -MAX_VALUE, MAX_VALUE, `add ${delta} to semaphore ${index}`);
      checkFlag(undo, "undo");
      ops.push(index, delta, undo ? 1 : 0);
    }
    return ops;
  }
}

/** Checks the values with which a set starts. */
export function checkValues(values: readonly number[]): void {
  checkArray(values, "values");
  checkInteger(values.length, 1, MAX_SEMAPHORES, `make a set of ${values.length} semaphores`);
  for (const value of values) {
    checkInteger(value, 0, MAX_VALUE, `start a semaphore with ${value}`);
  }
}
