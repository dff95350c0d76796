/**
 * A place in a structure, as one handle has it: what flows ask of memory and semaphores is done here.
 *
 * @module
 */

import { IpcError } from "../ffi/error.ts";
import type { SemaphoreSet } from "../ipc/semaphore_set.ts";
import type { TimeoutOptions, WaitOptions } from "../wait/options.ts";
import { type Answer, type Immediate, run, runSync, type Target, type Waiting } from "./flow.ts";
import type { Protocol } from "./protocol.ts";
import { Sleepers } from "./sleepers.ts";
import type { Unlocking } from "./unlock.ts";
import type { Step } from "../sync/protocols.ts";

/** What a seat needs of its structure. */
export interface Floor {
  readonly words: Int32Array;
  readonly semaphores: SemaphoreSet;
  readonly protocol: Protocol;
  /** Throws once the handle is disposed. */
  check(): void;
  /** Makes the error of a structure that has no place left. */
  full(): Error;
  /** Is called before a thread that blocks marks itself at a gate. */
  hush(gate: number): void;
}

/**
 * A place and its bell. A handle has one for what blocks the thread, and takes another as soon as a
 * promise sleeps: a blocked thread could not run what a ring for a promise is meant for.
 */
export class Seat implements Target, Unlocking {
  /** The number of the place, 0 for none yet. */
  place = 0;
  /** Is called with each place that it takes. */
  onSit: (place: number) => void = () => {};
  readonly #floor: Floor;
  readonly #blocks: boolean;
  /** The promises that sleep on the bell. */
  readonly #sleepers = new Sleepers();
  #joining: Promise<void> | undefined;
  /** Ends the wait for the bell, while there is one. */
  #listening: AbortController | undefined;

  /** Makes a seat without a place, for what blocks the thread or for promises. */
  constructor(floor: Floor, blocks: boolean) {
    this.#floor = floor;
    this.#blocks = blocks;
  }

  get words(): Int32Array {
    return this.#floor.words;
  }

  /** Takes a place, blocking the thread as long as somebody settles an inheritance. */
  joinSync(options?: TimeoutOptions): void {
    if (this.place === 0) this.#sit(runSync(this, this.#join(), options));
  }

  /** The same in a promise. */
  join(options?: WaitOptions): Promise<void> {
    const join = async () => this.#sit(await run(this, this.#join(), options));
    return this.#joining ??= join().finally(() => this.#joining = undefined);
  }

  #sit(place: number): void {
    if (place === 0) throw this.#floor.full();
    this.onSit(place);
  }

  *#join() {
    const { protocol } = this.#floor;
    const place = yield* protocol.take((Math.random() * protocol.places) | 0);
    // Marks and rings are of this place from here on.
    this.place = place;
    if (place !== 0) yield* protocol.settle(place);
    return place;
  }

  /** Frees what is held, and gives the place back. */
  leave(): void {
    const { protocol, semaphores } = this.#floor;
    if (this.place === 0) return;
    runSync(this, protocol.settle(this.place));
    semaphores.tryOperate(protocol.leave(this.place));
    this.place = 0;
  }

  /** Has every promise that sleeps look again. */
  rouse(): void {
    this.#sleepers.wakeAll();
  }

  /** Takes the mark of sleeping promises away, and returns whether there are any. */
  hush(gate: number): boolean {
    if (!this.#sleepers.has(gate)) return false;
    this.#clearMark(gate);
    return true;
  }

  answer(request: Immediate): Answer {
    const { words, semaphores } = this.#floor;
    this.#floor.check();
    switch (request.ask) {
      case "load": {
        const word = Atomics.load(words, request.word);
        return request.see?.(word) ?? word;
      }
      case "compareExchange":
        return replace(words, request.word, request.from, request.to);
      case "or":
        Atomics.or(words, request.word, request.bits);
        return true;
      case "and":
        Atomics.and(words, request.word, request.bits);
        return true;
      case "take":
        return Atomics.exchange(words, request.word, 0);
      case "mark":
        if (this.#blocks) this.#floor.hush(request.gate);
        this.#setMark(request.gate);
        return true;
      case "unmark":
        return this.#unmark(request.gate);
      case "try":
        return semaphores.tryOperate(request.step);
      case "ring":
      case "give back":
        return this.ring(request.step);
      case "read":
        return request.see(semaphores.values) as Answer;
      case "loop":
      case "turn":
        return true;
    }
  }

  waitSync(request: Waiting, options: TimeoutOptions): void {
    const { semaphores, protocol } = this.#floor;
    this.#floor.check();
    const step = request.ask === "wait" ? request.step : protocol.sleep(this.place);
    semaphores.operateSync(step, options);
  }

  wait(request: Waiting, options: WaitOptions): Promise<void> {
    this.#floor.check();
    if (request.ask === "wait") return this.#floor.semaphores.operate(request.step, options);
    const sleep = this.#sleepers.add(options, request.gate, () => this.#listenNoMore());
    if (this.#listening === undefined) void this.#listen();
    return sleep;
  }

  /** Waits for the bell as long as a promise sleeps on it. One ring wakes all: each looks again. */
  async #listen(): Promise<void> {
    const { semaphores, protocol } = this.#floor;
    const step = protocol.sleep(this.place);
    while (this.#sleepers.size > 0) {
      const { signal } = this.#listening = new AbortController();
      try {
        await semaphores.operate(step, { signal });
        this.#sleepers.wakeAll();
      } catch (reason) {
        if (!signal.aborted) this.#sleepers.wakeAll({ reason });
      }
    }
    this.#listening = undefined;
  }

  #listenNoMore(): void {
    if (this.#sleepers.size === 0) this.#listening?.abort();
  }

  #setMark(gate: number): void {
    const index = this.place - 1;
    Atomics.or(this.#floor.words, gate + (index >> 5), 1 << (index & 31));
  }

  #clearMark(gate: number): boolean {
    const index = this.place - 1;
    const bit = 1 << (index & 31);
    return (Atomics.and(this.#floor.words, gate + (index >> 5), ~bit) & bit) !== 0;
  }

  /** The mark stays as long as another promise of this handle sleeps there, which hears every ring. */
  #unmark(gate: number): boolean {
    return this.#sleepers.has(gate) || this.#clearMark(gate);
  }

  /** Rings, and returns whether anybody has the place. */
  ring(step: Step): boolean {
    try {
      return this.#floor.semaphores.tryOperate(step);
    } catch (error) {
      if (!(error instanceof IpcError && error.code === "ERANGE")) throw error;
      // It rings already, as loudly as can be. Of several, the others have not been rung.
      if (step.length <= 3) return true;
      for (const one of step) this.ring([one]);
      return true;
    }
  }
}

function replace(words: Int32Array, word: number, from: number, to: number): boolean {
  return Atomics.compareExchange(words, word, from, to) === (from | 0);
}
