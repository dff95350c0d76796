/**
 * Structures in shared memory that survive SIGKILL, and make no system call while there is work.
 *
 * @module
 */

export type { MembersOptions } from "./pair.ts";
export {
  SharedMutex,
  type SharedMutexCreateOptions,
  type SharedMutexGuard,
  type SharedMutexOpenOrCreateOptions,
} from "./mutex.ts";
export {
  type AbandonedMessages,
  Channel,
  type ChannelCreateOptions,
  type ChannelOpenOptions,
  type ChannelOpenOrCreateOptions,
  type ChannelSizeOptions,
} from "./channel.ts";
export { bytes, type Codec, type CodecOptions, json, text } from "./codec.ts";
export {
  SharedVariable,
  type SharedVariableCreateOptions,
  type SharedVariableOpenOptions,
  type SharedVariableOpenOrCreateOptions,
  type VariableSizeOptions,
} from "./variable.ts";
export type { ChangesOptions, NewerOptions, Versioned } from "./changes.ts";
export {
  Broadcast,
  type BroadcastCreateOptions,
  type BroadcastMessage,
  type BroadcastOpenOptions,
  type BroadcastOpenOrCreateOptions,
  type BroadcastSizeOptions,
  type BroadcastSubscription,
} from "./broadcast.ts";
export type { Job } from "./job.ts";
export type { SharedStructure } from "./structure.ts";
export {
  WorkQueue,
  type WorkQueueCreateOptions,
  type WorkQueueOpenOptions,
  type WorkQueueOpenOrCreateOptions,
  type WorkQueueSizeOptions,
} from "./work_queue.ts";
export {
  type CounterType,
  type CounterTypes,
  type CounterValue,
  SharedCounters,
  type SharedCountersCreateOptions,
  type SharedCountersOpenOrCreateOptions,
} from "./counters.ts";
export {
  f32,
  f64,
  type Fields,
  type FieldType,
  i16,
  i32,
  i64,
  i8,
  Struct,
  struct,
  u16,
  u32,
  u64,
  u8,
  utf8,
  type ValuesOf,
} from "./struct.ts";
