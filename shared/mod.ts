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
