/**
 * Semaphores: {@linkcode Semaphore} for one, {@linkcode SemaphoreSet} for several that change in one
 * atomic step, {@linkcode Permit} for what was acquired.
 *
 * @module
 */

import { errors, IPC_CREAT, IPC_NOWAIT, IPC_PRIVATE, SEM_UNDO, SEMVMX } from "../ffi/constants.ts";
import { abi, seminfo } from "../ffi/platforms.ts";
import { readStruct } from "../ffi/struct.ts";
import { semctl, semctlBuffer, semget } from "../ffi/calls.ts";
import { attempt, attemptSingle } from "../ffi/sembuf.ts";
import { checkInteger, checkMode } from "../ffi/check.ts";
import {
  checkTimeout,
  timeoutError,
  type TimeoutOptions,
  type WaitOptions,
} from "../wait/options.ts";
import { type Key, keyText } from "./key.ts";
import {
  create,
  type CreateOptions,
  dateOf,
  discard,
  fromId,
  type Handle,
  type Kind,
  type ObjectInfo,
  open,
  openOrCreate,
  type OpenOrCreateOptions,
  type PermissionOptions,
} from "./object.ts";
import { packSeveral, packSingle, perform, type SemaphoreOperation, semopError } from "./semop.ts";
import { block, resumeSingle } from "./semop_waits.ts";
import {
  checkKind,
  finish,
  initialisePrivate,
  operationsToFinish,
  readAll,
  recognise,
  type SetKind,
  type Shape,
  tooMany,
  UNFINISHED,
  writeAll,
} from "./set_tag.ts";

/** Whether the kernel reverses an operation when this process ends. */
export interface UndoOptions {
  /**
   * Whether the kernel reverses the operation when this process ends, however it ends.
   *
   * @default {undefined} Not for `increment` and `decrement`, but for what `acquire` takes.
   */
  undo?: boolean | undefined;
}

/** How long to wait, until what, and whether to undo. */
export interface OperationOptions extends WaitOptions, UndoOptions {}

/** How long to block the thread, and whether to undo. */
export interface SyncOperationOptions extends TimeoutOptions, UndoOptions {}

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

/** Options of {@linkcode SemaphoreSet.open} and {@linkcode SemaphoreSet.fromId}. */
export interface SemaphoreSetOpenOptions {
  /**
   * What the set has to be.
   *
   * @default {"set"}
   */
  kind?: SetKind | undefined;
}

/** Options of {@linkcode SemaphoreSet.create}. */
export interface SemaphoreSetCreateOptions extends CreateOptions, SemaphoreSetOpenOptions {
  /** The values to start with, each from 0 to 32767. */
  values: readonly number[];
}

/** Options of {@linkcode SemaphoreSet.openOrCreate}. */
export interface SemaphoreSetOpenOrCreateOptions
  extends OpenOrCreateOptions, SemaphoreSetOpenOptions {
  /** The values to start with if it is created, each from 0 to 32767. */
  values: readonly number[];
}

/** How many wait for a semaphore. */
export interface SemaphoreWaiting {
  /** How many wait for it to increase. */
  readonly forIncrease: number;
  /** How many wait for it to be 0. */
  readonly forZero: number;
}

/** What {@linkcode Semaphore.stat} and {@linkcode SemaphoreSet.stat} tell. */
export interface SemaphoreInfo extends ObjectInfo {
  /** The number of semaphores in the set. */
  readonly size: number;
  /** When somebody operated on the set last, undefined for never. */
  readonly lastOperation: Date | undefined;
}

const { GETVAL, SETVAL, GETPID, GETNCNT, GETZCNT } = abi.constants;

const semaphoreSet: Kind = {
  noun: "semaphore set",
  syscalls: { get: "semget", control: "semctl" },
  layout: abi.layouts.semid,
  changeTime: "sem_ctime",
  letter: "s",
  statAny: abi.constants.SEM_STAT_ANY,
  control: (id, command, buffer) =>
    buffer === null ? semctl(id, 0, command, 0) : semctlBuffer(id, 0, command, buffer),
  limits() {
    const { semmni, semmns } = semInfo(abi.constants.IPC_INFO);
    const { semusz: sets, semaem: semaphores } = semInfo(abi.constants.SEM_INFO);
    return sets! >= semmni!
      ? `the system has ${sets} of at most ${semmni} sets (SEMMNI, the 4th number of kernel.sem)`
      : `the system has ${semaphores} of at most ${semmns} semaphores (SEMMNS, the 2nd number of kernel.sem)`;
  },
  largest() {
    const { semmsl } = semInfo(abi.constants.IPC_INFO);
    return `a set has at most ${semmsl} semaphores, one of which this module needs (SEMMSL, the 1st number of kernel.sem)`;
  },
};

