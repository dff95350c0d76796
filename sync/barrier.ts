/**
 * Parties that wait for each other, round after round: {@linkcode Barrier}.
 *
 * @module
 */

import { checkInteger, checkWord } from "../ffi/check.ts";
import { checkTimeout, type TimeoutOptions, type WaitOptions } from "../wait/options.ts";
import { errorOf } from "../ipc/error_of.ts";
import type { Key } from "../ipc/key.ts";
import type { CreateOptions, OpenOrCreateOptions } from "../ipc/object.ts";
import { SemaphoreSet } from "../ipc/semaphore_set.ts";
import type { SemaphoreArray } from "./array.ts";
import { barrier as protocol, type Step } from "./protocols.ts";
import { type Guard, ignoreRemoval, isRemoved, Structure } from "./structure.ts";

/** What becomes of a barrier when a party dies. */
export interface BarrierDeathOptions {
  /**
   * `"break"`: nobody waits at it any more, and all who do are told. `"shrink"`: the others go on
   * without it. All have to say the same.
   *
   * @default {"break"}
   */
  onDeath?: "break" | "shrink" | undefined;
}

/** What a barrier is for. */
export interface BarrierOptions extends BarrierDeathOptions {
  /**
   * How many parties there are, from 1 to 16383. If death breaks the barrier, the kernel's limit of
   * 32768 to undo lets one process be 32768 / parties of them.
   */
  parties: number;
}

/** Options of {@linkcode Barrier.open} and {@linkcode Barrier.fromId}. */
export interface BarrierOpenOptions extends BarrierDeathOptions {
  /**
   * How many parties there have to be.
   *
   * @default {undefined} As many as it was made for.
   */
  parties?: number | undefined;
}

/** Options of {@linkcode Barrier.create}. */
export interface BarrierCreateOptions extends CreateOptions, BarrierOptions {}

/** Options of {@linkcode Barrier.openOrCreate}. */
export interface BarrierOpenOrCreateOptions extends OpenOrCreateOptions, BarrierOptions {}

const kind = "barrier";

/**
 * A party that dies breaks the barrier of the others: what their waits reject with.
 *
 * @example
 * ```ts
 * import { BrokenBarrierError } from "@sysv/ipc/sync";
 * import { assertEquals } from "@std/assert";
 *
 * const error: Error = new BrokenBarrierError("Cannot wait at the barrier as a party has died");
 * assertEquals(error.name, "BrokenBarrierError");
 * ```
 */
export class BrokenBarrierError extends Error {
  /** The name of the class. */
  override readonly name = "BrokenBarrierError";
}

