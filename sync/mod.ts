/**
 * Crash-safe primitives for processes: locks, a latch, an event, a barrier, a gauge, a bulkhead and a leader.
 *
 * Each is a semaphore set, private or found by a key or name, and is changed only by atomic steps that the
 * kernel reverses when a process dies. So they work between Deno, Bun, Node and programs in any other language, for
 * which each class documents its layout and steps, and what happens when a holder is killed.
 *
 * @example
 * ```ts
 * import { Mutex } from "@sysv/ipc/sync";
 * import { assertEquals } from "@std/assert";
 *
 * using mutex = Mutex.create();
 * using guard = await mutex.lock();
 * assertEquals(guard.abandoned, 0); // how many holders have died
 * ```
 *
 * @module
 */

export type { SemaphoreArray } from "./array.ts";
export {
  Barrier,
  type BarrierCreateOptions,
  type BarrierDeathOptions,
  type BarrierOpenOptions,
  type BarrierOpenOrCreateOptions,
  type BarrierOptions,
  type BarrierParty,
  BrokenBarrierError,
} from "./barrier.ts";
export {
  Bulkhead,
  type BulkheadCreateOptions,
  type BulkheadLimit,
  type BulkheadOpenOptions,
  type BulkheadOpenOrCreateOptions,
  type BulkheadPermit,
  type BulkheadState,
  BulkheadTimeoutError,
} from "./bulkhead.ts";
export {
  Event,
  type EventCreateOptions,
  type EventOpenOrCreateOptions,
  type EventOptions,
} from "./event.ts";
export { Gauge } from "./gauge.ts";
export {
  Latch,
  type LatchCreateOptions,
  type LatchOpenOrCreateOptions,
  type LatchOptions,
} from "./latch.ts";
export { type EveryOptions, Leader, type Leadership } from "./leader.ts";
export {
  Mutex,
  type MutexCreateOptions,
  type MutexGuard,
  type MutexOpenOrCreateOptions,
  type MutexOptions,
} from "./mutex.ts";
export {
  RwLock,
  type RwLockCreateOptions,
  type RwLockGuard,
  type RwLockOpenOrCreateOptions,
  type RwLockOptions,
  type RwLockState,
} from "./rwlock.ts";
export type { Guard } from "./guard.ts";
export type { Primitive } from "./primitive.ts";
