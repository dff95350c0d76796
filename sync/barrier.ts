/**
 * Parties that wait for each other, round after round: {@linkcode Barrier}.
 *
 * @module
 */

import { checkInteger, checkOptions, checkWord } from "../ffi/check.ts";
import { readWaitOptions, type TimeoutOptions, type WaitOptions } from "../wait/options.ts";
import { ipcError } from "../ffi/error.ts";
import { onUnload } from "../wait/unload.ts";
import { checkInternal, internal } from "../ipc/internal.ts";
import type { Key } from "../ipc/key.ts";
import type { CreateOptions, OpenOrCreateOptions } from "../ipc/object.ts";
import { SemaphoreSet } from "../ipc/semaphore_set.ts";
import type { Action } from "../ipc/steps.ts";
import type { SemaphoreArray } from "./array.ts";
import { Engine, ignoreRemoval } from "./engine.ts";
import { limitsOf, run, runSync } from "./flow.ts";
import * as flows from "./flows/barrier.ts";
import { Primitive, showPrimitive } from "./primitive.ts";
import { barrier as protocol } from "./protocols.ts";

/** What a barrier does when a party dies. */
export interface BarrierDeathOptions {
  /**
   * `"break"`: all waits, pending and later ones, reject with {@linkcode BrokenBarrierError}. `"shrink"`:
   * the others go on without the dead party. All handles must use the same.
   *
   * @default {"break"}
   */
  onDeath?: "break" | "shrink" | undefined;
}

/** The number of parties of a barrier. */
export interface BarrierOptions extends BarrierDeathOptions {
  /**
   * The number of parties, from 1 to 16383. If death breaks the barrier, one process can join 32768 / parties
   * times: the kernel's undo of a process is limited to 32768.
   */
  parties: number;
}

/** Options of {@linkcode Barrier.open} and {@linkcode Barrier.fromId}. */
export interface BarrierOpenOptions extends BarrierDeathOptions {
  /**
   * The number of parties that the barrier must have.
   *
   * @default {undefined} Any number.
   */
  parties?: number | undefined;
}

/** Options of {@linkcode Barrier.create}. */
export interface BarrierCreateOptions extends CreateOptions, BarrierOptions {}

/** Options of {@linkcode Barrier.openOrCreate}. */
export interface BarrierOpenOrCreateOptions extends OpenOrCreateOptions, BarrierOptions {}

const kind = "barrier";
const join: Action = (name) => `join ${name}`;
const wait: Action = (name) => `wait at ${name}`;
const leave: Action = (name) => `leave ${name}`;

/**
 * Waits at a barrier reject with it when a party has died.
 *
 * @example
 * ```ts
 * import { BrokenBarrierError } from "@sysv/ipc/sync";
 * import { assertEquals } from "@std/assert";
 *
 * const error: Error = new BrokenBarrierError("Cannot wait at barrier 7: a party has died");
 * assertEquals(error.name, "BrokenBarrierError");
 * ```
 */
export class BrokenBarrierError extends Error {
  /** The name of the class. */
  override readonly name = "BrokenBarrierError";
}