/**
 * A party to a {@linkcode Barrier}. It waits once at a time, and leaves when it is disposed: the
 * others then go on without it.
 *
 * @example
 * ```ts
 * import { Barrier } from "@sysv/ipc/sync";
 * import { assertEquals } from "@std/assert";
 *
 * using barrier = Barrier.create({ parties: 2 });
 * using one = barrier.join();
 * {
 *   using _other = barrier.join();
 *   assertEquals(one.tryWait(), false); // the other has not arrived
 * }
 * assertEquals(one.tryWait(), true); // it has left
 * ```
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

  /**
   * Creates a party that has joined.
   *
   * @param structure The semaphores.
   * @param undone Whether the barrier shrinks.
   * @param parties How many parties there are.
   */
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
   * @throws {ReferenceError} If the party has left.
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
   * @throws {IpcError} EIDRM if it is removed.
   * @throws {ReferenceError} If the party has left.
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

  /**
   * Leaves: the others go on without it, and a wait as this party rejects with a ReferenceError. Works
   * after the handle of the barrier is disposed. Does nothing the second time, nor once the barrier is
   * removed.
   */
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
      // Once it has left it has no token: what moved would be another's.
      if (this.#leaving.signal.aborted) throw left();
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
 *   who wait are told, or shrinks, so that the others go on without it. One that is broken stays so
 *   until it is removed.
 * - **Rounds:** who is let go can wait again at once; nobody slips through two rounds.
 * - **Runs:** the place of a party that has left or died stays taken as long as another is in. When
 *   none is, all places are free again: who joins then begins anew, and waits for as many others.
 * - **Threads:** a party belongs to its process.
 *
 * Layout, for N parties: semaphores 0, 1 and 2 hold the tokens of three rounds that can be told
 * apart, 3 counts the places that are left, 4 is above 0 once the barrier is broken, and 5 is N.
 * Each party has one token, and remembers its round r, at first 0. Rounds are counted modulo 3.
 *
 * Each of the following is one semop. If the barrier shrinks, the operations marked * are done with
 * UNDO, else without. All but the wait are done with NOWAIT.
 *
 * - **Join:** read all values. If 0, 1 and 2 are 0, and 3 is p: `[(0, 0), (1, 0), (2, 0), (3, -p), (3, 0),
 *   (3, N - 1), (4, 0), (0, +1)*]`, where what would add 0 is left out. Else, if 3 is not 0, and c is
 *   one of the first three that is not: `[(c, -1), (c, +1), (3, -1), (4, 0), (0, +1)*]`. On EAGAIN the
 *   barrier is broken, if 4 is not 0, or the values have changed: begin again.
 * - **Arm:** if the barrier breaks, joining goes on, in the same semop, with `(i, +N, UNDO), (i, -N)` for
 *   each i from 0 to 3, and `(4, +1), (4, -1, UNDO)`. That changes nothing, but at the death of the
 *   process the kernel sets 0 to 3 to 0, and adds to 4.
 * - **Wait:** arrive by `[(4, 0), (r, -1)*, (r + 1, +1)*]`, where EAGAIN says that the barrier is
 *   broken, and wait by `[(3, 0), (r, 0)]`. Then 4 tells whether it was broken; if not, the next
 *   round is r + 1.
 * - **Give up a wait:** take the token back by `[(3, -1), (3, +1), (r + 1, -1)*, (r, +1)*]` or, on EAGAIN, by
 *   `[(r, -1), (r, +1), (r + 1, -1)*, (r, +1)*]`; on EAGAIN again the round is complete.
 * - **Leave:** `(t, -1)*`, where the token is in t: r, or r + 1 while it waits.
 * - **Disarm:** if the barrier breaks, leaving goes on, in the same semop, with `(i, +N), (i, -N, UNDO)` for
 *   each i from 0 to 3, and `(4, +1, UNDO), (4, -1)`.
 *
 * @example
 * ```ts
 * import { Barrier } from "@sysv/ipc/sync";
 * import { assertEquals } from "@std/assert";
 *
 * using barrier = Barrier.create({ parties: 2 });
 * using one = barrier.join();
 * using other = barrier.join();
 * const done: string[] = [];
 * for (const round of ["first", "second"]) {
 *   await Promise.all([one.wait(), other.wait()]);
 *   done.push(round);
 * }
 * assertEquals([done, barrier.isBroken], [["first", "second"], false]);
 * ```
 */
export class Barrier implements Disposable {
  /** How many parties there are. */
  readonly parties: number;
  /** What becomes of the barrier when a party dies. */
  readonly onDeath: "break" | "shrink";
  readonly #structure: Structure;

  /**
   * Makes a barrier of semaphores that start with 0, 0, 0, the number of parties, 0, and the number of
   * parties.
   *
   * @param array The semaphores: with those of another engine than the kernel, nobody can join.
   * @param options How many parties there are, and what becomes of it when one dies.
   * @throws {IpcError} EINVAL if the semaphores are for another number of parties.
   */
  constructor(array: SemaphoreArray, options: BarrierOpenOptions = {}) {
    checkOptions(options);
    const { parties, onDeath = "break" } = options;
    this.parties = array instanceof SemaphoreSet
      ? partiesOf(array, parties)
      : checkParties(parties);
    this.onDeath = onDeath;
    this.#structure = new Structure(array, kind);
  }

  /**
   * Creates a barrier. Disposing the handle removes it, unless `owner` is false.
   *
   * @param options How many parties there are, what becomes of it when one dies, the key, the mode, and
   * who owns it.
   * @returns A handle to a barrier that nobody has joined.
   * @throws {IpcError} EEXIST if the key is taken, ENOSPC if a limit of the system is reached.
   */
  static create(options: BarrierCreateOptions): Barrier {
    checkOptions(options);
    const values = protocol.values(checkParties(options.parties));
    return new Barrier(SemaphoreSet.create({ ...options, values, kind }), options);
  }

  /**
   * Opens a barrier that exists.
   *
   * @param key The key or name.
   * @param options How many parties there have to be, and what becomes of it when one dies.
   * @returns A handle that does not own it.
   * @throws {IpcError} ENOENT if there is none, EINVAL if it is something else or for another number of
   * parties, EACCES if its mode does not permit reading, EAGAIN if its creator has not finished it:
   * `openOrCreate` does.
   */
  static open(key: Key, options: BarrierOpenOptions = {}): Barrier {
    checkOptions(options);
    return new Barrier(SemaphoreSet.open(key, { kind }), options);
  }

  /**
   * Opens a barrier, or creates it, safely against every race and crash.
   *
   * @param key The key or name.
   * @param options How many parties there are, what becomes of it when one dies, the mode to create it
   * with, and whether that of another user will do.
   * @returns A handle that does not own it.
   * @throws {IpcError} EPERM if another user made it, EINVAL if it is something else or for another
   * number of parties, EACCES, ENOSPC.
   */
  static openOrCreate(key: Key, options: BarrierOpenOrCreateOptions): Barrier {
    checkOptions(options);
    const values = protocol.values(checkParties(options.parties));
    for (;;) {
      const set = SemaphoreSet.openOrCreate(key, { ...options, values, kind });
      try {
        return new Barrier(set, options);
      } catch (error) {
        ignoreRemoval(error);
      }
    }
  }

  /**
   * Takes the identifier of a barrier that another process made.
   *
   * @param id The identifier.
   * @param options How many parties there have to be, and what becomes of it when one dies.
   * @returns A handle that does not own it.
   * @throws {IpcError} EIDRM if there is none, EINVAL if it is something else or for another number of
   * parties, EACCES if its mode does not permit reading.
   */
  static fromId(id: number, options: BarrierOpenOptions = {}): Barrier {
    checkOptions(options);
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

  /** Whether a party has died and death breaks it: it stays so until it is removed. */
  get isBroken(): boolean {
    return this.#structure.set.values[protocol.broken] !== 0;
  }

  /**
   * Joins as one of the parties; never waits. The first round begins when all have joined.
   *
   * @returns The party, to leave with `using`.
   * @throws {IpcError} EBUSY if as many have joined as there are parties, and one is still in; ERANGE if
   * this process is too many of them for the kernel to undo; EIDRM if the barrier is removed.
   * @throws {BrokenBarrierError} If a party has died and death breaks the barrier.
   */
  join(): BarrierParty {
    const { set } = this.#structure;
    const undone = this.onDeath === "shrink";
    const arm = undone ? [] : protocol.arm(this.parties);
    for (;;) {
      const { values } = set;
      if (values[protocol.broken] !== 0) throw broken();
      const step = protocol.join(values, undone);
      if (step === undefined) {
        const message = `Cannot join the barrier as all its ${this.parties} parties have`;
        throw errorOf("EBUSY", message, { syscall: "semop", id: set.id, key: set.key });
      }
      if (set.tryOperate([...step, ...arm])) {
        return new BarrierParty(this.#structure, undone, this.parties);
      }
    }
  }

  /**
   * Removes the barrier, now: whoever waits gets EIDRM.
   *
   * @throws {IpcError} EPERM if this process is neither owner nor creator nor privileged, EIDRM if it
   * is removed already.
   */
  remove(): void {
    this.#structure.remove();
  }

  /** Ends the handle, and removes the barrier if the handle owns it. A party stays one. */
  [Symbol.dispose](): void {
    this.#structure.dispose();
  }
}

/** Checked before anything is made or opened. */
function checkOptions({ parties, onDeath = "break" }: BarrierOpenOptions): void {
  if (parties !== undefined) checkParties(parties);
  checkWord(onDeath, ["break", "shrink"], "onDeath");
}

function checkParties(parties: number | undefined): number {
  checkInteger(parties!, 1, 16383, `make a barrier for ${parties} parties`);
  return parties!;
}

/** How many parties a set is for. */
function partiesOf({ id, key, values }: SemaphoreSet, wanted: number | undefined): number {
  const parties = checkParties(values[protocol.parties]);
  if (wanted === undefined || wanted === parties) return parties;
  const message = `Cannot open the barrier as it is for ${parties} parties, not ${wanted}`;
  throw errorOf("EINVAL", message, { syscall: "semget", id, key });
}
