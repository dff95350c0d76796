/**
 * Handles of message queues: how a queue is made, found, limited and described.
 *
 * @module
 */

import { abi, msginfo } from "../ffi/platforms.ts";
import { readStruct, Struct } from "../ffi/struct.ts";
import { msgctl, msgget } from "../ffi/calls.ts";
import { checkInteger } from "../ffi/check.ts";
import { IpcError, ipcError } from "../ffi/error.ts";
import {
  abandon,
  create,
  discard,
  openOrCreate,
  readCreateOptions,
  readOpenOrCreateOptions,
} from "./get.ts";
import { dateOf, type Handle } from "./handle.ts";
import { type Key, keyNumber } from "./key.ts";
import type {
  CreateOptions,
  ObjectInfo,
  ObjectType,
  OpenOrCreateOptions,
  PermissionOptions,
} from "./object.ts";

/** What {@linkcode MessageQueue.stat} returns. */
export interface MessageQueueInfo extends ObjectInfo {
  /** The number of messages in the queue. */
  readonly messages: number;
  /** The number of their bytes. */
  readonly bytes: number;
  /** The maximum number of bytes that it holds. */
  readonly maxBytes: number;
  /** The time of the last send, undefined for never. */
  readonly lastSend: Date | undefined;
  /** The time of the last receive, undefined for never. */
  readonly lastReceive: Date | undefined;
  /** The process that sent last, 0 for none. */
  readonly lastSendPid: number;
  /** The process that received last, 0 for none; after a wait by promise, the number of its thread. */
  readonly lastReceivePid: number;
}

const { fields } = abi.layouts.msqid;

/** Message queues, as the kernel has them. */
export const messageQueue: ObjectType = {
  noun: "message queue",
  syscalls: { get: "msgget", control: "msgctl" },
  layout: abi.layouts.msqid,
  struct: new Struct(abi.layouts.msqid),
  changeTime: fields.msg_ctime!,
  letter: "q",
  openModes: [0o600, 0o200, 0o400],
  statAny: abi.constants.MSG_STAT_ANY,
  get: (key, _size, flags) => msgget(key, flags),
  control: msgctl,
  limits() {
    const { msgmni } = systemLimits();
    return `the system has ${msgmni} of at most ${msgmni} queues (MSGMNI, kernel.msgmni)`;
  },
  largest: () => undefined,
};

/** Reads the limits of the system, where it has such a call. */
export function systemLimits(): Record<string, number> {
  const buffer = new Uint8Array(msginfo.size);
  return msgctl(0, abi.constants.IPC_INFO, buffer) < 0 ? {} : readStruct(msginfo, buffer);
}

/** Creates a queue and limits it. */
export function createQueue(
  options: CreateOptions | undefined,
  maxBytes: number | undefined,
): Handle {
  const { key, mode, owner } = readCreateOptions(options);
  checkMaxBytes(maxBytes);
  const handle = create(messageQueue, key, owner, { mode });
  try {
    if (maxBytes !== undefined) setPermissions(handle, {}, maxBytes);
    return handle;
  } catch (error) {
    discard(handle, error);
    throw error;
  }
}

/** Opens a queue, or creates and limits it. */
export function openOrCreateQueue(
  key: Key,
  options: OpenOrCreateOptions | undefined,
  maxBytes: number | undefined,
): Handle {
  const { mode, allowForeign } = readOpenOrCreateOptions(options);
  keyNumber(key);
  checkMaxBytes(maxBytes);
  for (;;) {
    const handle = openOrCreate(messageQueue, key, allowForeign, { mode });
    try {
      if (handle.created && maxBytes !== undefined) setPermissions(handle, {}, maxBytes);
      return handle;
    } catch (error) {
      abandon(handle, error);
    }
  }
}

/** Describes a queue. */
export function queueInfo(handle: Handle): MessageQueueInfo {
  const struct = handle.read();
  return Object.freeze({
    ...handle.describe(struct),
    messages: struct.read(fields.msg_qnum!),
    bytes: struct.read(fields.msg_cbytes!),
    maxBytes: struct.read(fields.msg_qbytes!),
    lastSend: dateOf(struct.read(fields.msg_stime!)),
    lastReceive: dateOf(struct.read(fields.msg_rtime!)),
    lastSendPid: struct.read(fields.msg_lspid!),
    lastReceivePid: struct.read(fields.msg_lrpid!),
  });
}

/** Reads how many bytes a queue holds at most; undefined if that cannot be known. */
export function maxBytesOf(handle: Handle): number | undefined {
  return handle.tryLook()?.read(fields.msg_qbytes!);
}

function checkMaxBytes(maxBytes: number | undefined): void {
  if (maxBytes !== undefined) {
    checkInteger(maxBytes, 0, 0x7fffffff, `limit a queue to ${maxBytes} bytes`);
  }
}

/** Changes who may use a queue, and how much it holds. */
export function setPermissions(
  handle: Handle,
  permissions: PermissionOptions,
  maxBytes: number | undefined,
): void {
  checkMaxBytes(maxBytes);
  try {
    handle.setPermissions(permissions, maxBytes === undefined ? {} : { msg_qbytes: maxBytes });
  } catch (error) {
    if (!(error instanceof IpcError && error.code === "EPERM")) throw error;
    const { msgmnb } = systemLimits();
    if (!(maxBytes! > msgmnb!)) throw error;
    throw ipcError("EPERM", `limit ${handle.name} to ${maxBytes} bytes`, {
      syscall: "msgctl",
      id: handle.id,
      key: handle.key,
      reason:
        `more than ${msgmnb} bytes need a privilege (MSGMNB, kernel.msgmnb; CAP_SYS_RESOURCE)`,
    });
  }
}
