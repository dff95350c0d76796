/**
 * The waiter thread: makes blocking calls one after the other, and can be interrupted in them.
 *
 * {@linkcode thread} runs in a worker made of its own text, so that `--allow-ffi` stays the only
 * permission and bundlers need to know of nothing. Therefore it names nothing outside itself.
 *
 * @module
 */

import type { Backend, Prototypes } from "../ffi/backend.ts";

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

/** What a waiter thread calls besides. */
export const threadCalls = {
  getpid: { parameters: [], result: "i32" },
  pthread_self: { parameters: [], result: "address" },
  free: {
    parameters: [
      "address", // void *ptr
    ],
    result: "void",
  },
} as const satisfies Prototypes;

/** Asks Linux whether a thread of this process is there: `syscall(SYS_tgkill, tgid, tid, 0)`. */
export const linuxThreadCalls = {
  syscall: {
    parameters: [
      "i64", // long number
      "i32", // pid_t tgid
      "i32", // pid_t tid
      "i32", // int sig
    ],
    result: "i32",
  },
} as const satisfies Prototypes;

/** What stands where in the memory that a thread shares with its owner: 32-bit integers and 64-bit floats. */
export const slot = {
  /** The bytes of one slot. */
  size: 128,
  integers: {
    /** How often the thread was asked for something, its start included: what it waits on. */
    asked: 0,
    /** How often it has answered, -1 if it could not start: what its owner waits on. */
    answered: 1,
    /** What is asked: which call to make, or one of {@linkcode orders}; and how many arguments it has. */
    call: 2,
    count: 3,
    /**
     * The call that gives back what that one took, none if there is no such call or the owner has it;
     * and how many arguments it has.
     */
    reversal: 4,
    reversalCount: 5,
    /** What the call gave. */
    result: 6,
    errno: 7,
    /** Not 0 if the call is to end. */
    cancel: 8,
    /** The slot of the thread to start. */
    start: 9,
  },
  floats: {
    /** The pthread_t of the thread. */
    pthread: 5,
    /** Where the memory of its calls stands, which it frees as it ends; 0 if there is none. */
    memory: 6,
    /** What is passed to the call. */
    arguments: 7,
    /** What is passed to the one that gives back: NaN stands for the result of the first. */
    reversal: 12,
  },
} as const;

/** What stands in place of the number of a call: that there is none, or what else a thread is asked for. */
export const orders = { none: -1, start: -2, leave: -3 } as const;

/** What a thread has to know, as plain data. */
export interface ThreadSettings {
  libraries: readonly string[];
  table: Prototypes;
  callNames: readonly string[];
  slot: typeof slot;
  orders: typeof orders;
  eintr: number;
  esrch: number;
  /** The number of the system call tgkill, where there is one. */
  tgkill: number;
  /** After how many idle milliseconds it looks whether its owner is still there. */
  patience: number;
  /** The same as long as its owner has not taken what the last call gave. */
  haste: number;
}

/** What a thread is handed at its start. */
export interface ThreadData {
  /** The slots of all threads. */
  memory: SharedArrayBuffer;
  /** Which is its own. */
  index: number;
  /** The thread id of its owner. */
  owner: number;
  /** Its own text, to start others. */
  source: string;
}

/** The text of a worker that is a waiter thread. */
export function threadSource(backend: Backend, settings: ThreadSettings): string {
  return `(${thread})(${backend.open}, ${backend.view}, ${JSON.stringify(settings)});`;
}

/**
 * Serves its slot until it is told to leave, or its owner is no more: a worker of the program that
 * is terminated can tell nobody, and some runtimes leave the threads of such a worker alone. With the
 * first thread, whose number is the process's, the process ends.
 */
export function thread(
  open: (
    libraries: readonly string[],
    table: Prototypes,
  ) => Record<string, (...given: number[]) => number>,
  view: (address: number, length: number) => ArrayBuffer,
  { libraries, table, callNames, slot, orders, eintr, esrch, tgkill, patience, haste }:
    ThreadSettings,
): void {
  const { workerData, Worker } = process.getBuiltinModule("node:worker_threads");
  const { memory, index, owner, source } = workerData as ThreadData;
  const { integers, floats } = slot;
  const integersOf = (index: number) => new Int32Array(memory, index * slot.size, slot.size / 4);
  const own = integersOf(index);
  const numbers = new Float64Array(memory, index * slot.size, slot.size / 8);

  const answer = (own: Int32Array, count: number) => {
    Atomics.store(own, integers.answered, count);
    Atomics.notify(own, integers.answered);
  };
  /** Starts another thread. */
  const startOther = (other: number) => {
    try {
      const url = new URL(`data:text/javascript,${encodeURIComponent(source)}`);
      new Worker(url, { workerData: { memory, index: other, owner, source } });
    } catch {
      answer(integersOf(other), -1);
    }
  };

  const calls = open(libraries, table);
  const errno = new Int32Array(view(calls.errnoLocation!(), 4));
  const pid = calls.getpid!();
  numbers[floats.pthread] = calls.pthread_self!();

  /** No other process's thread counts, and no signal is sent. */
  const ownerIsGone = () =>
    calls.syscall !== undefined && calls.syscall(tgkill, pid, owner, 0) === -1 &&
    errno[0] === esrch;
  /** Gives back what a call took for an owner that is no more. */
  const reverse = (result: number) => {
    const name = callNames[own[integers.reversal]!]!;
    const end = floats.reversal + own[integers.reversalCount]!;
    const given = [...numbers.subarray(floats.reversal, end)];
    const passed = given.map((value) => Number.isNaN(value) ? result : value);
    while (calls[name]!(...passed) === -1 && errno[0] === eintr);
  };

  const first = floats.arguments;
  let asked = own[integers.asked]!;
  serving:
  for (;;) {
    answer(own, asked);
    while (Atomics.load(own, integers.asked) === asked) {
      const untaken = Atomics.load(own, integers.reversal) !== orders.none;
      const timeout = owner === pid ? Infinity : untaken ? haste : patience;
      const woken = Atomics.wait(own, integers.asked, asked, timeout);
      if (woken !== "timed-out" || !ownerIsGone()) continue;
      // Its last act may have been to take it.
      if (Atomics.load(own, integers.reversal) !== orders.none) reverse(own[integers.result]!);
      break serving;
    }
    asked = Atomics.load(own, integers.asked);
    const order = own[integers.call]!;
    if (order === orders.leave) break;
    if (order === orders.start) {
      startOther(own[integers.start]!);
      continue;
    }
    const call = calls[callNames[order]!]!;
    const count = own[integers.count]!;
    let result = -1;
    let error = eintr;
    // A signal that is not ours ends the call too: it goes on unless it is to end.
    while (result === -1 && error === eintr && Atomics.load(own, integers.cancel) === 0) {
      // The usual number of arguments is passed without an array of them.
      result = count === 3
        ? call(numbers[first]!, numbers[first + 1]!, numbers[first + 2]!)
        : call(...numbers.subarray(first, first + count));
      error = errno[0]!;
    }
    own[integers.result] = result;
    own[integers.errno] = error;
    if (result === -1) own[integers.reversal] = orders.none;
  }
  if (numbers[floats.memory] !== 0) calls.free!(numbers[floats.memory]!);
}
