/**
 * The calls on descriptors, signals and timers, in the convention of calls.ts: a result, or the
 * negative number of an error.
 *
 * @module
 */

import { abi } from "./abi.ts";
import type { Calls, Prototypes } from "./backend.ts";
import { addressOf, openLibc, view } from "./calls.ts";

const prototypes = {
  errnoLocation: { name: abi.errnoLocation, parameters: [], result: "address" },
  pipe: {
    parameters: [
      "buffer", // int pipefd[2]
    ],
    result: "i32",
  },
  open: {
    parameters: [
      "buffer", // const char *pathname
      "i32", // int flags
      "u32", // mode_t mode
    ],
    fixed: 2,
    result: "i32",
  },
  mkfifo: {
    parameters: [
      "buffer", // const char *pathname
      "u32", // mode_t mode
    ],
    result: "i32",
  },
  read: {
    parameters: [
      "i32", // int fd
      "buffer", // void *buf
      "u32", // size_t count
    ],
    result: "i32",
  },
  write: {
    parameters: [
      "i32", // int fd
      "buffer", // const void *buf
      "u32", // size_t count
    ],
    result: "i32",
  },
  close: {
    parameters: [
      "i32", // int fd
    ],
    result: "i32",
  },
  fcntl: {
    parameters: [
      "i32", // int fd
      "i32", // int op
      "i32", // int arg
    ],
    fixed: 2,
    result: "i32",
  },
  poll: {
    parameters: [
      "buffer", // struct pollfd *fds
      "u32", // nfds_t nfds
      "i32", // int timeout
    ],
    result: "i32",
  },
  setitimer: {
    parameters: [
      "i32", // int which
      "buffer", // const struct itimerval *new_value
      "buffer", // struct itimerval *old_value
    ],
    result: "i32",
  },
} as const satisfies Prototypes;

const linuxPrototypes = {
  pipe2: {
    parameters: [
      "buffer", // int pipefd[2]
      "i32", // int flags
    ],
    result: "i32",
  },
  epoll_create1: {
    parameters: [
      "i32", // int flags
    ],
    result: "i32",
  },
  epoll_ctl: {
    parameters: [
      "i32", // int epfd
      "i32", // int op
      "i32", // int fd
      "buffer", // struct epoll_event *event
    ],
    result: "i32",
  },
  epoll_wait: {
    parameters: [
      "i32", // int epfd
      "buffer", // struct epoll_event *events
      "i32", // int maxevents
      "i32", // int timeout
    ],
    result: "i32",
  },
} as const satisfies Prototypes;

/** Reading and writing that does not block, whatever the file is: not in every libc. */
const nowPrototypes = {
  preadv2: {
    parameters: [
      "i32", // int fd
      "buffer", // const struct iovec *iov
      "i32", // int iovcnt
      "i64", // off_t offset
      "i32", // int flags
    ],
    result: "i32",
  },
  pwritev2: {
    parameters: [
      "i32", // int fd
      "buffer", // const struct iovec *iov
      "i32", // int iovcnt
      "i64", // off_t offset
      "i32", // int flags
    ],
    result: "i32",
  },
} as const satisfies Prototypes;

type Libc = Calls<typeof prototypes & typeof linuxPrototypes>;

let libc: Libc | undefined;
let errno = new Int32Array(1);

function load(): Libc {
  const table = abi.isLinux ? { ...prototypes, ...linuxPrototypes } : prototypes;
  libc = openLibc(table) as Libc;
  errno = new Int32Array(view(libc.errnoLocation(), 4));
  return libc;
}

let now: Calls<typeof nowPrototypes> | "missing" | undefined;

function loadNow(): Calls<typeof nowPrototypes> | "missing" {
  try {
    return now = abi.isLinux ? openLibc(nowPrototypes) : "missing";
  } catch {
    return now = "missing";
  }
}

// struct iovec, <bits/types/struct_iovec.h>, 16 bytes: void *iov_base at 0, size_t iov_len at 8
const vector = new BigUint64Array(2);
const vectorBytes = new Uint8Array(vector.buffer);
/** What the vector points to, which alone does not keep it from the collector. */
let passed: Uint8Array | undefined;

function point(buffer: Uint8Array): Uint8Array {
  passed = buffer;
  vector[0] = BigInt(addressOf(passed));
  vector[1] = BigInt(buffer.byteLength);
  return vectorBytes;
}

const RWF_NOWAIT = 8;

/** Reads what is there, and gives EAGAIN if nothing is: EOPNOTSUPP where that cannot be asked for. */
export function readNow(fd: number, buffer: Uint8Array): number {
  const calls = now ?? loadNow();
  if (calls === "missing") return -abi.errors.EOPNOTSUPP;
  if (libc === undefined) load();
  const result = calls.preadv2(fd, point(buffer), 1, -1, RWF_NOWAIT);
  return result === -1 ? -errno[0]! : result;
}