function semInfo(command: number): Record<string, number> {
  const buffer = new Uint8Array(seminfo.size);
  return semctlBuffer(0, 0, command, buffer) < 0 ? {} : readStruct(seminfo, buffer);
}

const OPEN_MODES = [0o600, 0o400] as const;

const getAny = (key: number, flags: number) => semget(key, 0, flags);

/** Gets a set, but makes none with a key that no semop can initialise: nobody could finish it. */
function getOrMake(values: readonly number[]): (key: number, flags: number) => number {
  return (key, flags) => {
    if ((flags & IPC_CREAT) === 0) return getAny(key, flags);
    if (key !== IPC_PRIVATE) {
      const { semopm = Infinity } = semInfo(abi.constants.IPC_INFO);
      if (operationsToFinish(values) > semopm) {
        throw tooMany(`create ${semaphoreSet.noun} ${keyText(key)}`, { key });
      }
    }
    return semget(key, values.length + 1, flags);
  };
}

function nothing(): void {}

let makePermit: (handle: Handle, index: number, count: number, undo: boolean) => Permit;
let makeSemaphore: (set: SemaphoreSet, index: number, whole: boolean) => Semaphore;
let handleOf: (set: SemaphoreSet) => Handle;

/**
 * What was acquired of a {@linkcode Semaphore}. Releasing gives back exactly that, once, with the
 * same undo. If its process dies first, the kernel gives it back, unless it was acquired with
 * `{ undo: false }`.
 *
 * A permit belongs to the process: any of its threads may release it, and the end of a thread
 * releases nothing.
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

  private constructor(handle: Handle, index: number, count: number, undo: boolean) {
    this.#handle = handle;
    this.#index = index;
    this.count = count;
    this.#flags = undo ? SEM_UNDO : 0;
  }

  static {
    makePermit = (handle, index, count, undo) => new Permit(handle, index, count, undo);
  }

  /**
   * Gives back what was acquired; never waits. Does nothing the second time, nor once the semaphore
   * is removed. It works after the semaphore's handle is disposed, too.
   *
   * @throws {IpcError} ERANGE if the value would pass 32767, as others have added meanwhile.
   */
  release(): void {
    const handle = this.#handle;
    if (handle === undefined) return;
    const result = attemptSingle(handle.id, this.#index, this.count, this.#flags);
    if (result < 0) this.#fail(handle, result);
    this.#handle = undefined;
  }

  #fail(handle: Handle, result: number): void {
    if (result === -errors.EINVAL || result === -errors.EIDRM) return;
    throw semopError(handle, -result, `release ${this.count} to ${nameOf(handle, this.#index)}`);
  }

  /** Releases, so that `using` does. */
  [Symbol.dispose](): void {
    this.release();
  }
}

function isAmount(amount: number): boolean {
  return Number.isInteger(amount) && amount >= 1 && amount <= SEMVMX;
}

function nameOf(handle: Handle, index: number): string {
  return `semaphore ${index} of ${handle.name}`;
}

