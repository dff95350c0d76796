/**
 * The members of a structure, as one handle takes part in it.
 *
 * @module
 */

import { described } from "../ffi/check.ts";
import { type ErrorCode, IpcError, ipcError, isRemoved } from "../ffi/error.ts";
import { internal } from "../ipc/internal.ts";
import { promised } from "../ipc/semop_waits.ts";
import { RemovalWatch, type Watched } from "../ipc/removal_watch.ts";
import { timeoutError, type TimeoutOptions, type WaitOptions } from "../wait/options.ts";
import { type Asked, type Flow, remaining, run, runSync } from "./flow.ts";
import { CLOSED, ENDED, type Gate, header, type Lock, REMOVED } from "./layout.ts";
import { type Pair, type Shape, titleOf } from "./pair.ts";
import { Protocol } from "./protocol.ts";
import { type Floor, Seat } from "./seat.ts";
import type { Line } from "./sleepers.ts";
import { unlock } from "./unlock.ts";

/** How long who only tries waits for a lock: its holder needs less, unless it is stopped. In milliseconds. */
const MOMENT = 100;

/** Errors of one of the two objects that mean the same of the whole. */
const RETOLD: ReadonlySet<string> = new Set(["EIDRM", "EINTR", "EPERM", "EACCES", "E2BIG"]);

/** The handles of each structure in this thread, by the identifiers of their segments. */
const here = new Map<number, Set<Members>>();

/** A segment, its semaphores, and the places that this handle has in it. */
export class Members implements Floor, Watched {
  readonly words: Int32Array;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly semaphores: Pair["semaphores"];
  readonly protocol: Protocol;
  readonly shape: Shape;
  /** Has the place that locks, and sleeps where the thread blocks. */
  readonly seat: Seat;
  /** Has the place at which promises sleep. */
  readonly promises: Seat;
  readonly pair: Pair;
  readonly id: number;
  /** Who asked to be told when it is removed. */
  readonly watch: RemovalWatch = new RemovalWatch();
  /** The handles whose promises were kept from hearing, as this thread blocks. */
  readonly #hushed = new Set<Members>();
  #disposed = false;

  /** Takes part in a structure with these locks and gates. */
  constructor(pair: Pair, locks: readonly Lock[], gates: readonly Gate[] = []) {
    this.pair = pair;
    const { memory, semaphores, shape } = pair;
    this.id = memory.id;
    this.bytes = memory.bytes;
    this.words = new Int32Array(memory.buffer, 0, memory.size >> 2);
    this.semaphores = semaphores;
    this.shape = shape;
    const own = locks.flatMap(({ opens }) => opens);
    const all = [...new Map([...own, ...gates].map((gate) => [gate.word, gate])).values()];
    this.protocol = new Protocol(shape.places, locks, all);
    this.seat = new Seat(this, true);
    this.promises = new Seat(this, false);
    const handles = here.get(this.id);
    if (handles === undefined) here.set(this.id, new Set([this]));
    else handles.add(this);
  }

  /** Names the structure in messages. */
  get title(): string {
    const { memory, shape, name } = this.pair;
    return titleOf(shape.kind, this.id, memory.key, name);
  }

