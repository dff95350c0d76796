/**
 * Sending and receiving that waits in line: see wait/line.ts.
 *
 * @module
 */

import { errors, IPC_NOWAIT } from "../ffi/constants.ts";
import { msgrcv, msgsnd } from "../ffi/calls.ts";
import { Slot, USUAL_LONGEST } from "../ffi/msgbuf.ts";
import type { ThreadMemory, ThreadRequest } from "../wait/pool.ts";
import type { Ending, Operation, WaitRequest } from "../wait/line.ts";
import { timeoutError } from "../wait/options.ts";
import type { Selection } from "./message.ts";
import { type Handle, ipcError } from "./object.ts";

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

/** A message that is to be sent. */
export class SendRequest implements WaitRequest<void, SendOperation> {
  readonly key: string;
  readonly shared = false;
  readonly slot: Slot = new Slot();

  constructor(
    readonly handle: Handle,
    packed: Slot,
    readonly length: number,
    readonly timeout: number,
    readonly signal: AbortSignal | undefined,
    readonly failure: (errno: number) => Error,
  ) {
    this.key = sendLine(handle);
    this.slot.reserve(length);
    this.slot.text.set(packed.text.subarray(0, length));
    this.slot.type = packed.type;
  }

  get endings(): Set<Ending> {
    return this.handle.endings;
  }

  operation(): SendOperation {
    return new SendOperation(this.handle.id, this.slot, this.length);
  }

  take(): void {}

  error(errno: number): Error {
    return this.failure(errno);
  }

  timeoutError(): Error {
    return timeoutError(`send ${this.length} bytes to ${this.handle.name}`, this.timeout);
  }
}

/** Makes an error of a failed msgrcv. */
export function receiveError(handle: Handle, errno: number): Error {
  const doing = `receive from ${handle.name}`;
  if (errno !== errors.E2BIG) return handle.error(errno, "msgrcv", doing);
  const reason = "the message is longer than the buffer: it stays in the queue";
  return ipcError(errno, "msgrcv", doing, handle, reason);
}
