/**
 * System V semaphores, message queues and shared memory for Deno, Bun and Node.
 *
 * For processes that must coordinate, and stay right when one of them is killed: when a process dies, even by
 * SIGKILL, the kernel reverses its semaphore operations.
 *
 * Coordination made of semaphores (mutex, barrier, leader and others) is in `@sysv/ipc/sync`, pipes, polling
 * and signals in `@sysv/ipc/unix`, the calls of C in `@sysv/ipc/libc`.
 *
 * @example Count busy workers, correct even if one is killed
 * ```ts
 * import { Semaphore } from "@sysv/ipc";
 * import { assertEquals } from "@std/assert";
 *
 * using busy = Semaphore.create();
 * busy.increment(1, { undo: true }); // the kernel reverses it if this process dies
 * assertEquals(busy.value, 1);
 * busy.decrementSync(1, { undo: true });
 * assertEquals(busy.value, 0);
 * ```
 *
 * @module
 */

export { IpcError, type IpcErrorOptions } from "./ffi/error.ts";
export { configure, type ConfigureOptions, prepare } from "./wait/line.ts";
export type { TimeoutOptions, WaitOptions } from "./wait/options.ts";
export { ftok, type Key, keyOf } from "./ipc/key.ts";
export { guard, type Guardable, type GuardOptions } from "./ipc/guard.ts";
export { type Removable, removeOnExit } from "./ipc/remove_on_exit.ts";
export { Message, type MessageTypeSelector } from "./ipc/message.ts";
export {
  type MessageInfo,
  MessageQueue,
  type MessageQueueCreateOptions,
  type MessageQueueOpenOrCreateOptions,
  type MessageQueuePermissionOptions,
  type MessagesOptions,
  type ReceiveOptions,
  type ReceiveSyncOptions,
  type ReceiveWaitOptions,
  type SendOptions,
  type SendSyncOptions,
  type SendWaitOptions,
} from "./ipc/message_queue.ts";
export type { MessageQueueInfo } from "./ipc/queue_handle.ts";
export type { MessageChunk, OutgoingMessage } from "./ipc/message_streams.ts";
export type {
  CreateOptions,
  ObjectInfo,
  OpenOrCreateOptions,
  PermissionOptions,
} from "./ipc/object.ts";
export type { SemaphoreOperation } from "./ipc/semop.ts";
export { Permit } from "./ipc/permit.ts";
export {
  type OperationOptions,
  Semaphore,
  type SemaphoreCreateOptions,
  type SemaphoreOpenOrCreateOptions,
  type SemaphoreRunOptions,
  type SemaphoreWaiting,
  type SyncOperationOptions,
  type UndoOptions,
} from "./ipc/semaphore.ts";
export {
  SemaphoreSet,
  type SemaphoreSetCreateOptions,
  type SemaphoreSetOpenOptions,
  type SemaphoreSetOpenOrCreateOptions,
} from "./ipc/semaphore_set.ts";
export type { SemaphoreInfo } from "./ipc/set_handle.ts";
export {
  SharedMemory,
  type SharedMemoryCreateOptions,
  type SharedMemoryOpenOptions,
  type SharedMemoryOpenOrCreateOptions,
} from "./ipc/shared_memory.ts";
export type { SharedMemoryInfo } from "./ipc/memory_handle.ts";
export type { SetKind } from "./ipc/set_tag.ts";
