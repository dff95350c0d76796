/**
 * The waiter thread: makes blocking calls one after the other, and can be interrupted in them.
 *
 * {@linkcode thread} runs in a worker made of its own text, so that `--allow-ffi` stays the only
 * permission and bundlers need to know of nothing. Therefore it names nothing outside itself.
 *
 * @module
 */

import type { Backend, Prototypes } from "./backend.ts";

/** What a waiter thread can do: each call as the thread knows it, buffers by their address. */
export const blockingCalls = {
  semop: {
    parameters: [
      "i32", // int semid
      "address", // struct sembuf *sops
      "u32", // size_t nsops
    ],
    result: "i32",
  },
  msgsnd: {
    parameters: [
      "i32", // int msqid
      "address", // const void *msgp
      "u32", // size_t msgsz
      "i32", // int msgflg
    ],
    result: "i32",
  },
  msgrcv: {
    parameters: [
      "i32", // int msqid
      "address", // void *msgp
      "u32", // size_t msgsz
      "i64", // long msgtyp
      "i32", // int msgflg
    ],
    result: "i32",
  },
  epoll_wait: {
    parameters: [
      "i32", // int epfd
      "address", // struct epoll_event *events
      "i32", // int maxevents
      "i32", // int timeout
    ],
    result: "i32",
  },
} as const satisfies Prototypes;

/** The names of the calls, in the order by which a request numbers them. */
export const callNames = Object.keys(blockingCalls) as (keyof typeof blockingCalls)[];

/**
 * What stands where in the memory that a thread shares with its owner: indices of 32-bit integers,
 * then of 64-bit floats.
 */
export const slot = {
  /** The bytes of one slot. */
  size: 128,
  /** How often the thread was asked for something, its start included: what it waits on. */
  asked: 0,
  /** How often it has answered, -1 if it could not start: what its owner waits on. */
  answered: 7,
  /** What is asked: which call to make, or one of {@linkcode orders}; and how many arguments it has. */
  call: 1,
  count: 2,
  /** What it gave. */
  result: 3,
  errno: 4,
  /** Not 0 if the call shall end. */
  cancel: 5,
  /** Of which slot the thread is that it shall start. */
  start: 6,
  /** The pthread_t of the thread. */
  pthread: 4,
  /** When the call ended, by the clock of {@linkcode now}; and the arguments. */
  time: 5,
  arguments: 6,
} as const;

const { timeOrigin } = performance;

/** Milliseconds by a clock that all threads share. */
export function now(): number {
  return timeOrigin + performance.now();
}

/** What a thread can be asked for but calls. */
export const orders = { start: -1, leave: -2 } as const;

/** What a thread has to know, as plain data. */
export interface ThreadSettings {
  libraries: readonly string[];
  table: Prototypes;
  callNames: readonly string[];
  slot: typeof slot;
  orders: typeof orders;
  eintr: number;
}

/** What a thread is handed at its start. */
export interface ThreadData {
  /** The slots of all threads. */
  memory: SharedArrayBuffer;
  /** Which is its own. */
  index: number;
  /** Its own text, to start others. */
  source: string;
}

/** The text of a worker that is a waiter thread. */
export function threadSource(backend: Backend, settings: ThreadSettings): string {
  return `(${thread})(${backend.open}, ${backend.view}, ${JSON.stringify(settings)});`;
}

/** Serves its slot until it is told to leave. */
export function thread(
  open: (
    libraries: readonly string[],
    table: Prototypes,
  ) => Record<string, (...given: number[]) => number>,
  view: (address: number, length: number) => ArrayBuffer,
  { libraries, table, callNames, slot, orders, eintr }: ThreadSettings,
): void {
  const { workerData, Worker } = process.getBuiltinModule("node:worker_threads");
  const { memory, index, source } = workerData as ThreadData;
  const own = new Int32Array(memory, index * slot.size, slot.size / 4);
  const numbers = new Float64Array(memory, index * slot.size, slot.size / 8);

  const answer = (integers: Int32Array, count: number) => {
    Atomics.store(integers, slot.answered, count);
    Atomics.notify(integers, slot.answered);
  };
  /** Starts another thread. */
  const startOther = (other: number) => {
    try {
      const url = new URL(`data:text/javascript,${encodeURIComponent(source)}`);
      new Worker(url, { workerData: { memory, index: other, source } });
    } catch {
      answer(new Int32Array(memory, other * slot.size, slot.size / 4), -1);
    }
  };

  const calls = open(libraries, table);
  const errno = new Int32Array(view(calls.errnoLocation!(), 4));
  numbers[slot.pthread] = calls.pthread_self!();
  const origin = performance.timeOrigin;
  const first = slot.arguments;
  let asked = own[slot.asked]!;
  for (;;) {
    answer(own, asked);
    while (Atomics.load(own, slot.asked) === asked) Atomics.wait(own, slot.asked, asked);
    asked = Atomics.load(own, slot.asked);
    const order = own[slot.call]!;
    if (order === orders.leave) return;
    if (order === orders.start) {
      startOther(own[slot.start]!);
      continue;
    }
    const call = calls[callNames[order]!]!;
    const count = own[slot.count]!;
    let result = -1;
    let error = eintr;
    // A signal that is not ours ends the call too: it goes on unless it shall end.
    while (result === -1 && error === eintr && Atomics.load(own, slot.cancel) === 0) {
      // The usual number of arguments is passed without an array of them.
      result = count === 3
        ? call(numbers[first]!, numbers[first + 1]!, numbers[first + 2]!)
        : call(...numbers.subarray(first, first + count));
      error = errno[0]!;
    }
    numbers[slot.time] = origin + performance.now();
    own[slot.result] = result;
    own[slot.errno] = error;
  }
}
