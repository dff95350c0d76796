/**
 * The waiter threads of this thread of the program: started one at a time as they are needed, and kept for a
 * while.
 *
 * Starting a worker blocks the thread that starts it, in Deno for 40 to 50 ms. So a wait starts none before it
 * has lasted a while, and the event loop turns after each start. Idle threads are kept for long: they cost
 * nothing.
 *
 * @module
 */

import { runtime } from "../ffi/memory.ts";
import { close, pipe } from "../ffi/unix_calls.ts";
import { threadNumber, unblock } from "./interrupt.ts";
import { gateOfThread } from "./gate.ts";
import { mailbox } from "./mailbox.ts";
import { textOfThreads } from "./text.ts";
import type { ThreadData } from "./worker.ts";
import { beforeThreadsJoin, onUnload } from "./unload.ts";
import { Thread } from "./thread.ts";

/** The maximum number of threads that can be configured. */
export const MAX_THREADS = 256;
/** How soon to try again after a thread could not be started, in milliseconds. */
const RETRY_MS = 1000;

/** How many pipes must open for a worker to be started, each of which has two descriptors. */
const MIN_PIPES = 5;

/** Whether there are descriptors for a worker. With too few, starting one ends the process in Deno and Bun. */
function hasDescriptors(): boolean {
  const opened: number[] = [];
  const ends = new Int32Array(2);
  let result = 0;
  for (let i = 0; i < MIN_PIPES && result >= 0; i++) {
    result = pipe(ends);
    if (result >= 0) opened.push(...ends);
  }
  for (const fd of opened) close(fd);
  return result >= 0;
}

/** Starts a thread; its answer says whether that worked. */
function startThread(): Thread {
  const gate = gateOfThread();
  const kept = gate?.reserve();
  const place = kept ?? { memory: new SharedArrayBuffer(mailbox.size), offset: 0 };
  const thread = new Thread(place);
  const data: ThreadData = { ...place, owner: threadNumber() };
  // A thread has the signal mask of the one that starts it.
  unblock();
  try {
    if (!hasDescriptors()) throw new Error("Cannot start a thread: the descriptors are used up");
    if (gate === undefined) {
      thread.worker = runtime().startWorker(textOfThreads(), data, () => thread.fail());
    } else if (kept !== undefined) thread.worker = gate.start(kept);
    else throw new Error("Cannot start a thread: too many have not ended yet");
  } catch {
    thread.fail();
  }
  return thread;
}

/** The threads of this thread of the program. */
export class Pool {
  /** How many threads may wait at once. */
  limit = 8;
  /** How long idle threads are kept, in milliseconds. */
  keptMs = 30_000;
  readonly #ready: () => void;
  readonly #abandon: () => void;
  #listening = false;
  /** Idle threads; the last one worked last, and is taken first. */
  readonly #idle: Thread[] = [];
  /** How many there are that have started. */
  #count = 0;
  /** The one that is on its way, and when it is there, or has failed. */
  #starting: { readonly thread: Thread; readonly ended: Promise<void> } | undefined;
  /** When to try again after a thread could not be started. */
  #retryAt = 0;
  #sweeping = false;

  /**
   * Creates a pool without threads; `ready` is called when there may be one to take, `abandon` when the
   * program ends.
   */
  constructor(ready: () => void, abandon: () => void) {
    this.#ready = ready;
    this.#abandon = abandon;
  }

  /** Takes an idle thread, if there is one. It keeps the process alive until it is given back. */
  take(): Thread | undefined {
    if (this.#count - this.#idle.length >= this.limit) return undefined;
    const thread = this.#idle.pop();
    thread?.worker?.ref();
    return thread;
  }

  /** Takes a thread back. */
  giveBack(thread: Thread): void {
    thread.worker?.unref();
    if (thread.failed) this.#count--;
    else this.#rest(thread);
  }

  #rest(thread: Thread): void {
    thread.idleSince = performance.now();
    this.#idle.push(thread);
    this.#sweepLater(this.keptMs);
  }

  /** Whether one more thread can be started now. */
  get hasRoom(): boolean {
    const isFree = this.#starting === undefined && this.#count < this.limit;
    return isFree && performance.now() >= this.#retryAt;
  }

  /** Starts one more thread if there is room; `ready` is called when it has started. */
  start(): void {
    if (!this.hasRoom) return;
    if (!this.#listening) this.#listen();
    const thread = startThread();
    thread.worker?.unref();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#starting = { thread, ended: promise };
    thread.whenAnswered(() => {
      this.#starting = undefined;
      thread.worker?.unref();
      if (thread.failed) this.#retryAt = performance.now() + RETRY_MS;
      else {
        this.#count++;
        this.#rest(thread);
      }
      resolve();
      this.#ready();
    });
  }

  #listen(): void {
    this.#listening = true;
    onUnload(this.#abandon);
    beforeThreadsJoin(this.#abandon);
  }

  /** Ends the idle threads, and starts no more. */
  abandon(): void {
    this.limit = 0;
    for (const thread of this.#idle.splice(0)) thread.leave();
  }

  /** Starts threads ahead of time until there are so many, or as many as there can be. */
  async prepare(count: number): Promise<void> {
    while (this.#count < count) {
      this.start();
      if (this.#starting === undefined) return;
      this.#starting.thread.worker?.ref();
      await this.#starting.ended;
    }
  }

  /** Ends threads that have been idle for long. */
  #sweepLater(delay: number): void {
    if (this.#sweeping) return;
    this.#sweeping = true;
    process.getBuiltinModule("node:timers").setTimeout(() => {
      this.#sweeping = false;
      const limit = performance.now() - this.keptMs;
      while (this.#idle.length > 0 && this.#idle[0]!.idleSince <= limit) {
        this.#idle.shift()!.leave();
        this.#count--;
      }
      if (this.#idle.length > 0) this.#sweepLater(this.#idle[0]!.idleSince - limit);
    }, Math.max(delay, 1)).unref();
  }
}
