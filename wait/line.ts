/**
 * Waiting without blocking the event loop.
 *
 * Equal waits stand in one local line, of which only the head is in the kernel, on a thread of its
 * own; when it wakes, the others are served at once. If they wait for something to be the case and
 * change nothing, all are served that waited when it was. Lines for which there is no thread, or not yet,
 * are tried at an interval that grows to 5 ms: nothing can deadlock on threads.
 *
 * **A wait that ends early has changed nothing.** Where the kernel was faster, the result goes to
 * the next in line; if there is none, it is reversed; if it cannot be, the promise resolves after
 * all, as it happened.
 *
 * @module
 */

import { errors } from "../ffi/constants.ts";
import {
  type BlockingCall,
  MOST_THREADS,
  Pool,
  type Thread,
  type ThreadMemory,
  type ThreadRequest,
} from "./pool.ts";

/** Options of {@linkcode configure}. */
export interface ConfigureOptions {
  /**
   * How many different waits may have a thread each, from 1 to 256; any more are tried at an interval.
   *
   * @default {8}
   */
  waiterThreads?: number | undefined;
}

/** What waits do in the kernel. One serves all equal waits in turn, unless each brings its own. */
export interface Operation {
  /** Makes the call without waiting: a result, or the negative number of an error. */
  attempt(): number;
  /** The call that blocks. */
  readonly call: BlockingCall;
  /** Writes what the call needs into the memory of the thread that makes it, and says what to pass. */
  request(memory: ThreadMemory): ThreadRequest;
  /** Takes what the call has left there. */
  received?(memory: ThreadMemory, result: number): void;
  /** Whether it only waits until something is the case: then that is the case for all in line. */
  readonly changesNothing?: boolean;
  /** Whether the kernel counts anybody who waits for the same semaphores; asked of what changes nothing. */
  isAwaited?(): boolean;
  /** Reverses what happened, and tells whether it could. */
  reverse?(): boolean;
  /** Makes room for a result that was too large, and tells whether it could. */
  grow?(): boolean;
}

/** What ends early when a handle or its object does. */
export interface Ending {
  end(reason: unknown): void;
}

/** A wait as its caller wants it. */
export interface WaitRequest<Result, Op extends Operation = Operation> {
  /** Equal for waits of which one is as good as another. */
  readonly key: string;
  /** Whether one operation serves all of them; otherwise they only take turns. */
  readonly shared: boolean;
  /** The most milliseconds to wait. */
  readonly timeout: number;
  readonly signal: AbortSignal | undefined;
  /** Where the end of what it depends on is told. */
  readonly endings: Set<Ending>;
  operation(): Op;
  /** Makes the value of the promise; called at once, before the operation is used again. */
  take(result: number, operation: Op): Result;
  /** Makes the reason of the promise. */
  error(errno: number): Error;
  timeoutError(): Error;
}

/** setTimeout knows no more milliseconds. */
const LONGEST_TIMER = 0x7fffffff;
/** The longest interval between two tries without a thread, in milliseconds. */
const LONGEST_INTERVAL = 5;

