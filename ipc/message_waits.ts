/**
 * Sending and receiving that waits in line: see wait/line.ts.
 *
 * @module
 */

import { IPC_NOWAIT } from "../ffi/constants.ts";
import { msgrcv, msgsnd } from "../ffi/calls.ts";
import { Slot, USUAL_LONGEST } from "../ffi/msgbuf.ts";
import type { ThreadMemory, ThreadRequest } from "../wait/pool.ts";
import { type Ending, type Operation, wait, type WaitRequest } from "../wait/line.ts";
import { timeoutError } from "../wait/options.ts";
import type { Selection } from "./message.ts";
import { checkFits, receiveError, sendError, sendTimeout } from "./message_calls.ts";
import type { Handle } from "./handle.ts";

/** Receiving into memory of its own, as long as there are equal waits. */
class ReceiveOperation implements Operation {
  readonly call = "msgrcv";
  readonly slot: Slot = new Slot();

  constructor(
    readonly id: number,
    readonly selection: Selection,
    readonly size: number = Infinity,
  ) {
    this.slot.reserve(Math.min(size, USUAL_LONGEST));
  }

  attempt(): number {
    const { type, flags } = this.selection;
    return msgrcv(this.id, this.slot.pointer, this.slot.capacity, type, flags | IPC_NOWAIT);
  }

  request(memory: ThreadMemory): ThreadRequest {
    const { type, flags } = this.selection;
    const { address } = memory.reserve(this.slot.bytes.length);
    return {
      arguments: [this.id, address, this.slot.capacity, type, flags],
      // As long as it was received: that is the result.
      reversal: { call: "msgsnd", arguments: [this.id, address, NaN, 0] },
    };
  }

  received({ bytes }: ThreadMemory, length: number): void {
    this.slot.take(bytes, length);
  }

  grow(): boolean {
    const { capacity } = this.slot;
    if (capacity >= this.size) return false;
    this.slot.reserve(Math.min(2 * capacity, this.size));
    return true;
  }
}

/** A message that is to be received: into a buffer of `size` bytes, or however long it is. */
export class ReceiveRequest<Result> implements WaitRequest<Result, ReceiveOperation> {
  readonly key: string;
  readonly shared = true;

  constructor(
    readonly handle: Handle,
    readonly selection: Selection,
    readonly size: number | undefined,
    readonly timeout: number,
    readonly signal: AbortSignal | undefined,
    readonly taken: (slot: Slot, length: number) => Result,
  ) {
    this.key = `msgrcv ${handle.id}: ${selection.type} ${selection.flags} ${size}`;
  }

  get endings(): Set<Ending> {
    return this.handle.endings;
  }

  operation(): ReceiveOperation {
    return new ReceiveOperation(this.handle.id, this.selection, this.size);
  }

  take(length: number, { slot }: ReceiveOperation): Result {
    return this.taken(slot, length);
  }

  error(errno: number): Error {
    return receiveError(this.handle, errno);
  }

  timeoutError(): Error {
    return timeoutError(`receive from ${this.handle.name}`, this.timeout);
  }
}

/** Sending one message. */
class SendOperation implements Operation {
  readonly call = "msgsnd";

  constructor(readonly id: number, readonly slot: Slot, readonly length: number) {}

  attempt(): number {
    return msgsnd(this.id, this.slot.pointer, this.length, IPC_NOWAIT);
  }

  request(memory: ThreadMemory): ThreadRequest {
    const { bytes } = this.slot;
    memory.reserve(bytes.length).bytes.set(bytes);
    return { arguments: [this.id, memory.address, this.length, 0] };
  }
}

/** The line of all that this thread sends to a queue: it goes in the order in which it was sent. */
export function sendLine(handle: Handle): string {
  return `msgsnd ${handle.id}`;
}

/** All that waits to be sent by this thread. */
const unsent = new Set<SendRequest>();

/** Waits until a message is sent. */
export async function waitToSend(request: SendRequest): Promise<void> {
  const { endings } = request.handle;
  unsent.add(request);
  endings.add(request);
  try {
    await wait(request);
  } finally {
    unsent.delete(request);
    endings.delete(request);
  }
}

/** Ends the waits for messages that can never have room, as the queue was made smaller. */
export function refuseUnfitting({ id }: Handle): void {
  for (const request of [...unsent]) {
    if (request.handle.id === id) request.refuseUnfitting();
  }
}

/** A message that is to be sent. */
export class SendRequest implements WaitRequest<void, SendOperation>, Ending {
  readonly key: string;
  readonly shared = false;
  readonly slot: Slot = new Slot();
  readonly endings: Set<Ending> = new Set();

  constructor(
    readonly handle: Handle,
    packed: Slot,
    readonly length: number,
    readonly timeout: number,
    readonly signal: AbortSignal | undefined,
  ) {
    this.key = sendLine(handle);
    this.slot.reserve(length);
    this.slot.take(packed.bytes, length);
  }

  end(reason: unknown): void {
    for (const ending of [...this.endings]) ending.end(reason);
  }

  refuseUnfitting(): void {
    try {
      checkFits(this.handle, this.length);
    } catch (error) {
      this.end(error);
    }
  }

  operation(): SendOperation {
    return new SendOperation(this.handle.id, this.slot, this.length);
  }

  take(): void {}

  error(errno: number): Error {
    return sendError(this.handle, errno, this.length);
  }

  timeoutError(): Error {
    return sendTimeout(this.handle, this.length, this.timeout);
  }
}
