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

import { abi, errors } from "./abi.ts";
import { runtime } from "./calls.ts";
import { disable, enable, interrupt } from "./interrupt.ts";
import { blockingCalls, callNames, orders, slot, type ThreadData, threadSource } from "./thread.ts";

/** The calls that a thread can make. */
export type BlockingCall = keyof typeof blockingCalls;

/** The calls that the platform has. */
function callsOf(isLinux: boolean): Partial<typeof blockingCalls> {
  const { epoll_wait, ...everywhere } = blockingCalls;
  return isLinux ? { ...everywhere, epoll_wait } : everywhere;
}

/** The most threads that can be configured. */
export const MOST_THREADS = 256;

/** How long threads are kept when nothing waits, in milliseconds. */
const LINGER = 1000;

/** The part of a worker of node:worker_threads that is used here. */
interface WorkerHandle {
  ref(): void;
  unref(): void;
  on(event: "error", listener: (error: unknown) => void): void;
}

/** What a thread has answered once it has started, and if it cannot. */
const STARTED = 1;
const FAILED = -1;

/** A waiter thread. */
export class Thread {
  readonly index: number;
  idle = false;
  readonly #integers: Int32Array;
  readonly #floats: Float64Array;
  /** Counts what the thread was asked for, so that an interrupt meant for one call never meets the next. */
  #asked = STARTED;

  constructor(memory: SharedArrayBuffer, index: number) {
    this.index = index;
    this.#integers = new Int32Array(memory, index * slot.size, slot.size / 4);
    this.#floats = new Float64Array(memory, index * slot.size, slot.size / 8);
    this.#integers[slot.asked] = this.#asked;
    this.#integers[slot.answered] = 0;
  }

  get #answered(): number {
    return Atomics.load(this.#integers, slot.answered);
  }

  /** Asks for a call, or gives an order. */
  #ask(what: number): void {
    const integers = this.#integers;
    integers[slot.call] = what;
    this.#asked = (this.#asked + 1) | 0;
    Atomics.store(integers, slot.asked, this.#asked);
    Atomics.notify(integers, slot.asked);
  }

  /** Runs a function once the thread has answered so often or more, or could not start. */
  #whenAnswered(count: number, then: () => void): void {
    const answered = this.#answered;
    if (answered === FAILED || ((answered - count) | 0) >= 0) return queueMicrotask(then);
    const { async, value } = Atomics.waitAsync(this.#integers, slot.answered, answered);
    if (async) {
      value.then(() => this.#answered === count ? then() : this.#whenAnswered(count, then));
    } else this.#whenAnswered(count, then);
  }

  /** Tells when the thread has started, or could not. */
  started(then: (alive: boolean) => void): void {
    this.#whenAnswered(STARTED, () => then(this.#answered !== FAILED));
  }

  /** Makes a blocking call and tells its result, or the negative number of its error, and when it ended. */
  run(
    call: BlockingCall,
    given: readonly number[],
    answer: (result: number, time: number) => void,
  ): void {
    const integers = this.#integers;
    integers[slot.count] = given.length;
    integers[slot.cancel] = 0;
    for (let i = 0; i < given.length; i++) this.#floats[slot.arguments + i] = given[i]!;
    this.#ask(callNames.indexOf(call));
    this.#whenAnswered(this.#asked, () => {
      const result = integers[slot.result]!;
      answer(result === -1 ? -integers[slot.errno]! : result, this.#floats[slot.time]!);
    });
  }

  /** Ends the call with EINTR, unless it ends by itself first: either way it is answered. */
  cancel(): void {
    Atomics.store(this.#integers, slot.cancel, 1);
    this.#interrupt(this.#asked);
  }

  /** The signal can come before the thread is in its call: it is repeated until the thread answers. */
  #interrupt(call: number): void {
    if (call !== this.#asked || this.#answered === call) return;
    enable();
    interrupt(this.#floats[slot.pthread]!);
    setTimeout(() => this.#interrupt(call), 1);
  }

  /** Has this thread, which is idle, start another, and tells when it has seen to that. */
  start(other: number, then: () => void): void {
    this.#integers[slot.start] = other;
    this.#ask(orders.start);
    this.#whenAnswered(this.#asked, then);
  }

  /** Tells the thread, which is idle, to end. */
  leave(): void {
    this.#ask(orders.leave);
  }
}

/** What a pool tells. */
export interface PoolEvents {
  /** There is an idle thread again. */
  ready(): void;
  /** No thread can be had. */
  failed(error: Error): void;
}

let limit = 8;

/** Sets how many threads may wait at once. */
export function setLimit(threads: number): void {
  limit = threads;
}

/** The threads of this thread of the program. */
export class Pool {
  readonly #events: PoolEvents;
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
  #lingering = false;
  #idleSince = 0;

  constructor(events: PoolEvents) {
    this.#events = events;
  }

  /** Takes an idle thread, or none; then one may be started, and `ready` tells when it is there. */
  take(): Thread | undefined {
    for (const thread of this.#threads.values()) {
      if (!thread.idle) continue;
      thread.idle = false;
      this.#hold();
      return thread;
    }
    if (this.#starting === undefined && this.#threads.size < limit) this.#startNext();
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
    if (helper === undefined) this.#startWorker(index);
    else {
      this.#toStart = index;
      if (helper.idle) this.#startBy(helper);
      else helper.cancel();
    }
    thread.started((alive) => {
      this.#starting = undefined;
      if (alive) thread.idle = true;
      else this.#threads.delete(index);
      if (!alive) limit = Math.max(this.#threads.size, 1);
      this.#events.ready();
      this.#linger();
    });
  }

  #startBy(helper: Thread): void {
    const index = this.#toStart!;
    this.#toStart = undefined;
    helper.idle = false;
    helper.start(index, () => {
      helper.idle = true;
      this.#events.ready();
    });
  }

  #startWorker(index: number): void {
    const { Worker } = process.getBuiltinModule("node:worker_threads");
    const source = this.#source ??= threadSource(runtime(), {
      libraries: abi.libraries,
      table: {
        ...callsOf(abi.isLinux),
        errnoLocation: { name: abi.errnoLocation, parameters: [], result: "address" },
        pthread_self: { parameters: [], result: "address" },
      },
      callNames,
      slot,
      orders,
      eintr: errors.EINTR,
    });
    const workerData: ThreadData = { memory: this.#memory!, index, source };
    const url = new URL(`data:text/javascript,${encodeURIComponent(source)}`);
    const worker: WorkerHandle = new Worker(url, { workerData });
    worker.on("error", (cause) => {
      this.#events.failed(new Error("Cannot wait as the waiter thread failed", { cause }));
    });
    if (this.#busy === 0) worker.unref();
    this.#workers.add(worker);
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
    }, rest).unref();
  }
}

/** The number of the first thread; 0 says that none is to be started. */
const FIRST = 1;
