/**
 * Sending and receiving that waits in line: see wait/line.ts.
 *
 * @module
 */

import { IPC_NOWAIT } from "../ffi/constants.ts";
import { msgrcv, msgsnd } from "../ffi/calls.ts";
import { Slot, USUAL_LONGEST } from "../ffi/msgbuf.ts";
import type { Cancellable } from "../wait/cancel.ts";
import { equalWait, wait } from "../wait/line.ts";
import type { ThreadMemory, ThreadRequest } from "../wait/thread.ts";
import type { Wait } from "../wait/waiter.ts";
import { timeoutError } from "../wait/options.ts";
import type { Selection } from "./message.ts";
import { checkFits, receiveError, sendError, sendTimeout } from "./message_calls.ts";
import type { Handle } from "./handle.ts";

/** The line of equal receivers: of what is selected, into a buffer of `size` bytes. */
export function receiveLine(
  { id }: Handle,
  { type, flags }: Selection,
  size: number | undefined,
): string {
  return `msgrcv ${id}: ${type} ${flags} ${size}`;
}

/** A message that is to be received: into a buffer of `size` bytes, or however long it is. */
export class ReceiveWait<Result> implements Wait<Result> {
  readonly key: string;
  /** Where it is received, as long as there are equal waits. */
  readonly slot: Slot;
  readonly handle: Handle;
  readonly selection: Selection;
  readonly size: number | undefined;
  readonly timeout: number;
  readonly signal: AbortSignal | undefined;
  readonly taken: (slot: Slot, length: number) => Result;

  constructor(
    key: string,
    handle: Handle,
    selection: Selection,
    size: number | undefined,
    timeout: number,
    signal: AbortSignal | undefined,
    taken: (slot: Slot, length: number) => Result,
  ) {
    this.key = key;
    this.handle = handle;
    this.selection = selection;
    this.size = size;
    this.timeout = timeout;
    this.signal = signal;
    this.taken = taken;
    const equal = equalWait(key);
    this.slot = equal instanceof ReceiveWait ? equal.slot : new Slot();
    this.slot.reserve(Math.min(size ?? Infinity, USUAL_LONGEST));
  }

  get shared(): boolean {
    return true;
  }

  get readOnly(): boolean {
    return false;
  }

  get dependents(): Set<Cancellable> {
    return this.handle.dependents;
  }

  get call(): "msgrcv" {
    return "msgrcv";
  }

  attempt(): number {
    const { handle, slot, selection: { type, flags } } = this;
    return msgrcv(handle.id, slot.pointer, slot.capacity, type, flags | IPC_NOWAIT);
  }

  request(memory: ThreadMemory): ThreadRequest {
    const { handle: { id }, slot, selection: { type, flags } } = this;
    const { address } = memory.reserve(slot.bytes.length);
    return {
      arguments: [id, address, slot.capacity, type, flags],
      // As long as it was received: that is the result.
      reversal: { call: "msgsnd", arguments: [id, address, NaN, 0] },
    };
  }

  received({ bytes }: ThreadMemory, length: number): void {
    this.slot.take(bytes, length);
  }

  grow(): boolean {
    const { slot, size = Infinity } = this;
    if (slot.capacity >= size) return false;
    slot.reserve(Math.min(2 * slot.capacity, size));
    return true;
  }

  take(length: number): Result {
    return this.taken(this.slot, length);
  }

  error(errno: number): Error {
    return receiveError(this.handle, errno);
  }

  timeoutError(): Error {
    return timeoutError(`receive from ${this.handle.name}`, this.timeout);
  }
}

/** The line of all that this thread sends to a queue: it goes in the order in which it was sent. */
export function sendLine(handle: Handle): string {
  return `msgsnd ${handle.id}`;
}

/** All that waits to be sent by this thread. */
const unsent = new Set<SendWait>();
/** How often that is compared with its queue, in milliseconds: other processes can make a queue smaller. */
const INTERVAL = 500;
let comparing: ReturnType<typeof setInterval> | undefined;

/** Waits until a message is sent. */
export async function waitToSend(waiting: SendWait): Promise<void> {
  const { dependents } = waiting.handle;
  unsent.add(waiting);
  dependents.add(waiting);
  comparing ??= compareAtInterval();
  try {
    await wait(waiting);
  } finally {
    unsent.delete(waiting);
    dependents.delete(waiting);
    if (unsent.size === 0) stopComparing();
  }
}

function compareAtInterval(): ReturnType<typeof setInterval> {
  const { setInterval } = process.getBuiltinModule("node:timers");
  return setInterval(() => {
    for (const waiting of [...unsent]) waiting.refuseUnfitting();
  }, INTERVAL).unref();
}

function stopComparing(): void {
  process.getBuiltinModule("node:timers").clearInterval(comparing);
  comparing = undefined;
}

/** Ends the waits for messages that can never have room, as the queue was made smaller. */
export function refuseUnfitting({ id }: Handle): void {
  for (const waiting of [...unsent]) {
    if (waiting.handle.id === id) waiting.refuseUnfitting();
  }
}

/** A message that is to be sent. */
export class SendWait implements Wait<void>, Cancellable {
  readonly key: string;
  readonly slot: Slot = new Slot();
  readonly dependents: Set<Cancellable> = new Set();
  readonly handle: Handle;
  readonly length: number;
  readonly timeout: number;
  readonly signal: AbortSignal | undefined;

  constructor(
    handle: Handle,
    packed: Slot,
    length: number,
    timeout: number,
    signal: AbortSignal | undefined,
  ) {
    this.handle = handle;
    this.length = length;
    this.timeout = timeout;
    this.signal = signal;
    this.key = sendLine(handle);
    this.slot.reserve(length);
    this.slot.take(packed.bytes, length);
  }

  cancel(reason: unknown): void {
    for (const dependent of [...this.dependents]) dependent.cancel(reason);
  }

  refuseUnfitting(): void {
    try {
      checkFits(this.handle, this.length);
    } catch (error) {
      this.cancel(error);
    }
  }

  get shared(): boolean {
    return false;
  }

  get readOnly(): boolean {
    return false;
  }

  get call(): "msgsnd" {
    return "msgsnd";
  }

  attempt(): number {
    return msgsnd(this.handle.id, this.slot.pointer, this.length, IPC_NOWAIT);
  }

  request(memory: ThreadMemory): ThreadRequest {
    const { bytes } = this.slot;
    memory.reserve(bytes.length).bytes.set(bytes);
    return { arguments: [this.handle.id, memory.address, this.length, 0] };
  }

  take(): void {}

  error(errno: number): Error {
    return sendError(this.handle, errno, this.length);
  }

  timeoutError(): Error {
    return sendTimeout(this.handle, this.length, this.timeout);
  }
}
