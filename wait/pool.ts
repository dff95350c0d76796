/**
 * The waiter threads as their owner sees them: started one at a time as they are needed, kept for a
 * while, gone when nothing waits.
 *
 * Starting a worker blocks the thread that starts it, in Deno for 40 to 50 ms. There only the first
 * is started from here, and starts the others: if it waits, its wait is given back for that time. A
 * worker that a worker has started takes Deno half a second more to run; until then what waits for it
 * is tried at an interval, as all for which there is no thread.
 *
 * @module
 */

import { errors } from "../ffi/constants.ts";
import { abi } from "../ffi/platforms.ts";
import type { Calls, Prototypes } from "../ffi/backend.ts";
import { openLibc } from "../ffi/calls.ts";
import { runtime, view } from "../ffi/memory.ts";
import { disable, enable, interrupt, isMainThread, threadNumber, unblock } from "./interrupt.ts";
import { allocationPrototypes, errnoPrototypes } from "../ffi/symbols.ts";
import {
  blockingCalls,
  callNames,
  linuxThreadCalls,
  orders,
  slot,
  threadCalls,
  type ThreadData,
  threadSource,
} from "./worker.ts";

/** The calls that a thread can make. */
export type BlockingCall = keyof typeof blockingCalls;

/** A call of a thread, and what is passed to it. */
export interface ThreadCall {
  readonly call: BlockingCall;
  readonly arguments: readonly number[];
}

/** What a thread is asked to do, in its own memory. */
export interface ThreadRequest {
  /** What is passed to the call. */
  readonly arguments: readonly number[];
  /** What gives back what the call took, if nobody is there to take it any more. NaN stands for the result. */
  readonly reversal?: ThreadCall | undefined;
}

/** The calls that the platform has. */
function callsOf(isLinux: boolean): Prototypes {
  const { epoll_wait, ...everywhere } = blockingCalls;
  const calls = { ...everywhere, ...threadCalls, ...errnoPrototypes };
  return isLinux ? { ...calls, epoll_wait, ...linuxThreadCalls } : calls;
}

/** The most threads that can be configured. */
export const MOST_THREADS = 256;

/** How long threads are kept when nothing waits, in milliseconds. */
const LINGER = 1000;
/** How soon a thread looks whether its owner will ever take what it has, in milliseconds. */
const HASTE = 10;

/** The part of a worker of node:worker_threads that is used here. */
interface WorkerHandle {
  ref(): void;
  unref(): void;
  on(event: "error", listener: (error: unknown) => void): void;
}

/** What a thread has answered once it has started, and if it cannot. */
const STARTED = 1;
const FAILED = -1;

const { integers: at, floats: floatAt } = slot;

let allocation: Calls<typeof allocationPrototypes> | undefined;

/**
 * The memory in which the kernel finds what a blocked call was asked, and leaves what it gives. It is
 * the thread's, which frees it: the thread of the program that asks can end before the call does, and
 * its own memory with it.
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

  /** Sees to it that it is large enough. It may move. */
  reserve(size: number): this {
    if (size <= this.bytes.length) return this;
    const { realloc } = allocation ??= openLibc(allocationPrototypes);
    const length = Math.max(size, LEAST_MEMORY);
    const address = realloc(this.address, length);
    if (address === 0) throw new Error(`Cannot wait as there is no memory left: ${length} bytes`);
    this.#floats[floatAt.memory] = address;
    this.bytes = new Uint8Array(view(address, length));
    return this;
  }
}

/** Enough for a message of usual length. */
const LEAST_MEMORY = 8448;

/** A waiter thread. */
export class Thread {
  readonly index: number;
  readonly memory: ThreadMemory;
  idle = false;
  readonly #integers: Int32Array;
  readonly #floats: Float64Array;
  /** Whether its owner can end before the process does. */
  readonly #outlives = !isMainThread();
  /** Counts what the thread was asked for, so that an interrupt meant for one call never meets the next. */
  #asked = STARTED;

