/**
 * A lock of a structure, as one handle takes it.
 *
 * @module
 */

import { IpcError } from "../ffi/error.ts";
import type { TimeoutOptions, WaitOptions } from "../wait/options.ts";
import { type Flow, remaining } from "./flow.ts";
import { type Gate, type Lock, ownerOf, WAKE } from "./layout.ts";
import type { Members } from "./members.ts";
import { REFUSED } from "./protocol.ts";
import { Line } from "./sleepers.ts";
import { SPINS } from "./spin.ts";

/** Takes and gives back the lock of a structure whose operations are short. */
export class Port {
  readonly #members: Members;
  readonly #lock: Lock;
  readonly #words: Int32Array;
  readonly #line = new Line();

  /** Makes a port of a lock. */
  constructor(members: Members, lock: Lock) {
    this.#members = members;
    this.#lock = lock;
    this.#words = members.words;
  }

  /** Takes the lock if it is free and clean, looking for a while: the fast path. */
  tryTake(): boolean {
    const me = this.#members.seat.place;
    if (me === 0) return false;
    const { word } = this.#lock;
    if (Atomics.compareExchange(this.#words, word, 0, me) === 0) return true;
    for (let i = 0; i < SPINS; i++) {
      const seen = Atomics.load(this.#words, word);
      if (ownerOf(seen) !== 0) continue;
      if ((seen & ~WAKE) !== 0) return false;
      if (Atomics.compareExchange(this.#words, word, seen, seen | me) === seen) return true;
    }
    return false;
  }

  /** Takes the lock, blocking the thread, and returns how many of its holders have died. */
  takeSync(action: string, options?: TimeoutOptions): number {
    const members = this.#members;
    if (this.tryTake()) return 0;
    const rest = remaining(options ?? {});
    members.enterSync(rest());
    if (members.isHere(ownerOf(Atomics.load(this.#words, this.#lock.word)))) {
      throw members.error("EDEADLK", action, "this thread is just updating it: end that first");
    }
    const flow = members.protocol.lock(this.#lock, members.seat.place);
    return this.#accept(members.driveSync(flow, action, rest()), action);
  }

  /** The same for what has to be done, whatever signals come. */
  takeAnyway(action: string): number {
    for (;;) {
      try {
        return this.takeSync(action);
      } catch (error) {
        if (!(error instanceof IpcError && error.code === "EINTR")) throw error;
      }
    }
  }

  /**
   * Takes the lock in a promise, in the order of the calls, and works with it in the same turn: nothing
   * else of this thread runs in between, which would find the lock taken. The work gives it back.
   */
  async perform<Result>(
    action: string,
    { timeout, signal }: WaitOptions,
    work: (deaths: number) => Result,
  ): Promise<Result> {
    signal?.throwIfAborted();
    if (!this.#line.taken && this.tryTake()) return work(0);
    const members = this.#members;
    const rest = remaining({ timeout, signal });
    const flow = () => this.#lockAnd(action, work);
    const perform = () => members.drive(flow, action, rest());
    return await members.inLine(this.#line, action, { timeout, signal }, perform);
  }

  *#lockAnd<Result>(action: string, work: (deaths: number) => Result): Flow<Result> {
    const { protocol, seat } = this.#members;
    return work(this.#accept(yield* protocol.lock(this.#lock, seat.place), action));
  }

  /** Takes the lock as one who may have been woken at a gate, and returns how many of its holders have died. */
  *take(action: string, gate: Gate): Flow<number> {
    const { protocol, seat } = this.#members;
    return this.#accept(yield* protocol.lockFor(gate, this.#lock, seat.place), action);
  }

  #accept(deaths: number, action: string): number {
    if (deaths !== REFUSED) return deaths;
    throw this.#members.error("EIDRM", action);
  }

  /** Gives the lock back. */
  release(): void {
    const { word } = this.#lock;
    const me = this.#members.seat.place;
    if (me === 0 || Atomics.compareExchange(this.#words, word, me, 0) === me) return;
    this.#members.unlock(this.#lock);
  }
}
