/**
 * A place in a structure, as one handle has it: what flows ask of memory and semaphores is done here.
 *
 * @module
 */

import { IpcError } from "../ffi/error.ts";
import { internal } from "../ipc/internal.ts";
import type { SemaphoreSet } from "../ipc/semaphore_set.ts";
import { type PackedStep, packStep, tryPacked } from "../ipc/steps.ts";
import type { TimeoutOptions, WaitOptions } from "../wait/options.ts";
import type { Sleeping } from "./await_gate.ts";
import { Bell } from "./bell.ts";
import {
  type Answer,
  type Failure,
  type Immediate,
  run,
  runSync,
  type Target,
  type Waiting,
} from "./flow.ts";
import type { Gate } from "./layout.ts";
import type { Protocol } from "./protocol.ts";
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
export class Seat implements Target, Unlocking, Sleeping {
  /** The number of the place, 0 for none yet. */
  place = 0;
  /** Is called with each place that it takes. */
  onSit: (place: number) => void = () => {};
  readonly #floor: Floor;
  readonly #blocks: boolean;
  /** On which promises sleep. */
  #bell: Bell | undefined;
  /** The steps that ring for each place. */
  readonly #rings: PackedStep[] = [];
  #joining: Promise<void> | undefined;

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
    queueMicrotask(() => this.#bell?.wake());
  }

  /** Takes the mark of sleeping promises away, and returns whether there are any. */
  hush(gate: number): boolean {
    if (this.#bell?.has(gate) !== true) return false;
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
        this.mark(request.gate);
        return true;
      case "unmark":
        return this.unmark(request.gate);
      case "try":
        return this.#try(request.step);
      case "ring":
        return unlessLoud(() => this.#try(request.step)) ?? true;
      case "give back":
        return this.#giveBack(request.step);
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

  wait(request: Waiting, options: WaitOptions, then: (failure?: Failure) => void): void {
    this.#floor.check();
    if (request.ask === "sleep") return this.sleep(request.gate, options, then);
    this.#floor.semaphores.operate(request.step, options)
      .then(() => then(), (reason) => then({ reason }));
  }

  withdraw(gate: Gate): void {
    runSync(this, this.#floor.protocol.withdraw(gate, this.place));
  }

  /** Sleeps at a gate, where it is marked. */
  sleep(gate: number, options: WaitOptions, then: (failure?: Failure) => void): void {
    const { semaphores, protocol } = this.#floor;
    this.#bell ??= new Bell(semaphores.found(internal), protocol.sleep(this.place));
    this.#bell.sleep(gate, options, then);
  }

  /** Marks the place at a gate, before it sleeps there. */
  mark(gate: number): void {
    const index = this.place - 1;
    Atomics.or(this.#floor.words, gate + (index >> 5), 1 << (index & 31));
  }

  #clearMark(gate: number): boolean {
    const index = this.place - 1;
    const bit = 1 << (index & 31);
    return (Atomics.and(this.#floor.words, gate + (index >> 5), ~bit) & bit) !== 0;
  }

  /**
   * Takes the mark away, and returns whether nobody has rung for it. It stays as long as another promise of this
   * handle sleeps there, which hears every ring.
   */
  unmark(gate: number): boolean {
    this.#floor.check();
    return this.#bell?.has(gate) === true || this.#clearMark(gate);
  }

  ringFor(place: number): boolean {
    const { semaphores, protocol } = this.#floor;
    const step = this.#rings[place] ??= packStep(protocol.ring(place));
    return unlessLoud(() => tryPacked(semaphores.found(internal), step, ringing)) ?? true;
  }

  ringForAll(places: readonly number[]): void {
    this.#giveBack(this.#floor.protocol.ringAll(places));
  }

  #try(step: Step): boolean {
    return this.#floor.semaphores.tryOperate(step);
  }

  #giveBack(step: Step): boolean {
    const outcome = unlessLoud(() => this.#try(step));
    if (outcome !== undefined) return outcome;
    // One of the bells has kept all from being rung.
    for (const one of step) unlessLoud(() => this.#try([one]));
    return true;
  }
}

/** Rings; gives nothing if a bell rings already, as loudly as can be. */
function unlessLoud(ring: () => boolean): boolean | undefined {
  try {
    return ring();
  } catch (error) {
    if (error instanceof IpcError && error.code === "ERANGE") return undefined;
    throw error;
  }
}

const ringing = (name: string) => `ring a bell of ${name}`;

function replace(words: Int32Array, word: number, from: number, to: number): boolean {
  return Atomics.compareExchange(words, word, from, to) === (from | 0);
}