/** One wait in a line. */
class Wait<Result, Op extends Operation> implements Ending, EventListenerObject {
  readonly promise: Promise<Result>;
  readonly operation: Op;
  readonly #request: WaitRequest<Result, Op>;
  readonly #line: Line;
  #resolve!: (result: Result) => void;
  #reject!: (reason: unknown) => void;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(line: Line, request: WaitRequest<Result, Op>, operation: Op) {
    this.#line = line;
    this.#request = request;
    this.operation = operation;
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    request.signal?.addEventListener("abort", this);
    request.endings.add(this);
    if (request.timeout < Infinity) this.#await(performance.now() + request.timeout);
  }

  #await(deadline: number): void {
    const rest = Math.max(Math.ceil(deadline - performance.now()), 0);
    this.#timer = setTimeout(() => {
      if (performance.now() < deadline) this.#await(deadline);
      else this.end(this.#request.timeoutError());
    }, Math.min(rest, LONGEST_TIMER));
  }

  handleEvent(): void {
    this.end(this.#request.signal!.reason);
  }

  end(reason: unknown): void {
    this.#line.leave(this, reason);
  }

  resolve(result: number): void {
    this.#settle();
    try {
      this.#resolve(this.#request.take(result, this.operation));
    } catch (error) {
      this.#reject(error);
    }
  }

  reject(reason: unknown): void {
    this.#settle();
    this.#reject(reason);
  }

  fail(errno: number): void {
    this.reject(this.#request.error(errno));
  }

  #settle(): void {
    this.#request.signal?.removeEventListener("abort", this);
    this.#request.endings.delete(this);
    clearTimeout(this.#timer);
  }
}

// deno-lint-ignore no-explicit-any -- one line holds waits for values of any type
type AnyWait = Wait<any, any>;

/** Equal waits, first come first served. */
class Line {
  readonly #key: string;
  readonly #shared: boolean;
  readonly #waits = new Set<AnyWait>();
  /** Waits that ended while the kernel may have been serving them: its answer decides. */
  readonly #leaving = new Map<AnyWait, unknown>();
  /**
   * Waits that change nothing and began when the call in the kernel may have ended already: what it
   * waited for may not have been the case since they began.
   */
  readonly #late = new Set<AnyWait>();
  #catchingUp = false;
  readonly #operation: Operation | undefined;
  #thread: Thread | undefined;
  /** The wait that the kernel is serving. */
  #served: AnyWait | undefined;

  // deno-lint-ignore no-explicit-any -- as above
  constructor(request: WaitRequest<any, any>) {
    this.#key = request.key;
    this.#shared = request.shared;
    this.#operation = request.shared ? request.operation() : undefined;
    lines.set(this.#key, this);
  }

  join<Result, Op extends Operation>(request: WaitRequest<Result, Op>): Promise<Result> {
    const operation = this.#operation as Op | undefined ?? request.operation();
    // Others in line are in nobody's way if the line only waits until something is the case.
    if (operation.changesNothing && this.#waits.size > 0) {
      const result = operation.attempt();
      if (result >= 0) return Promise.resolve(request.take(result, operation));
    }
    const wait = new Wait(this, request, operation);
    this.#waits.add(wait);
    if (this.#thread === undefined && !threadless.has(this)) this.#queue();
    else if (operation.changesNothing && this.#served !== undefined) this.#comeLate(wait);
    return wait.promise;
  }

  /** Begins while the head of the line is in the kernel, or was. */
  #comeLate(wait: AnyWait): void {
    this.#late.add(wait);
    this.#catchUp();
  }

  /** Whoever is late no longer is once the head is seen to be in the kernel still. */
  #catchUp(interval = 1): void {
    if (this.#late.size === 0) return;
    if (this.#operation!.isAwaited!()) return this.#late.clear();
    if (this.#catchingUp) return;
    this.#catchingUp = true;
    setTimeout(() => {
      this.#catchingUp = false;
      this.#catchUp(Math.min(interval + 1, LONGEST_INTERVAL));
    }, interval);
  }

  /** Waits for a thread. */
  #queue(first = false): void {
    const others = first ? [...threadless] : [];
    threadless.add(this);
    // Who had a thread before goes before those who had none.
    for (const other of others) {
      threadless.delete(other);
      threadless.add(other);
    }
    if (!this.enter()) poll();
  }

  /** Goes into the kernel if there is a thread for it. */
  enter(): boolean {
    const thread = pool.take();
    if (thread === undefined) return false;
    threadless.delete(this);
    this.#thread = thread;
    this.#block(thread);
    return true;
  }

  #block(thread: Thread): void {
    const wait = this.#served = this.#first()!;
    const { operation } = wait;
    thread.run(operation.call, operation.request(thread.memory), (result) => {
      if (result >= 0) operation.received?.(thread.memory, result);
      this.#answer(thread, result);
    });
  }

  #first(): AnyWait | undefined {
    for (const wait of this.#waits) return wait;
    return undefined;
  }

  #answer(thread: Thread, result: number): void {
    const wait = this.#served!;
    this.#served = undefined;
    if (result >= 0) this.#give(wait, result);
    else if (result !== -errors.EINTR) this.#refuse(wait, -result);
    for (const [leaving, reason] of this.#leaving) leaving.reject(reason);
    this.#leaving.clear();
    this.serve();
    if (this.#waits.size > 0 && !pool.wants(thread)) return this.#block(thread);
    this.#thread = undefined;
    pool.giveBack(thread);
    if (this.#waits.size > 0) this.#queue(true);
    admit();
  }

  /**
   * Hands over a result of the kernel: to the first in line, or to nobody if it can be reversed; and
   * if it has changed nothing, to all for whom it holds.
   */
  #give(wait: AnyWait, result: number): void {
    if (wait.operation.changesNothing) return this.#giveAll(result);
    const receiver = this.#shared ? this.#first() : wait;
    if (receiver !== undefined && this.#waits.delete(receiver)) return receiver.resolve(result);
    if (wait.operation.reverse?.()) return;
    const [leaver] = this.#shared ? this.#leaving.keys() : [wait];
    this.#leaving.delete(leaver!);
    leaver!.resolve(result);
  }

  #giveAll(result: number): void {
    for (const wait of [...this.#waits]) {
      if (this.#late.has(wait) || !this.#waits.delete(wait)) continue;
      wait.resolve(result);
    }
  }

  /** Tells an error of the kernel: to all, or to the one whose own it is. */
  #refuse(wait: AnyWait, errno: number): void {
    if (errno === errors.E2BIG && wait.operation.grow?.()) return;
    for (const refused of this.#shared ? [...this.#waits] : [wait]) {
      if (this.#waits.delete(refused)) refused.fail(errno);
    }
  }

  /** Serves as many as can be without waiting. */
  serve(): void {
    this.#late.clear();
    for (let wait = this.#first(); wait !== undefined; wait = this.#first()) {
      const result = wait.operation.attempt();
      if (result === -errors.EAGAIN || result === -errors.ENOMSG) return;
      if (result >= 0) this.#give(wait, result);
      else this.#refuse(wait, -result);
    }
    this.#close();
  }

  /** Takes a wait out of the line. If the kernel may be serving it, its answer decides. */
  leave(wait: AnyWait, reason: unknown): void {
    if (!this.#waits.delete(wait)) return;
    this.#late.delete(wait);
    const served = this.#served !== undefined &&
      (this.#shared ? this.#waits.size === 0 : wait === this.#served);
    if (!served) {
      wait.reject(reason);
      return this.#close();
    }
    this.#leaving.set(wait, reason);
    this.#thread!.cancel();
  }

  #close(): void {
    if (this.#waits.size > 0) return;
    threadless.delete(this);
    if (this.#served === undefined) lines.delete(this.#key);
  }
}

const lines = new Map<string, Line>();
/** Lines without a thread, the one that has waited longest first. */
const threadless = new Set<Line>();
const pool = new Pool(admit);
let polling = false;

/** Gives idle threads to lines. */
function admit(): void {
  for (const line of threadless) {
    if (!line.enter()) return;
  }
}

/** Tries what has no thread, less and less often. */
function poll(interval = 1): void {
  if (polling && interval === 1) return;
  polling = true;
  setTimeout(() => {
    for (const line of threadless) line.serve();
    if (threadless.size > 0) poll(Math.min(interval + 1, LONGEST_INTERVAL));
    else polling = false;
  }, interval);
}

/** Whether equal waits stand in line: then the next one queues behind them. */
export function isWaiting(key: string): boolean {
  return lines.has(key);
}

/** Waits in line behind its equals. */
export function wait<Result, Op extends Operation>(
  request: WaitRequest<Result, Op>,
): Promise<Result> {
  return (lines.get(request.key) ?? new Line(request)).join(request);
}

/** Whether anything waits at all, which most programs can tell at once. */
export function anyWaiting(): boolean {
  return lines.size > 0;
}

/**
 * Starts the first waiter thread ahead of time. Otherwise the first wait starts it, which keeps its
 * caller for up to 50 ms in Deno and 15 ms in Bun. Threads go when nothing has waited for a second.
 *
 * @returns A promise that resolves when the thread is there.
 */
export function prepare(): Promise<void> {
  return pool.prepare();
}

/**
 * Sets how this thread of the program waits.
 *
 * @throws {RangeError} If the number of threads is not from 1 to 256.
 */
export function configure({ waiterThreads }: ConfigureOptions): void {
  if (waiterThreads === undefined) return;
  if (!Number.isInteger(waiterThreads) || waiterThreads < 1 || waiterThreads > MOST_THREADS) {
    throw new RangeError(
      `Cannot wait with ${waiterThreads} threads: expected a whole number from 1 to ${MOST_THREADS}`,
    );
  }
  pool.limit = waiterThreads;
}
