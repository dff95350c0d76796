/**
 * One semaphore: {@linkcode Semaphore}.
 *
 * @module
 */

import { errors, IPC_NOWAIT, SEM_UNDO, SEMVMX } from "../ffi/constants.ts";
import { abi } from "../ffi/platforms.ts";
import { semctl } from "../ffi/calls.ts";
import { attempt, attemptSingle } from "../ffi/attempt.ts";
import type { Packed } from "../ffi/sembuf.ts";
import { checkFlag, checkFunction, checkInteger, checkOptions } from "../ffi/check.ts";
import {
  readWaitOptions,
  timeoutError,
  type TimeoutOptions,
  type WaitLimits,
  type WaitOptions,
} from "../wait/options.ts";
import { checkInternal, internal } from "./internal.ts";
import type { Key } from "./key.ts";
import type { Handle } from "./handle.ts";
import { showAs, shownKey } from "./inspect.ts";
import type { CreateOptions, OpenOrCreateOptions, PermissionOptions } from "./object.ts";
import { Permit, semaphoreName } from "./permit.ts";
import { packSingle, packTest } from "./semop.ts";
import { block, type Outcome, perform, promised, resumeSingle } from "./semop_waits.ts";
import {
  createSet,
  type FoundSet,
  openOrCreateSet,
  openSet,
  type SemaphoreInfo,
  setFromId,
  setInfo,
  type Wanted,
} from "./set_handle.ts";

/** Whether the kernel reverses an operation when this process ends. */
export interface UndoOptions {
  /**
   * Whether the kernel reverses the operation when this process ends, however it ends.
   *
   * @default {false} `true` for `acquire`.
   */
  undo?: boolean | undefined;
}

/** Options of {@linkcode Semaphore.acquire} and {@linkcode Semaphore.decrement}: timeout, signal, undo. */
export interface OperationOptions extends WaitOptions, UndoOptions {}

/** Options of {@linkcode Semaphore.acquireSync} and {@linkcode Semaphore.decrementSync}: timeout, undo. */
export interface SyncOperationOptions extends TimeoutOptions, UndoOptions {}

/** Options of {@linkcode Semaphore.run}. */
export interface SemaphoreRunOptions extends OperationOptions {
  /**
   * How much to acquire, from 1 to 32767.
   *
   * @default {1}
   */
  count?: number | undefined;
}

/** Options of {@linkcode Semaphore.create}. */
export interface SemaphoreCreateOptions extends CreateOptions {
  /**
   * The value to start with, from 0 to 32767.
   *
   * @default {0}
   */
  value?: number | undefined;
}

/** Options of {@linkcode Semaphore.openOrCreate}. */
export interface SemaphoreOpenOrCreateOptions extends OpenOrCreateOptions {
  /**
   * The value to start with if it is created, from 0 to 32767.
   *
   * @default {0}
   */
  value?: number | undefined;
}

/** The waits for a semaphore, as the kernel counts them. */
export interface SemaphoreWaiting {
  /** The number of waits for an increase. */
  readonly forIncrease: number;
  /** The number of waits for 0. */
  readonly forZero: number;
}

const { GETVAL, SETVAL, GETPID, GETNCNT, GETZCNT } = abi.constants;

const semaphore: Wanted = { kind: "set", noun: "semaphore" };

function isAmount(amount: number): boolean {
  return Number.isInteger(amount) && amount >= 1 && amount <= SEMVMX;
}

function checkAmount(amount: number, action: string): void {
  checkInteger(amount, 1, SEMVMX, action);
}

/** Reads whether to undo; undefined unless given. */
function readUndo(options: UndoOptions | undefined): boolean | undefined {
  if (options === undefined) return undefined;
  checkOptions(options);
  return checkFlag(options.undo, "undo");
}

/** Actions on a semaphore, for messages. */
type Verb = "increment" | "decrement" | "acquire" | "wait for 0 in" | "wait for";

function actionOn(name: string, verb: Verb, amount: number): string {
  switch (verb) {
    case "acquire":
      return `acquire ${amount} from ${name}`;
    case "wait for":
      return `wait for ${amount} in ${name}`;
    case "wait for 0 in":
      return `${verb} ${name}`;
    default:
      return `${verb} ${name} by ${amount}`;
  }
}

