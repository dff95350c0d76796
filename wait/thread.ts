/**
 * A waiter thread as its owner sees it.
 *
 * @module
 */

import { errors } from "../ffi/constants.ts";
import type { Calls, WorkerHandle } from "../ffi/backend.ts";
import { openLibc } from "../ffi/calls.ts";
import { runtime, view } from "../ffi/memory.ts";
import { allocationPrototypes } from "../ffi/symbols.ts";
import { enable, interrupt } from "./interrupt.ts";
import { cancels, mailbox, orders, type Place, STARTED } from "./mailbox.ts";
import { type blockingCalls, callNames } from "./worker.ts";

/** The calls that a thread can make. */
export type BlockingCall = keyof typeof blockingCalls;

/** A call of a thread, and its arguments. */
export interface ThreadCall {
  readonly call: BlockingCall;
  readonly arguments: readonly number[];
}

/** A request to a thread. */
export interface ThreadRequest {
  /** The arguments of the call. */
  readonly arguments: readonly number[];
  /** The call that gives back what the first took, if its owner has ended. NaN stands for the result. */
  readonly reversal?: ThreadCall | undefined;
}

const { integers: at, floats: floatAt } = mailbox;

/** How long the end of a program may wait for a thread that could go on without it, in milliseconds. */
const MAX_END = 50;

/** Enough for a message of usual length. */
const MIN_MEMORY = 8448;

let allocation: Calls<typeof allocationPrototypes> | undefined;

/**
 * The memory that a blocked call reads its arguments from and writes its result to. It belongs to the thread,
 * which frees it: the owner can end before the call does, and its own memory with it.
 */
export class ThreadMemory {
  bytes: Uint8Array<ArrayBuffer> = new Uint8Array(0);
  readonly #floats: Float64Array;

  constructor(floats: Float64Array) {
    this.#floats = floats;
  }

  get address(): number {
    return this.#floats[floatAt.memory]!;
  }

  /** Makes it large enough. It may move. */
  reserve(size: number): this {
    if (size <= this.bytes.length) return this;
    const { realloc } = allocation ??= openLibc(allocationPrototypes);
    const length = Math.max(size, MIN_MEMORY);
    const address = realloc(this.address, length);
    if (address === 0) throw new Error(`Cannot wait: no memory left for ${length} bytes`);
    this.#floats[floatAt.memory] = address;
    this.bytes = new Uint8Array(view(address, length));
    return this;
  }
}

/** A waiter thread. */
export class Thread {
  readonly memory: ThreadMemory;
  /** Its worker, which can keep the process alive. */
  worker: WorkerHandle | undefined;
  /** Since when it is idle. */
  idleSince = 0;
  readonly #integers: Int32Array;
  readonly #floats: Float64Array;
  #interrupting = false;
  /** Whether its answers are not taken any more. */
  #abandoned = false;

