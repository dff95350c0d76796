/**
 * The waiter thread: makes blocking calls one after the other, and can be interrupted in them.
 *
 * {@linkcode thread} runs in a worker made of its own text, so that `--allow-ffi` stays the only
 * permission and bundlers need to know of nothing. Therefore it names nothing outside itself; and no
 * function in it has a name, as bundlers that keep names wrap such functions in a helper that would
 * be missing there.
 *
 * @module
 */

import type { Backend, Prototypes } from "../ffi/backend.ts";
import type { cancels, mailbox, orders, Place } from "./mailbox.ts";
import { giveBack, type Insides, isGone } from "./reversal.ts";

/** The calls that a waiter thread can make, with buffers by their address. */
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

/** What a thread has to know, as plain data. */
export interface ThreadSettings {
  libraries: readonly string[];
  table: Prototypes;
  callNames: readonly string[];
  mailbox: typeof mailbox;
  orders: typeof orders;
  cancels: typeof cancels;
  eintr: number;
  esrch: number;
  /** The number of the system call tgkill, where there is one. */
  tgkill: number;
  /** After how many idle milliseconds it looks whether its owner is still there. */
  idleCheckMs: number;
  /** The same as long as its owner has not taken what the last call gave. */
  pendingCheckMs: number;
}

/** What a thread is handed at its start: where its mailbox is. */
export interface ThreadData extends Place {
  /** The thread id of its owner. */
  readonly owner: number;
}

/** The text of a function that is a waiter thread, given its {@linkcode ThreadData}. */
export function threadText({ open, view }: Backend, settings: ThreadSettings): string {
  const parts = [open, view, isGone, giveBack, JSON.stringify(settings)];
  return `(data) => (${thread})(data, ${parts.join(", ")})`;
}

/**
 * Serves its mailbox until it gets the order to end, or its owner has ended.
 *
 * A call goes on after a signal unless it is to end. Each time it is entered, the thread notes how
 * many waits had joined the line: EINTR proves that the call was still waiting, so a later result
 * holds for these.
 */
export function thread(
  { memory, offset, owner }: ThreadData,
  open: (
    libraries: readonly string[],
    table: Prototypes,
  ) => Record<string, (...given: number[]) => number>,
  view: (address: number, length: number) => ArrayBuffer,
  isGone: (owner: number, pid: number, insides: Insides) => boolean,
  giveBack: (insides: Insides) => void,
  settings: ThreadSettings,
): void {
  const { mailbox, orders, callNames, eintr } = settings;
  const at = mailbox.integers;
  const first = mailbox.floats.arguments;
  const integers = new Int32Array(memory, offset);
  const floats = new Float64Array(memory, offset);
  try {
    const calls = open(settings.libraries, settings.table);
    const errno = new Int32Array(view(calls.errnoLocation!(), 4));
    const pid = calls.getpid!();
    const insides = { calls, errno, integers, floats, settings };
    floats[mailbox.floats.pthread] = calls.pthread_self!();

    let asked = integers[at.asked]!;
    serving:
    for (;;) {
      Atomics.store(integers, at.answered, asked);
      Atomics.notify(integers, at.answered);
      while (Atomics.load(integers, at.asked) === asked) {
        const untaken = Atomics.load(integers, at.reversal) !== orders.none;
        const interval = untaken ? settings.pendingCheckMs : settings.idleCheckMs;
        const timeout = owner === pid ? Infinity : interval;
        const woken = Atomics.wait(integers, at.asked, asked, timeout);
        if (woken === "timed-out" && isGone(owner, pid, insides)) break serving;
      }
      asked = Atomics.load(integers, at.asked);
      const order = integers[at.call]!;
      if (order === orders.leave) break;
      const call = calls[callNames[order]!]!;
      const count = integers[at.count]!;
      let result = -1;
      let error = eintr;
      while (result === -1 && error === eintr && Atomics.load(integers, at.cancel) === 0) {
        Atomics.store(integers, at.entered, Atomics.load(integers, at.joined));
        // The usual number of arguments is passed without an array of them.
        result = count === 3
          ? call(floats[first]!, floats[first + 1]!, floats[first + 2]!)
          : call(...floats.subarray(first, first + count));
        error = errno[0]!;
      }
      integers[at.result] = result;
      integers[at.errno] = error;
      if (result === -1) integers[at.reversal] = orders.none;
    }
    giveBack(insides);
    if (floats[mailbox.floats.memory] !== 0) calls.free!(floats[mailbox.floats.memory]!);
    Atomics.store(integers, at.answered, asked);
    Atomics.store(integers, at.left, 1);
    Atomics.notify(integers, at.answered);
  } catch {
    // A bundler has left out a name, or the library does not load. The owner then waits without threads.
    Atomics.store(integers, at.failed, 1);
    Atomics.add(integers, at.answered, 1);
    Atomics.notify(integers, at.answered);
  }
}
