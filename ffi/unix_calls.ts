/**
 * The calls on descriptors, signals and timers, in the convention of calls.ts: a result, or the
 * negative number of an error.
 *
 * @module
 */

import { abi } from "./platforms.ts";
import type { Calls } from "./backend.ts";
import { answer, bind } from "./calls.ts";
import { EpollEvents } from "./epoll_events.ts";
import { addressOf } from "./memory.ts";
import { descriptorPrototypes, linuxDescriptorPrototypes, vectorPrototypes } from "./symbols.ts";

type Libc = Calls<typeof descriptorPrototypes & typeof linuxDescriptorPrototypes>;

let libc: Libc | undefined;
function load(): Libc {
  const table = abi.isLinux
    ? { ...descriptorPrototypes, ...linuxDescriptorPrototypes }
    : descriptorPrototypes;
  return libc = bind(table) as Libc;
}

let now: Calls<typeof vectorPrototypes> | "missing" | undefined;

function loadNow(): Calls<typeof vectorPrototypes> | "missing" {
  try {
    return now = abi.isLinux ? bind(vectorPrototypes) : "missing";
  } catch {
    return now = "missing";
  }
}

// struct iovec, <bits/types/struct_iovec.h>, 16 bytes: void *iov_base at 0, size_t iov_len at 8
const vector = new BigUint64Array(2);
const vectorBytes = new Uint8Array(vector.buffer);
/** What the vector points to, kept from the collector while a call uses it. */
let passed: Uint8Array | undefined;

/** Makes one of the calls that take a vector, on one buffer. */
function callNow(call: "preadv2" | "pwritev2", fd: number, buffer: Uint8Array): number {
  const calls = now ?? loadNow();
  if (calls === "missing") return -abi.errors.EOPNOTSUPP;
  passed = buffer;
  vector[0] = BigInt(addressOf(passed));
  vector[1] = BigInt(buffer.byteLength);
  const result = answer(calls[call](fd, vectorBytes, 1, -1, RWF_NOWAIT));
  passed = undefined;
  return result;
}

const RWF_NOWAIT = 8;

/** Reads what is there; EAGAIN if nothing is, EOPNOTSUPP where the kernel has no such flag. */
export function readNow(fd: number, buffer: Uint8Array): number {
  return callNow("preadv2", fd, buffer);
}

/** Writes what there is room for; EAGAIN if there is none, EOPNOTSUPP where the kernel has no such flag. */
export function writeNow(fd: number, bytes: Uint8Array): number {
  return callNow("pwritev2", fd, bytes);
}

export const O_RDONLY = 0;
export const O_WRONLY = 1;
export const O_RDWR = 2;
export const O_ACCMODE = 3;
/** The maximum number of bytes that are written to a pipe in one piece (POSIX: at least 512). */
export const PIPE_BUF = 4096;
/** The maximum number of bytes that one call reads (MAX_RW_COUNT of Linux). */
export const LARGEST_READ = 0x7ffff000;

const F_GETFL = 3;
const F_SETFD = 2;
const F_SETFL = 4;
const F_GETPIPE_SZ = 1032; // Linux
const FD_CLOEXEC = 1;

/** Creates a pipe whose ends no child inherits unless they are passed to it. */
export function pipe(ends: Int32Array<ArrayBuffer>): number {
  const bytes = new Uint8Array(ends.buffer);
  const { pipe, pipe2, fcntl } = libc ?? load();
  if (abi.isLinux) return answer(pipe2(bytes, abi.flags.O_CLOEXEC));
  const result = answer(pipe(bytes));
  if (result === 0) { for (const fd of ends) fcntl(fd, F_SETFD, FD_CLOEXEC); }
  return result;
}

/** Opens a file of which no child gets the descriptor unless it is handed over. */
export function open(path: Uint8Array, flags: number): number {
  return answer((libc ?? load()).open(path, flags | abi.flags.O_CLOEXEC, 0));
}

export function mkfifo(path: Uint8Array, mode: number): number {
  return answer((libc ?? load()).mkfifo(path, mode));
}

export function read(fd: number, buffer: Uint8Array, count: number): number {
  return answer((libc ?? load()).read(fd, buffer, count));
}

export function write(fd: number, buffer: Uint8Array, count: number): number {
  return answer((libc ?? load()).write(fd, buffer, count));
}

export function close(fd: number): number {
  return answer((libc ?? load()).close(fd));
}

/** Reads the flags of an open file. */
export function getFlags(fd: number): number {
  return answer((libc ?? load()).fcntl(fd, F_GETFL, 0));
}

/** Sets the flags of an open file. */
export function setFlags(fd: number, flags: number): number {
  return answer((libc ?? load()).fcntl(fd, F_SETFL, flags));
}

/** Whether a descriptor is a pipe's or a FIFO's: only Linux can tell without a struct. */
export function mayBePipe(fd: number): boolean {
  return !abi.isLinux || (libc ?? load()).fcntl(fd, F_GETPIPE_SZ, 0) !== -1;
}

export function poll(descriptors: Uint8Array, count: number, timeout: number): number {
  return answer((libc ?? load()).poll(descriptors, count, timeout));
}

export function epollCreate(): number {
  return answer((libc ?? load()).epoll_create1(abi.flags.O_CLOEXEC));
}

let single: EpollEvents | undefined;

/** Adds, changes or removes a descriptor of an epoll. */
export function epollControl(epoll: number, operation: number, fd: number, events: number): number {
  single ??= new EpollEvents(1);
  const { bytes } = single.set(0, events >>> 0, fd);
  return answer((libc ?? load()).epoll_ctl(epoll, operation, fd, bytes));
}

export function epollWait(
  epoll: number,
  events: Uint8Array,
  count: number,
  timeout: number,
): number {
  return answer((libc ?? load()).epoll_wait(epoll, events, count, timeout));
}

// struct itimerval, <sys/time.h>, 32 bytes: it_interval at 0, it_value at 16, each long tv_sec, tv_usec
const timer = new BigInt64Array(4);
const formerTimer = new BigInt64Array(4);

/** Sets the real-time timer to expire once, after some seconds, and returns what was left of the one before. */
export function setitimer(seconds: number): number {
  const ITIMER_REAL = 0;
  const microseconds = Math.ceil(seconds * 1e6);
  timer[2] = BigInt(Math.floor(microseconds / 1e6));
  timer[3] = BigInt(microseconds % 1e6);
  const { setitimer } = libc ?? load();
  const former = new Uint8Array(formerTimer.buffer);
  const result = answer(setitimer(ITIMER_REAL, new Uint8Array(timer.buffer), former));
  return result < 0 ? result : Number(formerTimer[2]) + Number(formerTimer[3]) / 1e6;
}