  /** Makes the owner's side of a thread; a worker that is given the same memory is the other. */
  constructor({ memory, offset }: Place) {
    this.#integers = new Int32Array(memory, offset);
    this.#floats = new Float64Array(memory, offset);
    this.#integers[at.asked] = STARTED;
    this.#integers[at.reversal] = orders.none;
    this.memory = new ThreadMemory(this.#floats);
  }

  /** Whether it cannot answer any more. */
  get failed(): boolean {
    return Atomics.load(this.#integers, at.failed) !== 0;
  }

  /** How many waits had joined the line when the call was last entered. */
  get entered(): number {
    return Atomics.load(this.#integers, at.entered);
  }

  get #asked(): number {
    return this.#integers[at.asked]!;
  }

  get #answered(): number {
    return Atomics.load(this.#integers, at.answered);
  }

  /** Asks for a call, or gives an order. The counter wraps around after 2^32 requests. */
  #ask(what: number): void {
    this.#integers[at.call] = what;
    Atomics.add(this.#integers, at.asked, 1);
    Atomics.notify(this.#integers, at.asked);
  }

  /** Runs a function once the thread has answered what it was asked last, or cannot any more. */
  whenAnswered(then: () => void): void {
    const answered = this.#answered;
    if (this.failed || answered === this.#asked) return queueMicrotask(then);
    const { async, value } = Atomics.waitAsync(this.#integers, at.answered, answered);
    if (!async) return this.whenAnswered(then);
    value.then(() => this.#answered === this.#asked ? then() : this.whenAnswered(then));
  }

  /** Notes on its behalf that it cannot answer. */
  fail(): void {
    Atomics.store(this.#integers, at.failed, 1);
    Atomics.add(this.#integers, at.answered, 1);
    Atomics.notify(this.#integers, at.answered);
  }

  /**
   * Makes a blocking call for the waits that have joined a line so far, and calls back with its result, or the
   * negative number of its error.
   */
  run(
    call: BlockingCall,
    { arguments: given, reversal }: ThreadRequest,
    joined: number,
    answer: (result: number) => void,
  ): void {
    const integers = this.#integers;
    integers[at.count] = given.length;
    integers[at.cancel] = 0;
    integers[at.joined] = joined;
    this.#pass(given, floatAt.arguments);
    if (reversal !== undefined) {
      integers[at.reversal] = callNames.indexOf(reversal.call);
      integers[at.reversalCount] = reversal.arguments.length;
      this.#pass(reversal.arguments, floatAt.reversal);
    }
    this.#ask(callNames.indexOf(call));
    this.whenAnswered(() => {
      if (this.#abandoned) return;
      if (this.failed) return answer(-errors.EINTR);
      const result = integers[at.result]!;
      Atomics.store(integers, at.reversal, orders.none);
      answer(result === -1 ? -integers[at.errno]! : result);
    });
  }

  #pass(given: readonly number[], first: number): void {
    for (let i = 0; i < given.length; i++) this.#floats[first + i] = given[i]!;
  }

  /** Ends the call with EINTR, unless it ends by itself first: either way it is answered. */
  cancel(): void {
    Atomics.store(this.#integers, at.cancel, cancels.call);
    this.#interrupt();
  }

  /** Makes the thread enter its call again for all that have joined by now, unless it ends by itself first. */
  admit(joined: number): void {
    Atomics.store(this.#integers, at.joined, joined);
    if (!this.#interrupting) this.#interrupt();
  }

  /** Whether the thread has not yet seen that it is to end its call, or to enter it again. */
  get #unheard(): boolean {
    const integers = this.#integers;
    if (this.failed || this.#answered === this.#asked) return false;
    const late = Atomics.load(integers, at.entered) !== Atomics.load(integers, at.joined);
    return late || Atomics.load(integers, at.cancel) !== 0;
  }

  /** The signal can come before the thread is in its call: it is repeated until the thread has heard it. */
  #interrupt(): void {
    enable();
    interrupt(this.#floats[floatAt.pthread]!);
    if (this.#interrupting) return;
    this.#interrupting = true;
    setTimeout(() => {
      this.#interrupting = false;
      if (this.#unheard) this.#interrupt();
    }, 1);
  }

  /** Ends the thread, which is idle. */
  leave(): void {
    this.#ask(orders.leave);
  }

  /**
   * Ends the thread in the middle of a call, which gives back what it takes. It blocks until that is done, so
   * it is for the end of the program alone.
   */
  abandon(): void {
    this.#abandoned = true;
    const limit = runtime().joinsThreads ? Infinity : MAX_END;
    Atomics.store(this.#integers, at.cancel, cancels.call);
    if (!this.#blockUntilAnswered(true, limit)) return;
    this.leave();
    if (this.#blockUntilAnswered(false, MAX_END) || limit === MAX_END) return;
    Atomics.store(this.#integers, at.cancel, cancels.reversal);
    this.#blockUntilAnswered(true, limit);
  }

  /** Returns whether it has answered within so many milliseconds. */
  #blockUntilAnswered(interrupting: boolean, limit: number): boolean {
    const deadline = performance.now() + limit;
    for (;;) {
      const answered = this.#answered;
      if (this.failed || answered === this.#asked) return !this.failed;
      if (performance.now() >= deadline) return false;
      if (interrupting) {
        enable();
        interrupt(this.#floats[floatAt.pthread]!);
      }
      Atomics.wait(this.#integers, at.answered, answered, 1);
    }
  }
}