/** Operations of promises are tried first: see {@linkcode perform}. */
function flagsOf(undo: boolean): number {
  return undo ? SEM_UNDO | IPC_NOWAIT : IPC_NOWAIT;
}

/** A change that is waited for, or a test. */
class Change implements Outcome<void> {
  readonly #handle: Handle;
  readonly #index: number;
  readonly #verb: Verb;
  readonly #amount: number;

  constructor(handle: Handle, index: number, verb: Verb, amount: number) {
    this.#handle = handle;
    this.#index = index;
    this.#verb = verb;
    this.#amount = amount;
  }

  take(): void {}

  action(): string {
    return actionOn(semaphoreName(this.#handle, this.#index), this.#verb, this.#amount);
  }
}

/** A permit that is waited for. */
class Acquisition implements Outcome<Permit> {
  readonly #handle: Handle;
  readonly #index: number;
  readonly #count: number;
  readonly #undo: boolean;

  constructor(handle: Handle, index: number, count: number, undo: boolean) {
    this.#handle = handle;
    this.#index = index;
    this.#count = count;
    this.#undo = undo;
  }

  take(): Permit {
    return new Permit(internal, this.#handle, this.#index, this.#count, this.#undo);
  }

  action(): string {
    return actionOn(semaphoreName(this.#handle, this.#index), "acquire", this.#count);
  }
}

/**
 * A counter from 0 to 32767 that processes share. A decrement that would make it negative waits.
 *
 * - **Value:** `value` reads it, and sets it, which deletes the undo of all processes.
 * - **Atomic:** every operation happens as a whole or not at all.
 * - **Undo:** with `undo`, the kernel reverses the operation when this process ends, even by SIGKILL. Undo
 *   belongs to the process: its threads share it, the end of a thread reverses nothing, and a child inherits
 *   nothing.
 * - **Order:** among the waits that can go on, the kernel serves the longest.
 * - **Lifetime:** it outlives its processes. Disposing the handle of `create` removes it.
 *
 * `increment` and `decrement` do arithmetic: they undo only with `{ undo: true }`. `acquire` takes ownership: it
 * undoes unless given `{ undo: false }`. If the flags of a pair differ, the value drifts.
 *
 * @example Count busy workers, correct even if one is killed
 * ```ts
 * import { Semaphore } from "@sysv/ipc";
 * import { assertEquals } from "@std/assert";
 *
 * using busy = Semaphore.create();
 * busy.increment(1, { undo: true });
 * assertEquals(busy.value, 1);
 * busy.decrementSync(1, { undo: true });
 * assertEquals(busy.value, 0);
 * ```
 *
 * @see https://man7.org/linux/man-pages/man2/semop.2.html
 */
export class Semaphore implements Disposable {
  /** The index in its set: 0, unless it was returned by `set.at(index)`. */
  readonly index: number;
  /** Whether the call that returned this handle created the semaphore, which is true in exactly one of all processes. */
  readonly created: boolean;
  readonly #handle: Handle;
  /** The number of semaphores of its set. */
  readonly #size: number;
  /** Whether the handle belongs to this semaphore alone, and ends with it. */
  readonly #ends: boolean;

  /** @ignore */
  constructor(token: symbol, found: FoundSet, index?: number) {
    checkInternal(token, "Semaphore.create() or its like");
    const { handle, shape, created } = found;
    this.index = index ?? 0;
    this.created = created;
    this.#handle = handle;
    this.#size = shape.size;
    this.#ends = index === undefined;
  }

  /**
   * Creates a semaphore. Disposing the handle removes it, unless `owner` is false.
   *
   * With a key, a process that dies within `create` leaves a semaphore that only `openOrCreate` can open: it
   * finishes it.
   *
   * @param options The key, value and mode, and whether the handle owns it.
   * @returns A semaphore with this value.
   * @throws {IpcError} EEXIST if the key is taken, ENOSPC if a limit of the system is reached, EACCES
   * if its mode does not permit this user to initialise it.
   * @throws {RangeError} If the value is not a whole number from 0 to 32767.
   */
  static create(options?: SemaphoreCreateOptions): Semaphore {
    checkOptions(options);
    const { value = 0, ...others } = options ?? {};
    return new Semaphore(internal, createSet([value], semaphore, others));
  }

  /**
   * Opens a semaphore that exists, or the first of a set.
   *
   * @param key The key or name.
   * @returns A semaphore that this handle does not own.
   * @throws {IpcError} ENOENT if there is none, EACCES if its mode does not permit reading, EAGAIN if
   * its creator has not initialised it, EINVAL if it is a mutex or another structure.
   */
  static open(key: Key): Semaphore {
    return new Semaphore(internal, openSet(key, semaphore));
  }

  /**
   * Opens a semaphore, or creates it. Safe against races and crashes: any number of processes may call it
   * at once, die in it at any moment, or remove the semaphore meanwhile. A value that exists stays
   * as it is. If the call fails, an object that it created is removed.
   *
   * Of a set, it opens the first semaphore. See {@linkcode SemaphoreSet.openOrCreate} for unfinished
   * sets.
   *
   * @param key The key or name.
   * @param options The value and mode to create it with.
   * @returns A semaphore that this handle does not own.
   * @throws {IpcError} EPERM if another user created it, EINVAL if it is a mutex or another structure,
   * EAGAIN if it is a larger set that its creator has not initialised, EACCES, ENOSPC.
   * @throws {RangeError} If the value is not a whole number from 0 to 32767.
   */
  static openOrCreate(key: Key, options?: SemaphoreOpenOrCreateOptions): Semaphore {
    checkOptions(options);
    const { value = 0, ...others } = options ?? {};
    return new Semaphore(internal, openOrCreateSet(key, [value], semaphore, others));
  }

  /**
   * Takes a semaphore by the identifier that another process passed.
   *
   * @param id The identifier.
   * @returns A semaphore that this handle does not own.
   * @throws {IpcError} EIDRM if no set has it, EACCES if its mode does not permit reading, EAGAIN if
   * its creator has not initialised it, EINVAL if it is a mutex or another structure.
   */
  static fromId(id: number): Semaphore {
    return new Semaphore(internal, setFromId(id, semaphore));
  }

  /** The identifier of the set, which other processes of this machine can pass to `fromId`. */
  get id(): number {
    return this.#handle.id;
  }

  /** The key, undefined for a private semaphore. */
  get key(): number | undefined {
    return this.#handle.key;
  }

  /** The name by which it was opened or created; undefined if that was a number, or there was none. */
  get name(): string | undefined {
    return this.#handle.givenName;
  }

  /** Whether disposing this handle removes the semaphore. */
  get owned(): boolean {
    return this.#ends && this.#handle.owned;
  }

  /**
   * The value, from 0 to 32767.
   *
   * Setting it deletes the undo of every process for this semaphore: what they hold is not given back when they
   * end.
   *
   * @throws {IpcError} EIDRM if it is removed, EACCES if its mode does not permit it.
   * @throws {RangeError} If the value set is not a whole number from 0 to 32767.
   */
  get value(): number {
    return this.#ask(GETVAL);
  }

  set value(value: number) {
    checkInteger(value, 0, SEMVMX, `set ${this.#name} to ${value}`);
    this.#handle.check();
    const result = semctl(this.#handle.id, this.index, SETVAL, value | 0);
    if (result < 0) {
      throw this.#handle.error(-result, "semctl", `set ${this.#name}`);
    }
  }

  /**
   * How many waits there are: of equal waits of one thread the kernel sees the first only.
   *
   * @throws {IpcError} EIDRM if it is removed, EACCES if its mode does not permit reading.
   */
  get waiting(): SemaphoreWaiting {
    return { forIncrease: this.#ask(GETNCNT), forZero: this.#ask(GETZCNT) };
  }

  /**
   * The process that operated last, 0 for none or one of another PID namespace.
   *
   * @throws {IpcError} EIDRM if it is removed, EACCES if its mode does not permit reading.
   */
  get lastPid(): number {
    return this.#ask(GETPID);
  }

  /**
   * Adds to the value; never waits.
   *
   * @param by How much, from 1 to 32767, 1 unless given.
   * @param options Whether to undo, false unless given.
   * @throws {IpcError} ERANGE if the value would pass 32767, EIDRM if it is removed, EACCES.
   */
  increment(by = 1, options?: UndoOptions): void {
    if (!isAmount(by)) checkAmount(by, this.#action("increment", by));
    const flags = options !== undefined && readUndo(options) === true ? SEM_UNDO : 0;
    const handle = this.#handle;
    if (handle.state !== "open") throw handle.refusal();
    const result = attemptSingle(handle.id, this.index, by, flags);
    if (result < 0) this.#fail(result, "increment", by);
  }

  /**
   * Subtracts from the value, waiting until it is large enough.
   *
   * @param by How much, from 1 to 32767, 1 unless given.
   * @param options The signal, the timeout, and whether to undo, false unless given.
   * @returns A promise that rejects with the reason of the signal, with a DOMException "TimeoutError"
   * if the timeout expires, with a ReferenceError if the handle is disposed: nothing has changed then. It
   * rejects with IpcError EIDRM if the semaphore is removed, EACCES.
   */
  decrement(by = 1, options?: OperationOptions): Promise<void> {
    return promised(() => {
      if (!isAmount(by)) checkAmount(by, this.#action("decrement", by));
      const undo = readUndo(options) === true;
      return this.#take(by, undo, readWaitOptions(options), "decrement");
    });
  }

  /**
   * Subtracts from the value, blocking the thread until it is large enough.
   *
   * @param by How much, from 1 to 32767, 1 unless given.
   * @param options The timeout, and whether to undo, false unless given.
   * @throws {DOMException} "TimeoutError" if the timeout expires: nothing has changed.
   * @throws {IpcError} EINTR if the program handled a signal, EIDRM if it is removed, EACCES.
   */
  decrementSync(by = 1, options?: SyncOperationOptions): void {
    if (!isAmount(by)) checkAmount(by, this.#action("decrement", by));
    const undo = options !== undefined && readUndo(options) === true;
    this.#takeSync(by, undo, options, "decrement");
  }

  /**
   * Subtracts from the value if it is large enough; never waits.
   *
   * @param by How much, from 1 to 32767, 1 unless given.
   * @param options Whether to undo, false unless given.
   * @returns Whether it was large enough.
   * @throws {IpcError} EIDRM if it is removed, EACCES.
   */
  tryDecrement(by = 1, options?: UndoOptions): boolean {
    if (!isAmount(by)) checkAmount(by, this.#action("decrement", by));
    return this.#tryTake(by, readUndo(options) === true, "decrement");
  }

  /**
   * Waits until the value is 0.
   *
   * It resolves only if the value was 0 at some moment after it began. A moment shorter than entering the kernel takes can be
   * missed, and a longer one while threads start or are lacking.
   *
   * @param options The signal and the timeout.
   * @returns A promise that rejects as `decrement` does.
   */
  waitForZero(options?: WaitOptions): Promise<void> {
    return promised(() => this.#take(0, false, readWaitOptions(options), "wait for 0 in"));
  }

  /**
   * Waits until the value is 0, blocking the thread.
   *
   * @param options The timeout.
   * @throws {DOMException} "TimeoutError" if the timeout expires.
   * @throws {IpcError} EINTR if the program handled a signal, EIDRM if it is removed, EACCES.
   */
  waitForZeroSync(options?: TimeoutOptions): void {
    this.#takeSync(0, false, options, "wait for 0 in");
  }

  /**
   * Returns whether the value is 0, as an operation of the kernel: it needs no permission but to read.
   *
   * @returns Whether the condition holds.
   * @throws {IpcError} EIDRM if it is removed, EACCES.
   */
  tryWaitForZero(): boolean {
    return this.#tryTake(0, false, "wait for 0 in");
  }

  /**
   * Waits until the value is at least `min`; changes nothing.
   *
   * It resolves only if the value was large enough at some moment after it began. A moment shorter than entering the kernel takes can be
   * missed, and a longer one while threads start or are lacking.
   *
   * @param min The value to wait for, from 1 to 32767.
   * @param options The signal and the timeout.
   * @returns A promise that rejects as `decrement` does.
   */
  waitForAtLeast(min: number, options?: WaitOptions): Promise<void> {
    return promised(() => {
      checkAmount(min, this.#action("wait for", min));
      const limits = readWaitOptions(options);
      const packed = packTest(this.#handle, this.index, min, IPC_NOWAIT);
      const outcome = new Change(this.#handle, this.index, "wait for", min);
      return perform(this.#handle, packed, limits, outcome);
    });
  }

  /**
   * Waits until the value is at least `min`, blocking the thread; changes nothing.
   *
   * @param min The value to wait for, from 1 to 32767.
   * @param options The timeout.
   * @throws {DOMException} "TimeoutError" if the timeout expires.
   * @throws {IpcError} EINTR if the program handled a signal, EIDRM if it is removed, EACCES.
   */
  waitForAtLeastSync(min: number, options?: TimeoutOptions): void {
    checkAmount(min, this.#action("wait for", min));
    const limits = readWaitOptions(options);
    this.#block(packTest(this.#handle, this.index, min, 0), limits, "wait for", min);
  }

  /**
   * Returns whether the value is at least `min`, as an operation of the kernel; changes nothing.
   *
   * @param min The value to wait for, from 1 to 32767.
   * @returns Whether the condition holds.
   * @throws {IpcError} EIDRM if it is removed, EACCES.
   */
  tryWaitForAtLeast(min: number): boolean {
    checkAmount(min, this.#action("wait for", min));
    const result = attempt(this.#handle.id, packTest(this.#handle, this.index, min, IPC_NOWAIT));
    return result >= 0 || this.#refuses(result, "wait for", min);
  }

  /**
   * Takes ownership of a part of the value, waiting until it is large enough.
   *
   * @param count How much, from 1 to 32767, 1 unless given.
   * @param options The signal, the timeout, and whether to undo, true unless given.
   * @returns A promise of a permit, to release with `using`; it rejects as `decrement` does.
   */
  acquire(count = 1, options?: OperationOptions): Promise<Permit> {
    return promised(() => {
      if (!isAmount(count)) checkAmount(count, this.#action("acquire", count));
      const undo = readUndo(options) !== false;
      const limits = readWaitOptions(options);
      const packed = packSingle(this.#handle, this.index, -count, flagsOf(undo));
      const outcome = new Acquisition(this.#handle, this.index, count, undo);
      return perform(this.#handle, packed, limits, outcome);
    });
  }

  /**
   * Takes ownership of a part of the value, blocking the thread until it is large enough.
   *
   * @param count How much, from 1 to 32767, 1 unless given.
   * @param options The timeout, and whether to undo, true unless given.
   * @returns A permit, to release with `using`.
   * @throws {DOMException} "TimeoutError" if the timeout expires: nothing has changed.
   * @throws {IpcError} EINTR if the program handled a signal, EIDRM if it is removed, EACCES.
   */
  acquireSync(count = 1, options?: SyncOperationOptions): Permit {
    if (!isAmount(count)) checkAmount(count, this.#action("acquire", count));
    const undo = options === undefined || readUndo(options) !== false;
    this.#takeSync(count, undo, options, "acquire");
    return this.#permit(count, undo);
  }

  /**
   * Takes ownership of a part of the value if it is large enough; never waits.
   *
   * @param count How much, from 1 to 32767, 1 unless given.
   * @param options Whether to undo, true unless given.
   * @returns A permit, to release with `using`, or undefined.
   * @throws {IpcError} EIDRM if it is removed, EACCES.
   */
  tryAcquire(count = 1, options?: UndoOptions): Permit | undefined {
    if (!isAmount(count)) checkAmount(count, this.#action("acquire", count));
    const undo = readUndo(options) !== false;
    return this.#tryTake(count, undo, "acquire") ? this.#permit(count, undo) : undefined;
  }

  /**
   * Runs a function with what was acquired.
   *
   * @param fn The function; the permit is released when it returns, or its promise settles.
   * @param options How much to acquire, the signal and the timeout of that, and whether to undo; `true` unless
   * given.
   * @returns A promise of what the function returns. It rejects with what the function throws, and as
   * `acquire` does: then the function was not called.
   */
  async run<Result>(
    fn: (permit: Permit) => Result | Promise<Result>,
    options?: SemaphoreRunOptions,
  ): Promise<Result> {
    checkFunction(fn, "what to run");
    checkOptions(options);
    const { count, ...others } = options ?? {};
    const permit = await this.acquire(count, others);
    try {
      return await fn(permit);
    } finally {
      permit.release();
    }
  }

  /**
   * Describes the set of the semaphore.
   *
   * @returns A snapshot that does not change.
   * @throws {IpcError} EIDRM if it is removed, EACCES if its mode does not permit reading.
   */
  stat(): SemaphoreInfo {
    return setInfo(this.#handle, this.#size);
  }

  /**
   * Changes who may use the set of the semaphore.
   *
   * @param permissions The owner, group and mode; what is left out stays as it is.
   * @throws {IpcError} EPERM if this process is neither owner nor creator nor privileged, EINVAL if
   * the user namespace does not know the user or the group, EIDRM if it is removed.
   */
  setPermissions(permissions: PermissionOptions): void {
    this.#handle.setPermissions(permissions);
  }

  /**
   * Removes the semaphore, now, and with it the whole set: pending waits, in all processes, end with EIDRM.
   *
   * @throws {IpcError} EPERM if this process is neither owner nor creator nor privileged, EIDRM if it
   * is removed already.
   */
  remove(): void {
    this.#handle.remove();
  }

  /** Ends the handle, and removes the semaphore if the handle owns it. Does nothing for `set.at(index)`. */
  [Symbol.dispose](): void {
    if (this.#ends) this.#handle.dispose();
  }

  get #name(): string {
    return semaphoreName(this.#handle, this.index);
  }

  #ask(command: number): number {
    const handle = this.#handle;
    if (handle.state !== "open") throw handle.refusal();
    const result = semctl(handle.id, this.index, command, 0);
    if (result < 0) {
      throw handle.error(-result, "semctl", `read ${this.#name}`);
    }
    return result;
  }

  #permit(count: number, undo: boolean): Permit {
    return new Permit(internal, this.#handle, this.index, count, undo);
  }

  #action(verb: Verb, amount: number): string {
    return actionOn(this.#name, verb, amount);
  }

  #fail(result: number, verb: Verb, amount: number): never {
    throw this.#handle.error(-result, "semop", this.#action(verb, amount));
  }

  /** Returns false if the value was too small; throws any other error. */
  #refuses(result: number, verb: Verb, amount: number): false {
    if (result === -errors.EAGAIN) return false;
    return this.#fail(result, verb, amount);
  }

  /** Goes on with the operation that was packed last, if a signal interrupted it. */
  #resume(result: number, verb: Verb, amount: number): void {
    const { id } = this.#handle;
    if (result === -errors.EINTR) result = resumeSingle(id);
    if (result < 0) this.#fail(result, verb, amount);
  }

  #block(packed: Packed, { timeout }: WaitLimits, verb: Verb, amount: number): void {
    const result = block(this.#handle.id, packed, timeout);
    if (result >= 0) return;
    if (result === -errors.EAGAIN) throw timeoutError(this.#action(verb, amount), timeout);
    this.#fail(result, verb, amount);
  }

  #take(
    amount: number,
    undo: boolean,
    limits: WaitLimits,
    verb: Verb,
  ): void | Promise<void> {
    const packed = packSingle(this.#handle, this.index, -amount, flagsOf(undo));
    return perform(
      this.#handle,
      packed,
      limits,
      new Change(this.#handle, this.index, verb, amount),
    );
  }

  #takeSync(amount: number, undo: boolean, options: TimeoutOptions | undefined, verb: Verb): void {
    const handle = this.#handle;
    const flags = undo ? SEM_UNDO : 0;
    if (options !== undefined) {
      const limits = readWaitOptions(options);
      if (limits.timeout !== Infinity) {
        return this.#block(packSingle(handle, this.index, -amount, flags), limits, verb, amount);
      }
    }
    if (handle.state !== "open") throw handle.refusal();
    const result = attemptSingle(handle.id, this.index, -amount, flags);
    if (result < 0) this.#resume(result, verb, amount);
  }

  #tryTake(amount: number, undo: boolean, verb: Verb): boolean {
    const handle = this.#handle;
    const flags = undo ? SEM_UNDO | IPC_NOWAIT : IPC_NOWAIT;
    if (handle.state !== "open") throw handle.refusal();
    const result = attemptSingle(handle.id, this.index, -amount, flags);
    return result >= 0 || this.#refuses(result, verb, amount);
  }
}

showAs("Semaphore", Semaphore.prototype, (semaphore) => ({
  id: semaphore.id,
  index: semaphore.index,
  key: shownKey(semaphore.key),
  name: semaphore.name,
  value: () => semaphore.value,
}));
