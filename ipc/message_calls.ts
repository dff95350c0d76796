/**
 * Sending and receiving on this thread: at once, or blocking it.
 *
 * @module
 */

import { errors, IPC_NOWAIT } from "../ffi/constants.ts";
import { abi } from "../ffi/platforms.ts";
import { msgrcv, msgsnd } from "../ffi/calls.ts";
import { Slot, USUAL_LONGEST } from "../ffi/msgbuf.ts";
import { limited, resume } from "../wait/block.ts";
import { timeoutError } from "../wait/options.ts";
import type { Handle } from "./handle.ts";
import type { Selection } from "./message.ts";
import { maxBytesOf, systemLimits } from "./queue_handle.ts";

// One slot serves all sends and one all receives: a call is over before the next.
/** The message that is being sent. */
export const outgoing: Slot = new Slot();
/** The message that was received last. */
export const incoming: Slot = new Slot();

/** Sends the outgoing message if the queue has room, and returns whether it had. */
export function trySend(handle: Handle, length: number): boolean {
  const result = msgsnd(handle.id, outgoing.pointer, length, IPC_NOWAIT);
  return result >= 0 || isFull(handle, result, length);
}

/** Returns false if the message has no room now; throws if it never has, or something else failed. */
function isFull(handle: Handle, result: number, length: number): false {
  if (result !== -errors.EAGAIN) throw sendError(handle, -result, length);
  checkFits(handle, length);
  return false;
}

/** Sends the outgoing message, blocking the thread while the queue is full. */
export function sendSync(handle: Handle, length: number, timeout: number): void {
  if (!trySend(handle, length)) sendBlocking(handle, length, timeout);
}

function sendBlocking(handle: Handle, length: number, timeout: number): void {
  const call = () => msgsnd(handle.id, outgoing.pointer, length, 0);
  const result = goOn(timeout === Infinity ? call() : -errors.EAGAIN, call, timeout);
  if (result >= 0) return;
  if (isUp(result)) throw sendTimeout(handle, length, timeout);
  throw sendError(handle, -result, length);
}

/**
 * Throws if a message can never have room in the queue as it is. Asked only of what has none now. A
 * queue limited to 0 bytes is closed for now: sends wait until it is opened.
 */
export function checkFits(handle: Handle, length: number): void {
  const maxBytes = maxBytesOf(handle);
  if (maxBytes === undefined || maxBytes === 0 || length <= maxBytes) return;
  throw handle.error(
    errors.EINVAL,
    "msgsnd",
    `send ${length} bytes to ${handle.name}`,
    `the queue holds at most ${maxBytes} bytes (maxBytes): raise that, or send it in parts`,
  );
}

/** Makes the error of a send that timed out. */
export function sendTimeout(handle: Handle, length: number, timeout: number): Error {
  return timeoutError(`send ${length} bytes to ${handle.name}`, timeout);
}

/** Makes the error of a failed send. */
export function sendError(handle: Handle, errno: number, length: number): Error {
  const action = `send ${length} bytes to ${handle.name}`;
  if (errno !== errors.EINVAL) return handle.error(errno, "msgsnd", action);
  const { msgmax } = systemLimits();
  const most = msgmax === undefined ? "fewer" : `at most ${msgmax}`;
  const reason =
    `a message has ${most} bytes (MSGMAX, kernel.msgmax): send it in parts, or use shared memory`;
  return handle.error(errno, "msgsnd", action, reason);
}

/**
 * Receives into the incoming slot if there is something.
 *
 * @param size The room that the receiver has; undefined for as much as it takes.
 * @returns The length, or -1 if there is nothing.
 */
export function tryReceive(handle: Handle, selection: Selection, size: number | undefined): number {
  if (handle.state !== "open") throw handle.refusal();
  const room = reserve(size);
  const { type, flags } = selection;
  const result = msgrcv(handle.id, incoming.pointer, room, type, flags | IPC_NOWAIT);
  return result >= 0 ? result : tryAgain(handle, selection, size, result);
}

/** Returns -1 if there was nothing, else tries again with more room. */
function tryAgain(
  handle: Handle,
  selection: Selection,
  size: number | undefined,
  result: number,
): number {
  if (result === -errors.ENOMSG) return -1;
  grow(handle, result, size, selection.flags & abi.constants.MSG_COPY);
  return tryReceive(handle, selection, size);
}

/** Receives into the incoming slot, blocking the thread, and returns the length. */
export function receiveSync(
  handle: Handle,
  selection: Selection,
  size: number | undefined,
  timeout: number,
): number {
  if (handle.state !== "open") throw handle.refusal();
  const { type, flags } = selection;
  const first = timeout === Infinity ? flags : flags | IPC_NOWAIT;
  const room = reserve(size);
  const result = msgrcv(handle.id, incoming.pointer, room, type, first);
  return result >= 0 ? result : receiveBlocking(handle, selection, size, timeout, result);
}

/** Receives after all when it did not at once: for a signal, for want of a message, or of room. */
function receiveBlocking(
  handle: Handle,
  { type, flags }: Selection,
  size: number | undefined,
  timeout: number,
  first: number,
): number {
  const deadline = performance.now() + timeout;
  const receive = (flag: number) => {
    const room = reserve(size);
    return msgrcv(handle.id, incoming.pointer, room, type, flags | flag);
  };
  for (let tried = first;;) {
    const result = goOn(tried, () => receive(0), Math.max(deadline - performance.now(), 0));
    if (result >= 0) return result;
    if (isUp(result)) throw timeoutError(`receive from ${handle.name}`, timeout);
    grow(handle, result, size);
    tried = receive(timeout === Infinity ? 0 : IPC_NOWAIT);
  }
}

/** Makes room in the incoming slot, and returns for how many bytes. */
function reserve(size: number | undefined): number {
  const least = size ?? USUAL_LONGEST;
  if (least > incoming.capacity) incoming.reserve(Math.max(least, USUAL_LONGEST));
  return size ?? incoming.capacity;
}

/** Makes room for a message that was too long, unless its receiver has no more, or something else failed. */
function grow(handle: Handle, result: number, size: number | undefined, copying = 0): void {
  if (result === -errors.E2BIG && size === undefined) incoming.reserve(2 * incoming.capacity);
  else if (result !== -errors.EINVAL || copying === 0) throw receiveError(handle, -result);
  else throw peekError(handle);
}

/** Makes the error of a failed receive. */
export function receiveError(handle: Handle, errno: number): Error {
  return handle.error(errno, "msgrcv", `receive from ${handle.name}`);
}

/** Copying fails with EINVAL if there is no queue, and if the limit is below the length of a message. */
function peekError(handle: Handle): Error {
  const { msgmax } = systemLimits();
  const reason =
    `the message is longer than the ${msgmax} bytes that can be copied now (MSGMAX, kernel.msgmax)`;
  return handle.error(errors.EINVAL, "msgrcv", `peek into ${handle.name}`, reason);
}

/** Goes on with a call that was tried: after a signal, or, with a timeout, when it has to wait. */
function goOn(tried: number, call: () => number, timeout: number): number {
  if (tried === -errors.EINTR) return resume(call);
  const waits = tried === -errors.EAGAIN || tried === -errors.ENOMSG;
  return waits && timeout > 0 ? limited(call, timeout) : tried;
}

/** Whether a call ended because its timeout expired. */
function isUp(result: number): boolean {
  return result === -errors.ETIMEDOUT || result === -errors.EAGAIN || result === -errors.ENOMSG;
}