/**
 * A counter that processes share: it is never negative, and whoever would make it so waits.
 *
 * - **Atomic:** every operation happens wholly or not at all, whatever other processes do.
 * - **Undo:** with `undo`, the kernel reverses the operation when this process ends, by SIGKILL too.
 *   Undo belongs to the process: all its threads share it, and the end of a thread reverses nothing.
 * - **Order:** among those who can go on, the kernel serves the one that has waited longest.
 * - **Lifetime:** it outlives its processes. Disposing the handle that created it removes it.
 *
 * `increment` and `decrement` do arithmetic and undo nothing unless asked. `acquire` takes
 * ownership, so it undoes unless told otherwise. Mixing the flags of a pair lets the value drift.
 *
 * @example How many are busy, whoever is killed
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
  /** The index in its set: 0, unless it is of `set.at(index)`. */
  readonly index: number;
  readonly #handle: Handle;
  readonly #set: SemaphoreSet;
  /** Whether the set is this semaphore's own, and ends with it. */
  readonly #whole: boolean;

  private constructor(set: SemaphoreSet, index: number, whole: boolean) {
    this.#set = set;
    this.#handle = handleOf(set);
    this.index = index;
    this.#whole = whole;
  }

  static {
    makeSemaphore = (set, index, whole) => new Semaphore(set, index, whole);
  }

  /**
   * Creates a semaphore. Disposing the handle removes it, unless `owner` is false.
   *
   * With a key, a process that dies within `create` leaves a semaphore that nobody can open but
   * `openOrCreate`, which finishes it.
   *
   * @param options The key, value and mode, and whether the handle owns it.
   * @returns A semaphore with this value.
   * @throws {IpcError} EEXIST if the key is taken, ENOSPC if a limit of the system is reached, EACCES
   * if its mode does not permit this user to initialise it.
   * @throws {RangeError} If the value is not a whole number from 0 to 32767.
   */
  static create(options: SemaphoreCreateOptions = {}): Semaphore {
    return makeSemaphore(
      SemaphoreSet.create({ ...options, values: [options.value ?? 0] }),
      0,
      true,
    );
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
    return makeSemaphore(SemaphoreSet.open(key), 0, true);
  }

  /**
   * Opens a semaphore, or creates it. Safe against every race: any number of processes may call it
   * at once, die in it at any moment, or remove the semaphore meanwhile. A value that exists is left
   * alone. What it made is gone again if it fails.
   *
   * Of a set, it opens the first semaphore. See {@linkcode SemaphoreSet.openOrCreate} for what it
   * takes for unfinished.
   *
   * @param key The key or name.
   * @param options The value and mode to create it with.
   * @returns A semaphore that this handle does not own.
   * @throws {IpcError} EPERM if another user made it, EINVAL if it is a mutex or another structure,
   * EAGAIN if it is a larger set that its creator has not initialised, EACCES, ENOSPC.
   * @throws {RangeError} If the value is not a whole number from 0 to 32767.
   */
  static openOrCreate(key: Key, options: SemaphoreOpenOrCreateOptions = {}): Semaphore {
    return makeSemaphore(
      SemaphoreSet.openOrCreate(key, { ...options, values: [options.value ?? 0] }),
      0,
      true,
    );
  }

  /**
   * Takes the identifier of a semaphore that another process made, such as a parent.
   *
   * @param id The identifier.
   * @returns A semaphore that this handle does not own.
   * @throws {IpcError} EIDRM if no set has it, EACCES if its mode does not permit reading, EAGAIN if
   * its creator has not initialised it, EINVAL if it is a mutex or another structure.
   */
  static fromId(id: number): Semaphore {
    return makeSemaphore(SemaphoreSet.fromId(id), 0, true);
  }

  /** The identifier of the set, by which other processes of this machine can take it. */
  get id(): number {
    return this.#handle.id;
  }

  /** The key, undefined for a private semaphore. */
  get key(): number | undefined {
    return this.#handle.key;
  }

  /** Whether disposing this handle removes the semaphore. */
  get owned(): boolean {
    return this.#whole && this.#handle.owned;
  }

  /**
   * The value, from 0 to 32767.
   *
   * Setting it wipes the undo of every process for this semaphore: what they hold is then not given
   * back when they end.
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
    const result = semctl(this.#handle.id, this.index, SETVAL, value);
    if (result < 0) {
      throw this.#handle.error(-result, "semctl", `set ${this.#name}`);
    }
  }

  /**
   * How many wait: each waiting process counts, whatever it waits with.
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
   * @param by How much, from 1 to 32767.
   * @param options Whether to undo; not unless asked.
   * @throws {IpcError} ERANGE if the value would pass 32767, EIDRM if it is removed, EACCES.
   */
  increment(by = 1, options?: UndoOptions): void {
    if (!isAmount(by)) this.#refuse(by, "increment");
    const handle = this.#handle;
    const flags = options?.undo === true ? SEM_UNDO : 0;
    if (handle.state !== "open") throw handle.refusal();
    const result = attemptSingle(handle.id, this.index, by, flags);
    if (result < 0) this.#fail(result, `increment ${this.#name} by ${by}`);
  }

  /**
   * Subtracts from the value, waiting until it is large enough.
   *
   * @param by How much, from 1 to 32767.
   * @param options The signal, the timeout, and whether to undo; not unless asked.
   * @returns A promise that rejects with the reason of the signal, with a DOMException "TimeoutError"
   * if the time is up, with a ReferenceError if the handle is disposed: nothing has changed then. And
   * with IpcError EIDRM if the semaphore is removed, EACCES.
   */
  async decrement(by = 1, options?: OperationOptions): Promise<void> {
    if (!isAmount(by)) this.#refuse(by, "decrement");
    return await this.#take(by, options?.undo === true, options, "decrement", nothing);
  }

  /**
   * Subtracts from the value, blocking the thread until it is large enough.
   *
   * @param by How much, from 1 to 32767.
   * @param options The timeout, and whether to undo; not unless asked.
   * @throws {DOMException} "TimeoutError" if the time is up: nothing has changed.
   * @throws {IpcError} EINTR if the program handled a signal, EIDRM if it is removed, EACCES.
   */
  decrementSync(by = 1, options?: SyncOperationOptions): void {
    if (!isAmount(by)) this.#refuse(by, "decrement");
    this.#takeSync(by, options?.undo === true, options?.timeout, "decrement");
  }

  /**
   * Subtracts from the value if it is large enough.
   *
   * @param by How much, from 1 to 32767.
   * @param options Whether to undo; not unless asked.
   * @returns Whether it was.
   * @throws {IpcError} EIDRM if it is removed, EACCES.
   */
  tryDecrement(by = 1, options?: UndoOptions): boolean {
    if (!isAmount(by)) this.#refuse(by, "decrement");
    return this.#tryTake(by, options?.undo === true, "decrement");
  }

  /**
   * Waits until the value is 0.
   *
   * @param options The signal and the timeout.
   * @returns A promise that rejects as that of `decrement`.
   */
  async waitForZero(options?: WaitOptions): Promise<void> {
    return await this.#take(0, false, options, "wait for zero of", nothing);
  }

  /**
   * Waits until the value is 0, blocking the thread.
   *
   * @param options The timeout.
   * @throws {DOMException} "TimeoutError" if the time is up.
   * @throws {IpcError} EINTR if the program handled a signal, EIDRM if it is removed, EACCES.
   */
  waitForZeroSync(options?: TimeoutOptions): void {
    this.#takeSync(0, false, options?.timeout, "wait for zero of");
  }

  /**
   * Waits until the value is at least so much; changes nothing.
   *
   * @param least How much, from 1 to 32767.
   * @param options The signal and the timeout.
   * @returns A promise that rejects as that of `decrement`.
   */
  async waitForAtLeast(least: number, options?: WaitOptions): Promise<void> {
    checkInteger(least, 1, SEMVMX, `wait for ${least} in ${this.#name}`);
    const { index } = this;
    return await this.#set.operate([{ index, delta: -least }, { index, delta: least }], options);
  }

  /**
   * Waits until the value is at least so much, blocking the thread; changes nothing.
   *
   * @param least How much, from 1 to 32767.
   * @param options The timeout.
   * @throws {DOMException} "TimeoutError" if the time is up.
   * @throws {IpcError} EINTR if the program handled a signal, EIDRM if it is removed, EACCES.
   */
  waitForAtLeastSync(least: number, options?: TimeoutOptions): void {
    checkInteger(least, 1, SEMVMX, `wait for ${least} in ${this.#name}`);
    const { index } = this;
    this.#set.operateSync([{ index, delta: -least }, { index, delta: least }], options);
  }

  /**
   * Takes ownership of a part of the value, waiting until it is large enough.
   *
   * @param count How much, from 1 to 32767.
   * @param options The signal, the timeout, and whether to undo; it does unless told otherwise.
   * @returns A promise of a permit, to release with `using`; it rejects as that of `decrement`.
   */
  async acquire(count = 1, options?: OperationOptions): Promise<Permit> {
    if (!isAmount(count)) this.#refuse(count, "acquire");
    const undo = options?.undo !== false;
    const permit = () => makePermit(this.#handle, this.index, count, undo);
    return await this.#take(count, undo, options, "acquire", permit);
  }

  /**
   * Takes ownership of a part of the value, blocking the thread until it is large enough.
   *
   * @param count How much, from 1 to 32767.
   * @param options The timeout, and whether to undo; it does unless told otherwise.
   * @returns A permit, to release with `using`.
   * @throws {DOMException} "TimeoutError" if the time is up: nothing has changed.
   * @throws {IpcError} EINTR if the program handled a signal, EIDRM if it is removed, EACCES.
   */
  acquireSync(count = 1, options?: SyncOperationOptions): Permit {
    if (!isAmount(count)) this.#refuse(count, "acquire");
    const undo = options?.undo !== false;
    this.#takeSync(count, undo, options?.timeout, "acquire");
    return makePermit(this.#handle, this.index, count, undo);
  }

  /**
   * Takes ownership of a part of the value if it is large enough.
   *
   * @param count How much, from 1 to 32767.
   * @param options Whether to undo; it does unless told otherwise.
   * @returns A permit, to release with `using`, or undefined.
   * @throws {IpcError} EIDRM if it is removed, EACCES.
   */
  tryAcquire(count = 1, options?: UndoOptions): Permit | undefined {
    if (!isAmount(count)) this.#refuse(count, "acquire");
    const undo = options?.undo !== false;
    return this.#tryTake(count, undo, "acquire")
      ? makePermit(this.#handle, this.index, count, undo)
      : undefined;
  }

  /**
   * Describes the set of the semaphore.
   *
   * @returns A snapshot that does not change.
   * @throws {IpcError} EIDRM if it is removed, EACCES if its mode does not permit reading.
   */
  stat(): SemaphoreInfo {
    this.#handle.check();
    return this.#set.stat();
  }

  /**
   * Changes who may use the set of the semaphore.
   *
   * @param permissions The owner, group and mode; what is left out stays as it is.
   * @throws {IpcError} EPERM if this process is neither owner nor creator nor privileged, EINVAL if
   * the user namespace does not know the user or the group, EIDRM if it is removed.
   */
  setPermissions(permissions: PermissionOptions): void {
    this.#handle.check();
    this.#set.setPermissions(permissions);
  }

  /**
   * Removes the semaphore, now, and with it the whole set: whoever waits gets EIDRM.
   *
   * @throws {IpcError} EPERM if this process is neither owner nor creator nor privileged, EIDRM if it
   * is removed already.
   */
  remove(): void {
    this.#set.remove();
  }

  /** Ends the handle, and removes the semaphore if the handle owns it. One of `set.at(index)` ends with its set. */
  [Symbol.dispose](): void {
    if (this.#whole) this.#set[Symbol.dispose]();
  }

  get #name(): string {
    return nameOf(this.#handle, this.index);
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

  #fail(result: number, doing: string): never {
    throw semopError(this.#handle, -result, doing);
  }

  /** Whether there was not enough; throws if it was something else. */
  #refuses(result: number, verb: string): false {
    if (result === -errors.EAGAIN) return false;
    return this.#fail(result, `${verb} ${this.#name}`);
  }

  /** Goes on with the operation that was packed last, if a signal interrupted it. */
  #resume(result: number, verb: string): void {
    const { id } = this.#handle;
    if (result === -errors.EINTR) result = resumeSingle(id);
    if (result < 0) this.#fail(result, `${verb} ${this.#name}`);
  }

  #takeUntil(amount: number, flags: number, timeout: number, verb: string): void {
    const limit = checkTimeout(timeout);
    const packed = packSingle(this.#handle, this.index, -amount, flags);
    const result = block(this.#handle.id, packed, limit);
    if (result >= 0) return;
    if (result === -errors.EAGAIN) throw timeoutError(`${verb} ${this.#name}`, limit);
    this.#fail(result, `${verb} ${this.#name}`);
  }

  #refuse(amount: number, verb: string): void {
    checkInteger(amount, 1, SEMVMX, `${verb} ${this.#name} by ${amount}`);
  }

  #take<Result>(
    amount: number,
    undo: boolean,
    options: WaitOptions | undefined,
    verb: string,
    take: () => Result,
  ): Result | Promise<Result> {
    const flags = undo ? SEM_UNDO | IPC_NOWAIT : IPC_NOWAIT;
    const packed = packSingle(this.#handle, this.index, -amount, flags);
    return perform(this.#handle, packed, options, () => `${verb} ${this.#name}`, take);
  }

  #takeSync(amount: number, undo: boolean, timeout: number | undefined, verb: string): void {
    const handle = this.#handle;
    const flags = undo ? SEM_UNDO : 0;
    if (timeout !== undefined) return this.#takeUntil(amount, flags, timeout, verb);
    if (handle.state !== "open") throw handle.refusal();
    const result = attemptSingle(handle.id, this.index, -amount, flags);
    if (result < 0) this.#resume(result, verb);
  }

  #tryTake(amount: number, undo: boolean, verb: string): boolean {
    const handle = this.#handle;
    const flags = undo ? SEM_UNDO | IPC_NOWAIT : IPC_NOWAIT;
    if (handle.state !== "open") throw handle.refusal();
    const result = attemptSingle(handle.id, this.index, -amount, flags);
    return result >= 0 || this.#refuses(result, verb);
  }
}

/**
 * Several semaphores that change together: any number of operations in one atomic step, which waits
 * until all of them can happen, and which nobody ever sees half done.
 *
 * What is said of {@linkcode Semaphore} on undo, order and lifetime holds for sets.
 *
 * A set has one semaphore more than `size`, the last, which tells this module what the set is. Sets
 * of other programs have none and are taken whole, as they are.
 *
 * @example From one account to another
 * ```ts
 * import { SemaphoreSet } from "@sysv/ipc";
 * import { assertEquals } from "@std/assert";
 *
 * using accounts = SemaphoreSet.create({ values: [10, 0] });
 * accounts.operateSync([{ index: 0, delta: -4 }, { index: 1, delta: +4 }]);
 * assertEquals(accounts.values, [6, 4]);
 * ```
 *
 * @see https://man7.org/linux/man-pages/man2/semop.2.html
 */
export class SemaphoreSet implements Disposable {
  /** The number of semaphores. */
  readonly size: number;
  readonly #handle: Handle;
  readonly #tag: number | undefined;

  private constructor(handle: Handle, { size, tag }: Shape) {
    this.#handle = handle;
    this.size = size;
    this.#tag = tag;
  }

  static {
    handleOf = (set) => set.#handle;
  }

  /**
   * Creates a set. Disposing the handle removes it, unless `owner` is false.
   *
   * With a key, a process that dies within `create` leaves a set that nobody can open but
   * `openOrCreate`, which finishes it.
   *
   * @param options The values, kind, key and mode, and whether the handle owns it.
   * @returns A set with these values.
   * @throws {IpcError} EEXIST if the key is taken, ENOSPC if a limit of the system is reached, EINVAL
   * if the system allows no set as large (SEMMSL), E2BIG if it has a key and more values above 0 than
   * one semop can set (SEMOPM less 2, usually 498), EACCES if its mode does not permit this user to
   * initialise it.
   * @throws {RangeError} If a value is not a whole number from 0 to 32767.
   */
  static create(options: SemaphoreSetCreateOptions): SemaphoreSet {
    const { values, kind = "set", mode = 0o600 } = options;
    checkValues(values);
    checkKind(kind);
    checkMode(mode);
    const isPrivate = options.key === undefined;
    const handle = create(
      semaphoreSet,
      getOrMake(values),
      { ...options, mode: isPrivate ? mode : mode & 0o666 },
      isPrivate ? 0 : UNFINISHED,
    );
    try {
      const shape = isPrivate
        ? initialisePrivate(handle, values, kind)
        : finish(handle, values, kind);
      return new SemaphoreSet(handle, shape);
    } catch (error) {
      discard(handle, error);
      throw error;
    }
  }

  /**
   * Opens a set that exists.
   *
   * @param key The key or name.
   * @param options What it has to be.
   * @returns A set that this handle does not own.
   * @throws {IpcError} ENOENT if there is none, EACCES if its mode does not permit reading, EAGAIN if
   * its creator has not initialised it, EINVAL if it is of another kind.
   */
  static open(key: Key, { kind = "set" }: SemaphoreSetOpenOptions = {}): SemaphoreSet {
    const handle = open(semaphoreSet, getAny, key, OPEN_MODES);
    return new SemaphoreSet(handle, recognise(handle, kind));
  }

  /**
   * Opens a set, or creates it. Safe against every race: any number of processes may call it at
   * once, die in it at any moment, or remove the set meanwhile. Values that exist are left alone.
   * What it made is gone again if it fails.
   *
   * A set that its creator left unfinished is finished with these values. So is another program's if
   * it has exactly one semaphore more than `values`, all 0, and nobody has operated on it: the two
   * cannot be told apart.
   *
   * @param key The key or name.
   * @param options The values, kind and mode to create it with.
   * @returns A set that this handle does not own; it may be larger than `values`.
   * @throws {IpcError} EPERM if another user made it, EINVAL if it is smaller or of another kind,
   * EAGAIN if it is larger and its creator has not initialised it, EACCES, ENOSPC, E2BIG if it has
   * more values above 0 than one semop can set (SEMOPM less 2, usually 498).
   * @throws {RangeError} If a value is not a whole number from 0 to 32767.
   */
  static openOrCreate(key: Key, options: SemaphoreSetOpenOrCreateOptions): SemaphoreSet {
    const { values, kind = "set", mode = 0o600, allowForeign } = options;
    checkValues(values);
    checkKind(kind);
    checkMode(mode);
    const search = { get: getOrMake(values), modes: OPEN_MODES, marks: UNFINISHED };
    let shape: Shape | undefined;
    const handle = openOrCreate(semaphoreSet, search, key, {
      mode: mode & 0o666,
      allowForeign,
    }, (handle) => shape = finish(handle, values, kind));
    return new SemaphoreSet(handle, shape!);
  }

  /**
   * Takes the identifier of a set that another process made, such as a parent.
   *
   * @param id The identifier.
   * @param options What it has to be.
   * @returns A set that this handle does not own.
   * @throws {IpcError} EIDRM if no set has it, EACCES if its mode does not permit reading, EAGAIN if
   * its creator has not initialised it, EINVAL if it is of another kind.
   */
  static fromId(id: number, { kind = "set" }: SemaphoreSetOpenOptions = {}): SemaphoreSet {
    const handle = fromId(semaphoreSet, id);
    return new SemaphoreSet(handle, recognise(handle, kind));
  }

  /** The identifier, by which other processes of this machine can take it. */
  get id(): number {
    return this.#handle.id;
  }

  /** The key, undefined for a private set. */
  get key(): number | undefined {
    return this.#handle.key;
  }

  /** Whether disposing this handle removes the set. */
  get owned(): boolean {
    return this.#handle.owned;
  }

  /**
   * One semaphore of the set. It shares this handle, and ends with it.
   *
   * @param index From 0 to `size - 1`.
   * @returns A semaphore that owns nothing.
   * @throws {RangeError} If the set has no such semaphore.
   * @throws {ReferenceError} If the handle is disposed.
   */
  at(index: number): Semaphore {
    checkInteger(index, 0, this.size - 1, `take semaphore ${index} of ${this.#handle.name}`);
    this.#handle.check();
    return makeSemaphore(this, index, false);
  }

  /**
   * All values at one moment, each from 0 to 32767.
   *
   * Setting them wipes the undo of every process for the set.
   *
   * @throws {IpcError} EIDRM if it is removed, EACCES if its mode does not permit it.
   * @throws {RangeError} If there are more or fewer than `size`, or one is not a whole number from 0 to 32767.
   */
  get values(): number[] {
    this.#handle.check();
    return [
      ...readAll(this.#handle, this.#tag === undefined ? this.size : this.size + 1).subarray(
        0,
        this.size,
      ),
    ];
  }

  set values(values: readonly number[]) {
    checkValues(values);
    if (values.length !== this.size) {
      throw new RangeError(
        `Cannot set the values of ${this.#handle.name}: expected ${this.size} numbers, got ${values.length}`,
      );
    }
    this.#handle.check();
    writeAll(this.#handle, this.#tag === undefined ? values : [...values, this.#tag]);
  }

  /**
   * Reads all values at one moment, as `values` does.
   *
   * @returns The values, each from 0 to 32767.
   * @throws {IpcError} EIDRM if it is removed, EACCES if its mode does not permit it.
   */
  read(): number[] {
    return this.values;
  }

  /**
   * Performs operations in one atomic step, waiting until all can happen.
   *
   * @param operations They are tried in order, so that `+1` before `-1` of the same semaphore can always happen.
   * @param options The signal and the timeout.
   * @returns A promise that rejects with the reason of the signal, with a DOMException "TimeoutError"
   * if the time is up, with a ReferenceError if the handle is disposed: nothing has changed then. And
   * with IpcError EIDRM if the set is removed, ERANGE if a value would pass 32767, E2BIG if they are
   * more than the system allows (SEMOPM, 500), EACCES.
   */
  async operate(operations: readonly SemaphoreOperation[], options?: WaitOptions): Promise<void> {
    const packed = packSeveral(this.#handle, operations, this.size, IPC_NOWAIT);
    const doing = () => `operate on ${this.#handle.name}`;
    return await perform(this.#handle, packed, options, doing, nothing);
  }

  /**
   * Performs operations in one atomic step, blocking the thread until all can happen.
   *
   * @param operations They are tried in order, so that `+1` before `-1` of the same semaphore can always happen.
   * @param options The timeout.
   * @throws {DOMException} "TimeoutError" if the time is up: nothing has changed.
   * @throws {IpcError} EINTR if the program handled a signal, EIDRM if it is removed, ERANGE if a
   * value would pass 32767, E2BIG if they are more than the system allows (SEMOPM, 500), EACCES.
   */
  operateSync(operations: readonly SemaphoreOperation[], options?: TimeoutOptions): void {
    const limit = checkTimeout(options?.timeout);
    const packed = packSeveral(this.#handle, operations, this.size, 0);
    const result = block(this.#handle.id, packed, limit);
    if (result >= 0) return;
    if (result === -errors.EAGAIN) {
      throw timeoutError(`operate on ${this.#handle.name}`, limit);
    }
    throw semopError(this.#handle, -result, `operate on ${this.#handle.name}`);
  }

  /**
   * Performs operations in one atomic step if all can happen at once.
   *
   * @param operations They are tried in order.
   * @returns Whether they happened; if not, none did.
   * @throws {IpcError} EIDRM if it is removed, ERANGE if a value would pass 32767, E2BIG, EACCES.
   */
  tryOperate(operations: readonly SemaphoreOperation[]): boolean {
    const packed = packSeveral(this.#handle, operations, this.size, IPC_NOWAIT);
    const result = attempt(this.#handle.id, packed);
    if (result >= 0) return true;
    if (result === -errors.EAGAIN) return false;
    throw semopError(this.#handle, -result, `operate on ${this.#handle.name}`);
  }

  /**
   * Describes the set.
   *
   * @returns A snapshot that does not change.
   * @throws {IpcError} EIDRM if it is removed, EACCES if its mode does not permit reading.
   */
  stat(): SemaphoreInfo {
    const { info, members } = this.#handle.read();
    return Object.freeze({ ...info, size: this.size, lastOperation: dateOf(members.sem_otime!) });
  }

  /**
   * Changes who may use the set.
   *
   * @param permissions The owner, group and mode; what is left out stays as it is.
   * @throws {IpcError} EPERM if this process is neither owner nor creator nor privileged, EINVAL if
   * the user namespace does not know the user or the group, EIDRM if it is removed.
   */
  setPermissions(permissions: PermissionOptions): void {
    this.#handle.setPermissions(permissions);
  }

  /**
   * Removes the set, now: whoever waits gets EIDRM.
   *
   * @throws {IpcError} EPERM if this process is neither owner nor creator nor privileged, EIDRM if it
   * is removed already.
   */
  remove(): void {
    this.#handle.remove();
  }

  /** Ends the handle, and removes the set if the handle owns it. Does nothing the second time. */
  [Symbol.dispose](): void {
    this.#handle.dispose();
  }
}

function checkValues(values: readonly number[]): void {
  if (!Array.isArray(values) || values.length === 0) {
    throw new TypeError(
      "Cannot make a semaphore set of no values: expected an array of at least one number",
    );
  }
  for (const value of values) {
    checkInteger(value, 0, SEMVMX, `start or set a semaphore with ${value}`);
  }
}
