/**
 * Parties that wait for each other, round after round: {@linkcode Barrier}.
 *
 * @module
 */

import {
  checkInteger,
  checkTimeout,
  checkWord,
  type TimeoutOptions,
  type WaitOptions,
} from "../check.ts";
import { errors } from "../ffi/abi.ts";
import { IpcError } from "../ffi/error.ts";
import type { Key } from "../key.ts";
import type { CreateOptions, OpenOrCreateOptions } from "../object.ts";
import { SemaphoreSet } from "../semaphore.ts";
import type { SemaphoreArray } from "./array.ts";
import { barrier as protocol, type Step } from "./protocols.ts";
import { type Guard, isRemoved, Structure } from "./structure.ts";

/** What a barrier is for. */
export interface BarrierOptions {
  /**
   * How many parties there are, from 1 to 16383. All have to say the same. If death breaks the
   * barrier, the kernel's limit of 32768 to undo lets one process be 32768 / parties of them.
   */
  parties: number;
  /**
   * What becomes of a barrier when a party dies. `"break"`: nobody waits at it any more, and all who
   * do are told. `"shrink"`: the others go on without it. All have to say the same.
   *
   * @default {"break"}
   */
  onDeath?: "break" | "shrink" | undefined;
}

/** Options of {@linkcode Barrier.create}. */
export interface BarrierCreateOptions extends CreateOptions, BarrierOptions {}

/** Options of {@linkcode Barrier.openOrCreate}. */
export interface BarrierOpenOrCreateOptions extends OpenOrCreateOptions, BarrierOptions {}

const kind = "barrier";

/** A party that dies breaks the barrier of the others: what their waits reject with. */
export class BrokenBarrierError extends Error {
  /** The name of the class. */
  override readonly name = "BrokenBarrierError";
}

/**
 * A party to a {@linkcode Barrier}. It waits once at a time, and leaves when it is disposed: the
 * others then go on without it.
 */
export class BarrierParty implements Disposable {
  readonly #structure: Structure;
  readonly #guard: Guard;
  /** Whether the kernel takes the token out if this process dies. */
  readonly #undone: boolean;
  /** The round that the party waits for next. */
  #round = 0;
  /** The counter in which its token stands. */
  #token = 0;
  #waiting = false;
  readonly #leaving = new AbortController();