  constructor(memory: SharedArrayBuffer, index: number) {
    this.index = index;
    this.#integers = new Int32Array(memory, index * slot.size, slot.size / 4);
    this.#floats = new Float64Array(memory, index * slot.size, slot.size / 8);
    this.#integers[at.asked] = this.#asked;
    this.#integers[at.answered] = 0;
    this.#integers[at.reversal] = orders.none;
    this.memory = new ThreadMemory(this.#floats);
  }

  get #answered(): number {
    return Atomics.load(this.#integers, at.answered);
  }

  /** Asks for a call, or gives an order. */
  #ask(what: number): void {
    const integers = this.#integers;
    integers[at.call] = what;
    this.#asked = (this.#asked + 1) | 0;
    Atomics.store(integers, at.asked, this.#asked);
    Atomics.notify(integers, at.asked);
  }

  /** Runs a function once the thread has answered so often or more, or could not start. */
  #whenAnswered(count: number, then: () => void): void {
    const answered = this.#answered;
    if (answered === FAILED || ((answered - count) | 0) >= 0) return queueMicrotask(then);
    const { async, value } = Atomics.waitAsync(this.#integers, at.answered, answered);
    if (async) {
      value.then(() => this.#answered === count ? then() : this.#whenAnswered(count, then));
    } else this.#whenAnswered(count, then);
  }

  /** Tells when the thread has started, or could not. */
  started(then: (alive: boolean) => void): void {
    this.#whenAnswered(STARTED, () => then(this.#answered !== FAILED));
  }

  /** Says that it failed before it could say anything. */
  fail(): void {
    if (Atomics.compareExchange(this.#integers, at.answered, 0, FAILED) !== 0) return;
    Atomics.notify(this.#integers, at.answered);
  }

  /** Makes a blocking call and tells its result, or the negative number of its error. */
  run(
    call: BlockingCall,
    { arguments: given, reversal }: ThreadRequest,
    answer: (result: number) => void,
  ): void {
    const integers = this.#integers;
    integers[at.count] = given.length;
    integers[at.cancel] = 0;
    this.#pass(given, floatAt.arguments);
    if (reversal !== undefined && this.#outlives) {
      integers[at.reversal] = callNames.indexOf(reversal.call);
      integers[at.reversalCount] = reversal.arguments.length;
      this.#pass(reversal.arguments, floatAt.reversal);
    }
    this.#ask(callNames.indexOf(call));
    this.#whenAnswered(this.#asked, () => {
      const result = integers[at.result]!;
      if (this.#outlives) Atomics.store(integers, at.reversal, orders.none);
      answer(result === -1 ? -integers[at.errno]! : result);
    });
  }

  #pass(given: readonly number[], first: number): void {
    for (let i = 0; i < given.length; i++) this.#floats[first + i] = given[i]!;
  }

  /** Ends the call with EINTR, unless it ends by itself first: either way it is answered. */
  cancel(): void {
    Atomics.store(this.#integers, at.cancel, 1);
    this.#interrupt(this.#asked);
  }

  /** The signal can come before the thread is in its call: it is repeated until the thread answers. */
  #interrupt(call: number): void {
    if (call !== this.#asked || this.#answered === call) return;
    enable();
    interrupt(this.#floats[floatAt.pthread]!);
    setTimeout(() => this.#interrupt(call), 1);
  }

  /** Has this thread, which is idle, start another, and tells when it has seen to that. */
  start(other: number, then: () => void): void {
    this.#integers[at.start] = other;
    this.#ask(orders.start);
    this.#whenAnswered(this.#asked, then);
  }

  /** Tells the thread, which is idle, to end. */
  leave(): void {
    this.#ask(orders.leave);
  }
}

/** The threads of this thread of the program. */
export class Pool {
  /** How many threads may wait at once. */
  limit = 8;
  readonly #ready: () => void;
  readonly #threads = new Map<number, Thread>();
  readonly #workers = new Set<WorkerHandle>();
  #memory: SharedArrayBuffer | undefined;
  #source: string | undefined;
  /** The thread that is on its way. */
  #starting: Thread | undefined;
  /** Its number, as long as the first thread has not been told to start it. */
  #toStart: number | undefined;
  /** How many threads are at work, or wanted to be. */
  #busy = 0;
  /** Whether the system had no more threads for us when we asked last. */
  #exhausted = false;
  #lingering = false;
  #idleSince = 0;

  /** Creates a pool without threads; `ready` is called when there may be one to take. */
  constructor(ready: () => void) {
    this.#ready = ready;
  }

  /** Takes an idle thread, or none; then one may be started, and `ready` tells when it is there. */
  take(): Thread | undefined {
    if (this.#busy >= this.limit) return undefined;
    for (const thread of this.#threads.values()) {
      if (!thread.idle) continue;
      thread.idle = false;
      this.#hold();
      return thread;
    }
    const more = this.#threads.size < this.limit && !this.#exhausted;
    if (more && this.#starting === undefined) this.#startNext();
    return undefined;
  }

  /** Whether a thread is to be given back, as it has to start another. */
  wants(thread: Thread): boolean {
    return this.#toStart !== undefined && thread.index === FIRST;
  }

  /** Takes a thread back. */
  giveBack(thread: Thread): void {
    if (this.wants(thread)) this.#startBy(thread);
    else thread.idle = true;
    this.#letGo();
  }

  /** Keeps the process alive, as something waits. */
  #hold(): void {
    if (this.#busy++ === 0) { for (const worker of this.#workers) worker.ref(); }
  }

  #letGo(): void {
    if (--this.#busy > 0) return;
    for (const worker of this.#workers) worker.unref();
    disable();
    this.#idleSince = performance.now();
    this.#linger();
  }

  /** Starts the first thread ahead of time, if there is none. */
  prepare(): Promise<void> {
    if (this.#threads.size > 0 && this.#starting === undefined) return Promise.resolve();
    return new Promise((resolve) => {
      if (this.#starting === undefined) this.#startNext();
      this.#hold();
      this.#starting!.started(() => {
        this.#letGo();
        this.#ready();
        resolve();
      });
    });
  }

  #startNext(): void {
    this.#memory ??= new SharedArrayBuffer(slot.size * (MOST_THREADS + 1));
    const index = this.#threads.size + FIRST;
    const thread = new Thread(this.#memory, index);
    const first = this.#threads.get(FIRST);
    const helper = runtime().startsThreadsSlowly ? first : undefined;
    this.#starting = thread;
    this.#threads.set(index, thread);
    if (helper === undefined) this.#startWorker(thread);
    else {
      this.#toStart = index;
      if (helper.idle) this.#startBy(helper);
      else helper.cancel();
    }
    thread.started((alive) => {
      this.#starting = undefined;
      this.#idleSince = performance.now();
      thread.idle = alive;
      this.#exhausted = !alive;
      if (!alive) this.#threads.delete(index);
      this.#ready();
      this.#linger();
    });
  }

  #startBy(helper: Thread): void {
    const index = this.#toStart!;
    this.#toStart = undefined;
    helper.idle = false;
    helper.start(index, () => {
      helper.idle = true;
      this.#ready();
    });
  }

  #startWorker(thread: Thread): void {
    const { Worker } = process.getBuiltinModule("node:worker_threads");
    const source = this.#source ??= threadSource(runtime(), {
      libraries: abi.libraries,
      table: callsOf(abi.isLinux),
      callNames,
      slot,
      orders,
      eintr: errors.EINTR,
      esrch: errors.ESRCH,
      tgkill: abi.tgkill,
      patience: LINGER,
      haste: HASTE,
    });
    const { index } = thread;
    const workerData: ThreadData = { memory: this.#memory!, index, owner: threadNumber(), source };
    // A thread has the signal mask of the one that starts it.
    unblock();
    const url = new URL(`data:text/javascript,${encodeURIComponent(source)}`);
    try {
      const worker: WorkerHandle = new Worker(url, { workerData });
      worker.on("error", () => thread.fail());
      if (this.#busy === 0) worker.unref();
      this.#workers.add(worker);
    } catch {
      // What waits is tried at an interval, as all for which there is no thread.
      thread.fail();
    }
  }

  /** Lets the threads go a while after the last wait: all at once, as the first may have started the others. */
  #linger(): void {
    if (this.#lingering || this.#busy > 0) return;
    this.#lingering = true;
    const rest = Math.max(LINGER - (performance.now() - this.#idleSince), 1);
    process.getBuiltinModule("node:timers").setTimeout(() => {
      this.#lingering = false;
      if (this.#busy > 0 || this.#starting !== undefined) return;
      if (performance.now() - this.#idleSince < LINGER) return this.#linger();
      for (const thread of this.#threads.values()) thread.leave();
      this.#threads.clear();
      this.#workers.clear();
      this.#memory = undefined;
      // Lines that are still tried at an interval may ask again.
      if (!this.#exhausted) return;
      this.#exhausted = false;
      this.#ready();
    }, rest).unref();
  }
}

/** The number of the first thread; 0 says that none is to be started. */
const FIRST = 1;
