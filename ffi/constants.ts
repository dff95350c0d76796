/**
 * The numbers of commands, flags and errors.
 *
 * @module
 */

import { abi } from "./platforms.ts";

// The values that are the same everywhere.

/** The key of an object without a key: each call makes another. */
export const IPC_PRIVATE = 0;
/** Creates the object if its key is free. */
export const IPC_CREAT = 0o1000;
/** With `IPC_CREAT`, fails if the key is taken. */
export const IPC_EXCL = 0o2000;
/** Fails instead of waiting. */
export const IPC_NOWAIT = 0o4000;
/** Removes an object. */
export const IPC_RMID = 0;
/** Changes owner, group and mode. */
export const IPC_SET = 1;
/** Describes an object. */
export const IPC_STAT = 2;
/** Reverses the operation when the process ends. */
export const SEM_UNDO = 0x1000;
/** Cuts a message that is too long, instead of failing. */
export const MSG_NOERROR = 0o10000;
/** Attaches for reading only. */
export const SHM_RDONLY = 0o10000;
/** Replaces what is mapped at the address (Linux). */
export const SHM_REMAP = 0o40000;
/** Lets the memory be executed (Linux). */
export const SHM_EXEC = 0o100000;
/** Takes the memory from the huge pages (Linux). */
export const SHM_HUGETLB = 0o4000;
/** Reserves no swap space for the memory (Linux). */
export const SHM_NORESERVE = 0o10000;
/** In a segment's mode: its owner may attach it to read. */
export const SHM_R = 0o400;
/** In a segment's mode: its owner may attach it to write. */
export const SHM_W = 0o200;
/** In a segment's mode: it goes with its last attachment (Linux). */
export const SHM_DEST = 0o1000;
/** In a segment's mode: it is locked in memory (Linux). */
export const SHM_LOCKED = 0o2000;

// <sys/mman.h>, used on Linux alone.

export const PROT_READ = 1;
export const PROT_WRITE = 2;
export const MAP_PRIVATE = 2;
/** Takes the address given, in the place of what is mapped there. */
export const MAP_FIXED = 0x10;
/** Maps no file. */
export const MAP_ANONYMOUS = 0x20;
/** Sets no memory aside for the mapping. */
export const MAP_NORESERVE = 0x4000;
/** Gives the pages of private memory back: it reads as zeros again. */
export const MADV_DONTNEED = 4;

/** The numbers of the errors that the calls may give, by name. */
export const errors = {
  EPERM: 1,
  ENOENT: 2,
  ESRCH: 3,
  EINTR: 4,
  EIO: 5,
  ENXIO: 6,
  E2BIG: 7,
  EBADF: 9,
  ECHILD: 10,
  ENOMEM: 12,
  EACCES: 13,
  EFAULT: 14,
  EBUSY: 16,
  EEXIST: 17,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  ENFILE: 23,
  EMFILE: 24,
  EFBIG: 27,
  ENOSPC: 28,
  EROFS: 30,
  EPIPE: 32,
  ERANGE: 34,
  ...abi.errors,
} as const;

/** The largest value of a semaphore (SEMVMX), on every platform. */
export const SEMVMX = 32767;
