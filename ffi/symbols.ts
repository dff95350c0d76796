/**
 * The prototypes of libc, written once for all runtimes. Each table is opened at the first call of
 * one of its functions, as opening one costs Deno 0.15 ms a function.
 *
 * Sizes and counts travel as `u32`: a number given for a `size_t` costs Deno 40 % more a call, and
 * the upper half of the register is zero either way.
 *
 * @module
 */

import { abi } from "./platforms.ts";
import type { Prototypes } from "./backend.ts";

/** Where errno stands. */
export const errnoPrototypes = {
  errnoLocation: { name: abi.errnoLocation, parameters: [], result: "address" },
} as const satisfies Prototypes;

/** Semaphores. */
export const semaphorePrototypes = {
  semget: {
    parameters: [
      "i32", // key_t key
      "i32", // int nsems
      "i32", // int semflg
    ],
    result: "i32",
  },
  semop: {
    parameters: [
      "i32", // int semid
      "pointer", // struct sembuf *sops
      "u32", // size_t nsops
    ],
    result: "i32",
  },
  semctl: {
    parameters: [
      "i32", // int semid
      "i32", // int semnum
      "i32", // int cmd
      "i32", // union semun arg: int val
    ],
    fixed: 3,
    result: "i32",
  },
  semctlBuffer: {
    name: "semctl",
    parameters: [
      "i32", // int semid
      "i32", // int semnum
      "i32", // int cmd
      "buffer", // union semun arg: struct semid_ds *buf, unsigned short *array
    ],
    fixed: 3,
    result: "i32",
  },
} as const satisfies Prototypes;

/** Message queues. */
export const queuePrototypes = {
  msgget: {
    parameters: [
      "i32", // key_t key
      "i32", // int msgflg
    ],
    result: "i32",
  },
  msgsnd: {
    parameters: [
      "i32", // int msqid
      "pointer", // const void *msgp
      "u32", // size_t msgsz
      "i32", // int msgflg
    ],
    result: "i32",
  },
  msgrcv: {
    parameters: [
      "i32", // int msqid
      "pointer", // void *msgp
      "u32", // size_t msgsz
      "u32", // long msgtyp, from 0 to 2^32 - 1
      "i32", // int msgflg
    ],
    result: "i32",
  },
  msgrcvLong: {
    name: "msgrcv",
    parameters: [
      "i32", // int msqid
      "pointer", // void *msgp
      "u32", // size_t msgsz
      "i64", // long msgtyp
      "i32", // int msgflg
    ],
    result: "i32",
  },
  msgctl: {
    parameters: [
      "i32", // int msqid
      "i32", // int cmd
      "buffer", // struct msqid_ds *buf
    ],
    result: "i32",
  },
} as const satisfies Prototypes;

/** Shared memory. */
export const memoryPrototypes = {
  shmget: {
    parameters: [
      "i32", // key_t key
      "i64", // size_t size
      "i32", // int shmflg
    ],
    result: "i32",
  },
  shmat: {
    parameters: [
      "i32", // int shmid
      "address", // const void *shmaddr
      "i32", // int shmflg
    ],
    result: "address",
  },
  shmdt: {
    parameters: [
      "address", // const void *shmaddr
    ],
    result: "i32",
  },
  shmctl: {
    parameters: [
      "i32", // int shmid
      "i32", // int cmd
      "buffer", // struct shmid_ds *buf
    ],
    result: "i32",
  },
} as const satisfies Prototypes;

/** Mappings, on Linux alone. */
export const mappingPrototypes = {
  mmap: {
    parameters: [
      "address", // void *addr
      "i64", // size_t length
      "i32", // int prot
      "i32", // int flags
      "i32", // int fd
      "i64", // off_t offset
    ],
    result: "address",
  },
  munmap: {
    parameters: [
      "address", // void *addr
      "i64", // size_t length
    ],
    result: "i32",
  },
  madvise: {
    parameters: [
      "address", // void *addr
      "i64", // size_t length
      "i32", // int advice
    ],
    result: "i32",
  },
} as const satisfies Prototypes;

/** Files, processes and signals. */
export const processPrototypes = {
  ftok: {
    parameters: [
      "buffer", // const char *pathname
      "i32", // int proj_id
    ],
    result: "i32",
  },
  geteuid: { parameters: [], result: "i32" },
  getpid: { parameters: [], result: "i32" },
  kill: {
    parameters: [
      "i32", // pid_t pid
      "i32", // int sig
    ],
    result: "i32",
  },
  signal: {
    parameters: [
      "i32", // int signum
      "address", // sighandler_t handler
    ],
    result: "address",
  },
} as const satisfies Prototypes;

/** Waiting for semaphores no longer than a while, on Linux alone. */
export const timedPrototypes = {
  semtimedop: {
    parameters: [
      "i32", // int semid
      "pointer", // struct sembuf *sops
      "u32", // size_t nsops
      "buffer", // const struct timespec *timeout
    ],
    result: "i32",
  },
} as const satisfies Prototypes;

/** Memory that outlives a thread. */
export const allocationPrototypes = {
  realloc: {
    parameters: [
      "address", // void *ptr
      "u32", // size_t size
    ],
    result: "address",
  },
} as const satisfies Prototypes;

/** Signals, and which thread is which. */
export const interruptPrototypes = {
  dlsym: {
    parameters: [
      "i64", // void *handle
      "buffer", // const char *symbol
    ],
    result: "address",
  },
  pthread_kill: {
    parameters: [
      "address", // pthread_t thread
      "i32", // int sig
    ],
    result: "i32",
  },
  sigaction: {
    parameters: [
      "i32", // int signum
      "buffer", // const struct sigaction *act
      "buffer", // struct sigaction *oldact
    ],
    result: "i32",
  },
  pthread_sigmask: {
    parameters: [
      "i32", // int how
      "buffer", // const sigset_t *set
      "buffer", // sigset_t *oldset
    ],
    result: "i32",
  },
  // pid_t gettid(void)
  gettid: { name: abi.gettid, parameters: [], result: "i32" },
} as const satisfies Prototypes;

/** Timers of the kernel. */
export const timerPrototypes = {
  timer_create: {
    parameters: [
      "i32", // clockid_t clockid
      "buffer", // struct sigevent *sevp
      "buffer", // timer_t *timerid
    ],
    result: "i32",
  },
  timer_settime: {
    parameters: [
      "address", // timer_t timerid
      "i32", // int flags
      "buffer", // const struct itimerspec *new_value
      "buffer", // struct itimerspec *old_value
    ],
    result: "i32",
  },
  timer_delete: {
    parameters: [
      "address", // timer_t timerid
    ],
    result: "i32",
  },
} as const satisfies Prototypes;

/** Descriptors, and the timer of alarms. */
export const descriptorPrototypes = {
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

/** Descriptors, on Linux alone. */
export const linuxDescriptorPrototypes = {
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
export const vectorPrototypes = {
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