/** Writes what there is room for, and gives EAGAIN if there is none: EOPNOTSUPP where that cannot be asked for. */
export function writeNow(fd: number, bytes: Uint8Array): number {
  const calls = now ?? loadNow();
  if (calls === "missing") return -abi.errors.EOPNOTSUPP;
  if (libc === undefined) load();
  const result = calls.pwritev2(fd, point(bytes), 1, -1, RWF_NOWAIT);
  return result === -1 ? -errno[0]! : result;
}

const F_GETFL = 3;
const F_SETFD = 2;
const F_SETFL = 4;
const FD_CLOEXEC = 1;

/** Makes a pipe of which no child gets an end unless it is handed over. */
export function pipe(ends: Int32Array<ArrayBuffer>): number {
  const bytes = new Uint8Array(ends.buffer);
  const { pipe, pipe2, fcntl } = libc ?? load();
  const result = abi.isLinux ? pipe2(bytes, abi.flags.O_CLOEXEC) : pipe(bytes);
  if (result === -1) return -errno[0]!;
  if (!abi.isLinux) { for (const fd of ends) fcntl(fd, F_SETFD, FD_CLOEXEC); }
  return result;
}

export function open(path: Uint8Array, flags: number): number {
  const result = (libc ?? load()).open(path, flags | abi.flags.O_CLOEXEC, 0);
  return result === -1 ? -errno[0]! : result;
}

export function mkfifo(path: Uint8Array, mode: number): number {
  const result = (libc ?? load()).mkfifo(path, mode);
  return result === -1 ? -errno[0]! : result;
}

export function read(fd: number, buffer: Uint8Array, count: number): number {
  const result = (libc ?? load()).read(fd, buffer, count);
  return result === -1 ? -errno[0]! : result;
}

export function write(fd: number, buffer: Uint8Array, count: number): number {
  const result = (libc ?? load()).write(fd, buffer, count);
  return result === -1 ? -errno[0]! : result;
}

export function close(fd: number): number {
  const result = (libc ?? load()).close(fd);
  return result === -1 ? -errno[0]! : result;
}

/** Reads the flags of an open file. */
export function getFlags(fd: number): number {
  const result = (libc ?? load()).fcntl(fd, F_GETFL, 0);
  return result === -1 ? -errno[0]! : result;
}

/** Sets the flags of an open file. */
export function setFlags(fd: number, flags: number): number {
  const result = (libc ?? load()).fcntl(fd, F_SETFL, flags);
  return result === -1 ? -errno[0]! : result;
}

/** Keeps an open file from children to which it is not handed over. */
export function closeOnExec(fd: number): number {
  const result = (libc ?? load()).fcntl(fd, F_SETFD, FD_CLOEXEC);
  return result === -1 ? -errno[0]! : result;
}

export function poll(descriptors: Uint8Array, count: number, timeout: number): number {
  const result = (libc ?? load()).poll(descriptors, count, timeout);
  return result === -1 ? -errno[0]! : result;
}

export function epollCreate(): number {
  const result = (libc ?? load()).epoll_create1(abi.flags.O_CLOEXEC);
  return result === -1 ? -errno[0]! : result;
}

export function epollControl(
  epoll: number,
  operation: number,
  fd: number,
  event: Uint8Array | null,
): number {
  const result = (libc ?? load()).epoll_ctl(epoll, operation, fd, event);
  return result === -1 ? -errno[0]! : result;
}

export function epollWait(
  epoll: number,
  events: Uint8Array,
  count: number,
  timeout: number,
): number {
  const result = (libc ?? load()).epoll_wait(epoll, events, count, timeout);
  return result === -1 ? -errno[0]! : result;
}

// struct itimerval, <sys/time.h>, 32 bytes: it_interval at 0, it_value at 16, each long tv_sec, tv_usec
const timer = new BigInt64Array(4);
const formerTimer = new BigInt64Array(4);

/** Sets the real-time timer to go off once, after some seconds, and gives what was left of the one before. */
export function setitimer(seconds: number): number {
  const ITIMER_REAL = 0;
  const microseconds = Math.ceil(seconds * 1e6);
  timer[2] = BigInt(Math.floor(microseconds / 1e6));
  timer[3] = BigInt(microseconds % 1e6);
  const { setitimer } = libc ?? load();
  const former = new Uint8Array(formerTimer.buffer);
  if (setitimer(ITIMER_REAL, new Uint8Array(timer.buffer), former) === -1) return -errno[0]!;
  return Number(formerTimer[2]) + Number(formerTimer[3]) / 1e6;
}
