/**
 * The memory that a waiter thread shares with its owner, field by field. Each side writes only what
 * is said here to be its own; what the other side waits on is written last, and atomically.
 *
 * @module
 */

/** The maximum number of arguments of a call. */
export const MAX_ARGUMENTS = 5;

/** Where each field stands: 32-bit integers and 64-bit floats, by their index among their like. */
export const mailbox = {
  /** The size of a mailbox, in bytes. */
  size: 192,
  integers: {
    /** Owner: how often the thread was asked for something, its start included. The thread waits on it. */
    asked: 0,
    /** Thread: up to which of these it has answered. The owner waits on it. */
    answered: 1,
    /** Either: not 0 once the thread cannot answer any more. Then `answered` is changed, too. */
    failed: 2,
    /** Owner: which call to make, or one of {@linkcode orders}; and how many arguments it has. */
    call: 3,
    count: 4,
    /** Owner: one of {@linkcode cancels} if the call is to end, otherwise 0. */
    cancel: 5,
    /** Owner: how many waits have joined the line, so far, for which the call is made. */
    joined: 6,
    /** Thread: the same number when the call was last entered: the result is for these waits alone. */
    entered: 7,
    /** Thread: the result of the call, and errno if that is -1. */
    result: 8,
    errno: 9,
    /**
     * Owner: the call that gives back what `call` took, if its result is lost, and how many arguments it has.
     * The thread clears it if the call took nothing, the owner once it has the result.
     */
    reversal: 10,
    reversalCount: 11,
    /** Thread: not 0 once it has ended as it was told. */
    left: 12,
  },
  floats: {
    /** Thread: its pthread_t. */
    pthread: 7,
    /** Owner: the address of the memory of the calls, which the thread frees as it ends; 0 if there is none. */
    memory: 8,
    /** Owner: the arguments of the call. */
    arguments: 9,
    /** Owner: the arguments of the call that gives back. NaN stands for the result of `call`. */
    reversal: 9 + MAX_ARGUMENTS,
  },
} as const;

/** What stands in place of the number of a call: that there is none, or that the thread is to end. */
export const orders = { none: -1, leave: -2 } as const;

/** What is to end: the call, or even the one that gives back, where the program cannot wait for it. */
export const cancels = { call: 1, reversal: 2 } as const;

/** What a thread was asked for first: to start. */
export const STARTED = 1;

/** Where the mailbox of a thread is. */
export interface Place {
  readonly memory: SharedArrayBuffer;
  /** Where it begins, in bytes. */
  readonly offset: number;
}