  /** Creates a party that has joined. */
  constructor(structure: Structure, undone: boolean, parties: number) {
    this.#structure = structure;
    this.#undone = undone;
    this.#guard = structure.guard(
      () => [...protocol.leave(this.#token, undone), ...(undone ? [] : protocol.disarm(parties))],
    );
  }

  /**
   * Arrives, and waits until all parties have.
   *
   * @param options The signal and the timeout.
   * @returns A promise that rejects with {@linkcode BrokenBarrierError} if a party has died and death
   * breaks the barrier; with the reason of the signal, or with a DOMException "TimeoutError" if the
   * time is up: then this party has not arrived, and may wait again; with a ReferenceError if it
   * leaves; with IpcError EIDRM if the barrier is removed.
   */
  async wait(options?: WaitOptions): Promise<void> {
    checkTimeout(options?.timeout);
    options?.signal?.throwIfAborted();
    const { array } = this.#structure;
    const left = this.#leaving.signal;
    const signal = options?.signal === undefined ? left : AbortSignal.any([options.signal, left]);
    const round = this.#begin();
    try {
      if (!await this.#move(array, protocol.arrive(round, this.#undone))) throw broken();
      try {
        await array.operate(protocol.wait(round), { ...options, signal });
      } catch (error) {
        if (isRemoved(error) || left.aborted || await this.#retreat(round)) throw error;
      }
      this.#end(await array.read());
    } finally {
      this.#waiting = false;
    }
  }

  /**
   * Arrives, and blocks the thread until all parties have.
   *
   * @param options The timeout.
   * @throws {BrokenBarrierError} If a party has died and death breaks the barrier.
   * @throws {DOMException} "TimeoutError" if the time is up: this party has not arrived then.
   * @throws {IpcError} EINTR if the program handled a signal (it has not arrived), EIDRM if it is removed.
   */
  waitSync(options?: TimeoutOptions): void {
    checkTimeout(options?.timeout);
    const { set } = this.#structure;
    const round = this.#begin();
    try {
      if (!set.tryOperate(protocol.arrive(round, this.#undone))) throw broken();
      this.#token = protocol.next(round);
      try {
        set.operateSync(protocol.wait(round), options);
      } catch (error) {
        if (isRemoved(error)) throw error;
        if (protocol.retreat(round, this.#undone).some((step) => set.tryOperate(step))) {
          this.#token = round;
          throw error;
        }
      }
      this.#end(set.values);
    } finally {
      this.#waiting = false;
    }
  }

  /**
   * Arrives if this completes the round, as the last of the parties.
   *
   * @returns Whether it did.
   * @throws {BrokenBarrierError} If a party has died and death breaks the barrier.
   */
  tryWait(): boolean {
    const { set } = this.#structure;
    const round = this.#begin();
    this.#waiting = false;
    const step = [...protocol.arrive(round, this.#undone), ...protocol.wait(round)];
    const arrived = set.tryOperate(step);
    if (arrived) {
      this.#token = protocol.next(round);
      this.#end(set.values);
    } else if (set.values[protocol.broken] !== 0) throw broken();
    return arrived;
  }

  /** Leaves: the others go on without it, and so does who waits as this party. Does nothing the second time. */
  leave(): void {
    this.#guard.release();
    this.#leaving.abort(left());
  }

  /** Leaves, so that `using` does. */
  [Symbol.dispose](): void {
    this.leave();
  }

  #begin(): number {
    if (this.#leaving.signal.aborted) throw left();
    if (this.#waiting) {
      throw new TypeError("Cannot wait twice at once as one party: join once more");
    }
    this.#waiting = true;
    return this.#round;
  }

  /** Moves the token to the next counter, or back; where it stands is known as soon as it has moved. */
  async #move(array: SemaphoreArray, step: Step, forth = true): Promise<boolean> {
    const moved = array.tryOperate(step);
    if (moved !== true && !await moved) return false;
    this.#token = forth ? protocol.next(this.#round) : this.#round;
    return true;
  }

  /** Takes the token back unless the round is complete, even if the handle is disposed. */
  async #retreat(round: number): Promise<boolean> {
    using own = this.#structure.reopen();
    for (const step of protocol.retreat(round, this.#undone)) {
      if (await this.#move(own.array, step, false)) return true;
    }
    return false;
  }

  #end(values: readonly number[]): void {
    if (values[protocol.broken] !== 0) throw broken();
    this.#round = this.#token;
  }
}

function left(): ReferenceError {
  return new ReferenceError("Cannot wait at the barrier as the party has left");
}

function broken(): BrokenBarrierError {
  return new BrokenBarrierError("Cannot wait at the barrier as a party has died");
}

/**
 * A barrier at which a number of parties wait for each other, as often as they like.
 *
 * - **Death:** a party that dies, by SIGKILL too, is noticed at once: the barrier breaks, which all
 *   who wait are told, or shrinks, so that the others go on without it.
 * - **Rounds:** who is let go can wait again at once; nobody slips through two rounds.
 * - **Threads:** a party belongs to its process.
 *
 * Layout: three counters, one for each of three rounds that can be told apart, then how many have
 * still to join, then how many have died if death breaks it. Joining is `[(3, -1), (0, +1), (4, 0)]`,
 * arriving in round r `[(4, 0), (r, -1), (r + 1, +1)]`, modulo 3, waiting `[(3, 0), (r, 0)]`. All is
 * done with UNDO if the barrier shrinks. If it breaks, joining also has the kernel set all to 0 and
 * semaphore 4 to 1 at the death of its process: with N parties, `[(i, +N, UNDO), (i, -N)]` for i from
 * 0 to 3, and `[(4, +1), (4, -1, UNDO)]`.
 *
 * @example
 * ```ts
 * import { Barrier } from "@sysv/ipc/sync";
 *
 * using barrier = Barrier.create({ parties: 2 });
 * using one = barrier.join();
 * using other = barrier.join();
 * for (let round = 0; round < 3; round++) await Promise.all([one.wait(), other.wait()]);
 * ```
 */
export class Barrier implements Disposable {
  /** How many parties there are. */
  readonly parties: number;
  /** What becomes of the barrier when a party dies. */
  readonly onDeath: "break" | "shrink";
  readonly #structure: Structure;

  /** Makes a barrier of semaphores that start with 0, 0, 0, the number of parties and 0. */
  constructor(array: SemaphoreArray, options: BarrierOptions) {
    const { parties, onDeath = "break" } = options;
    checkOptions(options);
    this.#structure = new Structure(array, kind);
    this.parties = parties;
    this.onDeath = onDeath;
  }

  /** Creates a barrier. Disposing the handle removes it, unless `owner` is false. */
  static create(options: BarrierCreateOptions): Barrier {
    checkOptions(options);
    const values = protocol.values(options.parties);
    return new Barrier(SemaphoreSet.create({ ...options, values, kind }), options);
  }

  /** Opens a barrier that exists. */
  static open(key: Key, options: BarrierOptions): Barrier {
    return new Barrier(SemaphoreSet.open(key, { kind }), options);
  }

  /** Opens a barrier, or creates it, safely against every race and crash. */
  static openOrCreate(key: Key, options: BarrierOpenOrCreateOptions): Barrier {
    checkOptions(options);
    const values = protocol.values(options.parties);
    return new Barrier(SemaphoreSet.openOrCreate(key, { ...options, values, kind }), options);
  }

  /** Takes the identifier of a barrier that another process made. */
  static fromId(id: number, options: BarrierOptions): Barrier {
    return new Barrier(SemaphoreSet.fromId(id, { kind }), options);
  }

  /** The identifier, by which other processes of this machine can take it. */
  get id(): number {
    return this.#structure.set.id;
  }

  /** The key, undefined for a private barrier. */
  get key(): number | undefined {
    return this.#structure.set.key;
  }

  /** Whether a party has died and death breaks it. */
  get isBroken(): boolean {
    return this.#structure.set.values[protocol.broken] !== 0;
  }

  /**
   * Joins as one of the parties; never waits. The first round begins when all have joined.
   *
   * @returns The party, to leave with `using`.
   * @throws {IpcError} EBUSY if as many have joined as there are parties, ERANGE if this process is too
   * many of them for the kernel to undo, EIDRM if the barrier is removed.
   * @throws {BrokenBarrierError} If a party has died and death breaks the barrier.
   */
  join(): BarrierParty {
    const { set } = this.#structure;
    const undone = this.onDeath === "shrink";
    const step = [...protocol.join(undone), ...(undone ? [] : protocol.arm(this.parties))];
    if (set.tryOperate(step)) return new BarrierParty(this.#structure, undone, this.parties);
    if (this.isBroken) throw broken();
    const message = `Cannot join the barrier as all its ${this.parties} parties have`;
    throw new IpcError(message, errors.EBUSY, { syscall: "semop", id: set.id, key: set.key });
  }

  /** Removes the barrier, now: whoever waits gets EIDRM. */
  remove(): void {
    this.#structure.array.remove();
  }

  /** Ends the handle, and removes the barrier if the handle owns it. */
  [Symbol.dispose](): void {
    this.#structure.dispose();
  }
}

/** Checked before anything is made. */
function checkOptions({ parties, onDeath = "break" }: BarrierOptions): void {
  checkInteger(parties, 1, 16383, `make a barrier for ${parties} parties`);
  checkWord(onDeath, ["break", "shrink"], "onDeath");
}
