/**
 * Structures in shared memory that survive SIGKILL, and make no system call while there is work.
 *
 * @module
 */

export {
  type MembersOptions,
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