  /** Throws once the handle is disposed. */
  check(): void {
    if (!this.#disposed) return;
    throw new ReferenceError(`Cannot use ${this.title}: the handle is disposed`);
  }

  /** Whether somebody has closed the structure. */
  get closed(): boolean {
    return (Atomics.load(this.words, header.state) & CLOSED) !== 0;
  }

  /** Throws EIDRM if it was removed, as who does not sleep learns it. */
  refuseRemoved(action: string): void {
    if ((Atomics.load(this.words, header.state) & REMOVED) === 0) return;
    throw this.error("EIDRM", action);
  }

  /** Takes a place, if there is none yet. */
  enterSync(options?: TimeoutOptions): void {
    this.check();
    if (this.seat.place === 0) this.explain("join", () => this.seat.joinSync(options), options);
  }

  /** The same in a promise, and a place at which promises sleep. */
  async enter(options?: WaitOptions): Promise<void> {
    this.check();
    options?.signal?.throwIfAborted();
    try {
      if (this.seat.place === 0) await this.seat.join(options);
      if (this.promises.place === 0) await this.promises.join(options);
    } catch (error) {
      throw this.retold(error, "join", options);
    }
  }

  /** Performs something when it is its turn in a line of promises. */
  inLine<Result>(
    line: Line,
    action: string,
    options: WaitOptions,
    perform: () => Promise<Result>,
  ): Promise<Result> {
    return line.through(options, perform, (error) => this.retold(error, action, options));
  }

  /** Drives a flow, blocking the thread where it waits. */
  driveSync<Result>(flow: Flow<Result>, action: string, options?: TimeoutOptions): Result {
    try {
      return this.explain(action, () => runSync(this.seat, flow, options), options);
    } finally {
      for (const { promises } of this.#hushed) promises.rouse();
      this.#hushed.clear();
    }
  }

  /** Gives a lock back, and wakes its sleepers. */
  unlock(lock: Lock): void {
    try {
      unlock(this.seat, this.protocol, lock);
    } catch (error) {
      throw this.retold(error, "unlock");
    }
  }

  /** Does what only tries: a lock that is kept for longer than a moment is not waited for. */
  tried<Result>(attempt: (options: TimeoutOptions) => Result): Result | undefined {
    try {
      return attempt({ timeout: MOMENT });
    } catch (error) {
      if (error instanceof DOMException && error.name === "TimeoutError") return undefined;
      throw error;
    }
  }

  /** Drives a flow without blocking the event loop. */
  drive<Result>(
    flow: () => Flow<Result>,
    action: string,
    options: WaitOptions = {},
  ): Promise<Result> {
    const rest = remaining(options);
    const retell = (error: unknown) => this.retold(error, action, options);
    return this.seated(rest(), () => run(this.promises, flow(), rest(), retell));
  }

  /** Performs something in a promise, with places for it. Who has given up meanwhile does nothing. */
  seated<Result>(options: WaitOptions, perform: () => Promise<Result>): Promise<Result> {
    const begin = () => {
      this.check();
      options.signal?.throwIfAborted();
      return perform();
    };
    const isSeated = this.seat.place !== 0 && this.promises.place !== 0;
    return isSeated ? promised(begin) : this.enter(options).then(begin);
  }

  /** Performs something whose errors are to say what was done to what. */
  explain<Result>(action: string, perform: () => Result, options?: TimeoutOptions): Result {
    try {
      return perform();
    } catch (error) {
      throw this.retold(error, action, options);
    }
  }

  /** Says in an error what was done to what, instead of to its semaphores. */
  retold(
    error: unknown,
    action: string,
    options?: WaitOptions & Asked,
  ): unknown {
    if (options?.signal?.aborted && error === options.signal.reason) return error;
    const timeout = options?.asked ?? options?.timeout;
    if (timeout !== undefined && error instanceof DOMException && error.name === "TimeoutError") {
      return timeoutError(`${action} ${this.title}`, timeout);
    }
    if (!(error instanceof IpcError) || !RETOLD.has(error.code)) return error;
    return this.error(error.code as ErrorCode, action, undefined, error.syscall);
  }

  /** Makes the error of a word that no member can have written. */
  spoilt(action: string): IpcError {
    return this.error("EIO", action, "another program has overwritten its memory");
  }

  /** Makes the error of what a codec has made of an item and nobody can take. */
  unfit(bytes: unknown, action: string): Error {
    const title = `Cannot ${action} ${this.title}`;
    if (!(bytes instanceof Uint8Array)) {
      const expected = "expected its codec to return a Uint8Array";
      return new TypeError(`${title}: ${expected}, got ${described(bytes)}`);
    }
    const { limit } = this.shape;
    return new RangeError(`${title}: ${bytes.length} bytes are more than its maximum, ${limit}`);
  }

  /** Makes an error of this structure. */
  error(
    code: ErrorCode,
    action: string,
    reason?: string,
    syscall = code === "EIDRM" ? "semop" : "shmat",
  ): IpcError {
    const { id, key } = this.pair.memory;
    return ipcError(code, `${action} ${this.title}`, { syscall, id, key, reason });
  }

  /** Whether its semaphores, which go first, are still there. */
  get exists(): boolean {
    return this.semaphores.found(internal).handle.exists;
  }

  lostError(): Error {
    return this.error("EIDRM", "hold");
  }

  full(): Error {
    const { places } = this.shape;
    const reason = `all ${places} places are taken: create it with more members`;
    return this.error("ENOSPC", "join", reason);
  }

  /**
   * Keeps the promises of this thread from being woken at a gate while the thread blocks there: they
   * could not use it, and the process that rang for them would think that one of them goes on.
   */
  hush(gate: number): void {
    for (const members of here.get(this.id)!) {
      if (members.promises.hush(gate)) this.#hushed.add(members);
    }
  }

  /** Whether a place belongs to this thread. */
  isHere(place: number): boolean {
    if (place === 0) return false;
    return [...here.get(this.id)!].some(({ seat }) => seat.place === place);
  }

  /** Removes both objects. Who sleeps gets EIDRM; locks are not given any more. */
  remove(): void {
    this.check();
    const { memory, semaphores } = this.pair;
    const isWhole = this.#removeHalf(semaphores);
    Atomics.or(this.words, header.state, REMOVED);
    for (const { word } of this.protocol.locks) Atomics.or(this.words, word, ENDED);
    this.#removeHalf(memory);
    this.watch.look(this);
    if (!isWhole) throw this.error("EIDRM", "remove");
  }

  /** Removes one of the two objects, and returns whether it was there. */
  #removeHalf(half: Pair["memory" | "semaphores"]): boolean {
    try {
      half.remove();
      return true;
    } catch (error) {
      if (!isRemoved(error)) throw this.retold(error, "remove");
      return false;
    }
  }

  /** Frees what is held, gives the places back, and ends both handles. */
  dispose(): void {
    if (this.#disposed) return;
    const { memory, semaphores } = this.pair;
    try {
      if (memory.owned) this.#removeOwned();
      else this.#leave();
    } finally {
      this.#disposed = true;
      this.seat.place = this.promises.place = 0;
      const handles = here.get(this.id)!;
      handles.delete(this);
      if (handles.size === 0) here.delete(this.id);
      semaphores[Symbol.dispose]();
      memory[Symbol.dispose]();
    }
  }

  #removeOwned(): void {
    try {
      this.remove();
    } catch (error) {
      if (!isRemoved(error)) throw error;
    }
  }

  #leave(): void {
    try {
      this.promises.leave();
      this.seat.leave();
    } catch (error) {
      if (!isRemoved(error)) throw error;
    }
  }
}