/**
 * A party of a {@linkcode Barrier}. It has one wait at a time, and leaves when it is disposed: the others
 * then go on without it.
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
  readonly #engine: Engine;
  readonly #rule: flows.Rule;
  readonly #party = flows.newParty();
  #waiting = false;
  readonly #leaving = new AbortController();
  #lost: AbortController | undefined;
  /** Those that have not left: a program that ends abandons them. */
  static readonly #present = new Set<BarrierParty>();
  static #listening = false;

  /** @ignore */
  constructor(token: symbol, engine: Engine, rule: flows.Rule) {
    checkInternal(token, "barrier.join()");
    this.#engine = engine;
    this.#rule = rule;
    engine.local.parties.add(this.#party);
    BarrierParty.#present.add(this);
    if (BarrierParty.#listening) return;
    BarrierParty.#listening = true;
    onUnload(() => BarrierParty.#abandonAll());
  }

  /**
   * Fires when the barrier is removed before this party leaves, within about 50 ms. It costs nothing
   * before it is asked for, and keeps no program alive.
   */
  get lost(): AbortSignal {
    if (this.#lost === undefined) {
      this.#lost = new AbortController();
      if (!this.#party.left) this.#engine.local.watch.add(this.#engine, this.#lost);
    }
    return this.#lost.signal;
  }

  /**
   * Arrives, and waits until all parties have.
   *
   * @param options The signal and the timeout.
   * @returns A promise that rejects with {@linkcode BrokenBarrierError} if a party has died and death
   * breaks the barrier; with the reason of the signal, or with a DOMException "TimeoutError" if the
   * timeout expires: then this party has not arrived, and can wait again; with a ReferenceError if it
   * leaves; with IpcError EIDRM if the barrier is removed.
   */
  async wait(options?: WaitOptions): Promise<void> {
    const limits = limitsOf(options);
    const left = this.#leaving.signal;
    const signal = limits.signal === undefined ? left : AbortSignal.any([limits.signal, left]);
    this.#begin();
    const flow = flows.wait(protocol, this.#rule, this.#party);
    try {
      this.#end(await run(this.#engine, flow, wait, { timeout: limits.timeout, signal }));
    } finally {
      this.#waiting = false;
    }
  }

  /**
   * Arrives, and blocks the thread until all parties have.
   *
   * @param options The timeout.
   * @throws {BrokenBarrierError} If a party has died and death breaks the barrier.
   * @throws {DOMException} "TimeoutError" if the timeout expires: this party has not arrived then.
   * @throws {IpcError} EDEADLK if there is no timeout and another party of this thread has not arrived;
   * EINTR if the program handled a signal (it has not arrived), EIDRM if it is removed.
   * @throws {ReferenceError} If the party has left.
   */
  waitSync(options?: TimeoutOptions): void {
    const limits = readWaitOptions(options);
    if (limits.timeout === Infinity && this.#waitsForThread && !this.#party.left) {
      if (this.tryWait()) return;
      const reason =
        "another party of this thread has not arrived: have it wait in a promise first";
      throw this.#engine.error("EDEADLK", wait, reason);
    }
    this.#begin();
    const flow = flows.wait(protocol, this.#rule, this.#party);
    try {
      this.#end(runSync(this.#engine, flow, wait, limits));
    } finally {
      this.#waiting = false;
    }
  }

  /**
   * Arrives if this party is the last one of the round; never waits.
   *
   * @returns Whether it arrived, and the round is complete.
   * @throws {BrokenBarrierError} If a party has died and death breaks the barrier.
   * @throws {IpcError} EIDRM if it is removed.
   * @throws {ReferenceError} If the party has left.
   */
  tryWait(): boolean {
    this.#begin();
    this.#waiting = false;
    return this.#end(runSync(this.#engine, flows.tryWait(protocol, this.#rule, this.#party), wait));
  }

  /**
   * Leaves: the others go on without it, and a pending wait of this party rejects with a ReferenceError. Works
   * after the handle of the barrier is disposed. Does nothing the second time, nor once the barrier is
   * removed.
   */
  leave(): void {
    if (this.#party.left) return;
    try {
      runSync(this.#engine, flows.leave(protocol, this.#rule, this.#party), leave);
    } catch (error) {
      ignoreRemoval(error);
      this.#party.left = true;
    }
    this.#engine.local.parties.delete(this.#party);
    BarrierParty.#present.delete(this);
    if (this.#lost !== undefined) this.#engine.local.watch.delete(this.#lost);
    this.#leaving.abort(this.#hasLeft());
  }

  /** Leaves, so that `using` does. */
  [Symbol.dispose](): void {
    this.leave();
  }

  static #abandonAll(): void {
    for (const party of BarrierParty.#present) {
      try {
        runSync(party.#engine, flows.abandon(protocol, party.#rule, party.#party), leave);
      } catch {
        // It is removed, or may not be used any more: the program ends anyway.
      }
    }
    BarrierParty.#present.clear();
  }

  /** Whether another party of this thread has still to arrive, which it cannot while the thread is blocked. */
  get #waitsForThread(): boolean {
    const { round } = this.#party;
    const parties = [...this.#engine.local.parties];
    return parties.some((other) =>
      other !== this.#party && other.round === round && other.token === round
    );
  }

  /** Begins to wait, once at a time. */
  #begin(): void {
    if (this.#party.left) throw this.#hasLeft();
    if (this.#waiting) {
      throw new TypeError("Cannot wait twice at once as one party: join once more");
    }
    this.#waiting = true;
  }

  /** Returns whether the round is over, and throws if that is because the barrier is broken. */
  #end(outcome: "passed" | "missing" | "broken"): boolean {
    if (outcome === "broken") throw broken(this.#engine, wait);
    return outcome === "passed";
  }

  #hasLeft(): ReferenceError {
    return new ReferenceError(`Cannot ${wait(this.#engine.name)}: the party has left`);
  }
}

function broken(engine: Engine, action: Action): BrokenBarrierError {
  return new BrokenBarrierError(`Cannot ${action(engine.name)}: a party has died`);
}

/**
 * A barrier at which a number of parties wait for each other, round after round.
 *
 * - **Death:** the death of a party, even by SIGKILL, breaks the barrier at once, and all waits reject; or
 *   shrinks it, and the others go on without it. A broken barrier stays broken until it is removed.
 * - **Rounds:** a party can wait again as soon as its wait has ended; none slips through two rounds.
 * - **Runs:** the place of a party that left or died stays taken as long as another party is in. When none is,
 *   all places are free again: the next party to join begins a new run, and waits for all the others.
 * - **Threads:** a party belongs to its process.
 *
 * Layout, for N parties: semaphores 0, 1 and 2 hold the tokens of three successive rounds, 3 counts the places
 * that are left, 4 is above 0 once the barrier is broken, and 5 is N.
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
 *   broken, and wait by `[(3, 0), (r, 0)]`. Then 4 is above 0 if it was broken; if not, the next
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
export class Barrier extends Primitive {
  /** The number of parties. */
  readonly parties: number;
  /** What the barrier does when a party dies. */
  readonly onDeath: "break" | "shrink";
  readonly #engine: Engine;

  /**
   * Makes a barrier of semaphores that start with 0, 0, 0, the number of parties, 0, and the number of
   * parties.
   *
   * @param array The semaphores: if they are not in the kernel, no party can join.
   * @param options The number of parties, and what the barrier does when one dies.
   * @throws {IpcError} EINVAL if the semaphores are for another number of parties.
   */
  constructor(array: SemaphoreArray, options: BarrierOpenOptions = {}) {
    checkBarrier(options);
    const { parties, onDeath = "break" } = options;
    const all = array instanceof SemaphoreSet ? partiesOf(array, parties) : checkParties(parties);
    const engine = new Engine(array, kind);
    super(internal, engine);
    this.#engine = engine;
    this.parties = all;
    this.onDeath = onDeath;
  }

  /**
   * Creates a barrier. Disposing the handle removes it, unless `owner` is false.
   *
   * @param options The number of parties, what the barrier does when one dies, the key, the mode, and
   * whether the handle owns it.
   * @returns A handle to a barrier without parties.
   * @throws {IpcError} EEXIST if the key is taken, ENOSPC if a limit of the system is reached.
   */
  static create(options: BarrierCreateOptions): Barrier {
    checkBarrier(options);
    const values = protocol.values(checkParties(options.parties));
    return new Barrier(SemaphoreSet.create({ ...options, values, kind }), options);
  }

  /**
   * Opens a barrier that exists.
   *
   * @param key The key or name.
   * @param options The number of parties that it must have, and what it does when one dies.
   * @returns A handle that does not own it.
   * @throws {IpcError} ENOENT if there is none, EINVAL if it is something else or for another number of
   * parties, EACCES if its mode does not permit reading, EAGAIN if its creator has not finished it:
   * `openOrCreate` does.
   */
  static open(key: Key, options: BarrierOpenOptions = {}): Barrier {
    checkBarrier(options);
    return new Barrier(SemaphoreSet.open(key, { kind }), options);
  }

  /**
   * Opens a barrier, or creates it, safely against every race and crash.
   *
   * @param key The key or name.
   * @param options The number of parties, what the barrier does when one dies, the mode to create it with, and whether to accept one of another user.
   * @returns A handle that does not own it.
   * @throws {IpcError} EPERM if another user created it, EINVAL if it is something else or for another
   * number of parties, EACCES, ENOSPC.
   */
  static openOrCreate(key: Key, options: BarrierOpenOrCreateOptions): Barrier {
    checkBarrier(options);
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
   * Takes a barrier by the identifier that another process passed.
   *
   * @param id The identifier.
   * @param options The number of parties that it must have, and what it does when one dies.
   * @returns A handle that does not own it.
   * @throws {IpcError} EIDRM if there is none, EINVAL if it is something else or for another number of
   * parties, EACCES if its mode does not permit reading.
   */
  static fromId(id: number, options: BarrierOpenOptions = {}): Barrier {
    checkBarrier(options);
    return new Barrier(SemaphoreSet.fromId(id, { kind }), options);
  }

  static {
    showPrimitive(
      "Barrier",
      this.prototype,
      (barrier) => ({ parties: barrier.parties, isBroken: () => barrier.isBroken }),
    );
  }

  /** Whether a party has died and death breaks the barrier: it stays broken until it is removed. */
  get isBroken(): boolean {
    return this.#engine.readSync()[protocol.broken] !== 0;
  }

  /**
   * Joins as one of the parties; never waits. The first round begins when all have joined.
   *
   * @returns The party, to leave with `using`.
   * @throws {IpcError} EBUSY if all parties have joined, and one is still in; ERANGE if this process is too
   * many of them for the kernel's undo; EIDRM if the barrier is removed.
   * @throws {BrokenBarrierError} If a party has died and death breaks the barrier.
   */
  join(): BarrierParty {
    const engine = this.#engine;
    const rule = { shrinks: this.onDeath === "shrink", parties: this.parties };
    const outcome = runSync(engine, flows.join(protocol, rule), join);
    if (outcome === "broken") throw broken(engine, join);
    if (outcome === "full") {
      throw engine.error("EBUSY", join, `all ${this.parties} parties have joined`);
    }
    return new BarrierParty(internal, engine, rule);
  }
}

/** Checked before anything is made or opened. */
function checkBarrier(options: BarrierOpenOptions): void {
  checkOptions(options);
  const { parties, onDeath = "break" } = options;
  if (parties !== undefined) checkParties(parties);
  checkWord(onDeath, ["break", "shrink"], "onDeath");
}

function checkParties(parties: number | undefined): number {
  checkInteger(parties!, 1, 16383, `make a barrier for ${parties} parties`);
  return parties!;
}

/** Returns the number of parties of a set. */
function partiesOf(set: SemaphoreSet, wanted: number | undefined): number {
  const parties = checkParties(set.values[protocol.parties]);
  if (wanted === undefined || wanted === parties) return parties;
  throw ipcError("EINVAL", `open ${set}`, {
    syscall: "semget",
    id: set.id,
    key: set.key,
    reason: `it is for ${parties} parties, not ${wanted}`,
  });
}
