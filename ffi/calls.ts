/**
 * The system calls as the classes use them, in the kernel's own convention: a result, or the
 * negative number of an error. Nothing is allocated and nothing thrown, so that a try which fails
 * costs what it costs in C. errno is read right after the call, on the thread that made it.
 *
 * @module
 */

import {
  MADV_DONTNEED,
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_NORESERVE,
  MAP_PRIVATE,
  PROT_READ,
  PROT_WRITE,
} from "./constants.ts";
import { abi } from "./platforms.ts";
import type { Backend, Calls, Pointer, Prototype, Prototypes } from "./backend.ts";
import { runtime, view } from "./memory.ts";
import {
  errnoPrototypes,
  mappingPrototypes,
  memoryPrototypes,
  processPrototypes,
  queuePrototypes,
  semaphorePrototypes,
  timedPrototypes,
} from "./symbols.ts";

let semaphores: Calls<typeof semaphorePrototypes> | undefined;
let timed: Calls<typeof timedPrototypes> | undefined;
let queues: Calls<typeof queuePrototypes> | undefined;
let memory: Calls<typeof memoryPrototypes> | undefined;
let mappings: Calls<typeof mappingPrototypes> | undefined;
let processes: Calls<typeof processPrototypes> | undefined;
let errno = new Int32Array(0);

const loadSemaphores = () => semaphores = bind(semaphorePrototypes);
const loadTimed = () => timed = bind(timedPrototypes);
const loadQueues = () => queues = bind(queuePrototypes);
const loadMemory = () => memory = bind(memoryPrototypes);
const loadMappings = () => mappings = bind(mappingPrototypes);
const loadProcesses = () => processes = bind(processPrototypes);

/** What is to happen when libc is first opened on this thread. */
const beginnings: (() => void)[] = [];

/** Runs a function when libc is first opened on this thread. */
export function whenOpened(begin: () => void): void {
  beginnings.push(begin);
}

/** Opens libc, whose calls leave their errno where it is looked for. */
export function bind<Table extends Prototypes>(table: Table): Calls<Table> {
  if (errno.length === 0) {
    errno = new Int32Array(view(openLibc(errnoPrototypes).errnoLocation(), 4));
    for (const begin of beginnings) begin();
  }
  return openLibc(table);
}

/** Opens libc and binds the functions of the table. */
export function openLibc<Table extends Prototypes>(table: Table): Calls<Table> {
  const { open } = runtime();
  return abi.variadicOnStack ? openPadded(open, table) : open(abi.libraries, table);
}

/**
 * Where variadic arguments travel on the stack, eight arguments fill the registers and the ninth is
 * the first on the stack: what is variadic goes there, behind as many zeros as it takes.
 */
function openPadded<Table extends Prototypes>(open: Backend["open"], table: Table): Calls<Table> {
  const REGISTERS = 8;
  const padded = Object.entries(table).map(([key, prototype]): [string, Prototype] => {
    const { name = key, parameters, fixed = REGISTERS } = prototype;
    const padding = Array<"i64">(REGISTERS - fixed).fill("i64");
    return [key, { ...prototype, name, parameters: parameters.toSpliced(fixed, 0, ...padding) }];
  });
  type Call = (...given: unknown[]) => unknown;
  const calls = open(abi.libraries, Object.fromEntries(padded)) as unknown as Record<string, Call>;
  const unpadded = Object.entries(calls).map(([key, call]): [string, Call] => {
    const { fixed = REGISTERS } = table[key]!;
    const zeros = Array<number>(REGISTERS - fixed).fill(0);
    return [key, (...given) => call(...given.toSpliced(fixed, 0, ...zeros))];
  });
  return Object.fromEntries(unpadded) as unknown as Calls<Table>;
}

/** Turns what a call gave into the convention of the kernel. */
export function answer(result: number): number {
  return result === -1 ? -errno[0]! : result;
}

export function semget(key: number, count: number, flags: number): number {
  return answer((semaphores ?? loadSemaphores()).semget(key, count, flags));
}

export function semop(id: number, operations: Pointer, count: number): number {
  return answer((semaphores ?? loadSemaphores()).semop(id, operations, count));
}

/** Returns ENOSYS where there is no such call: on macOS. */
export function semtimedop(
  id: number,
  operations: Pointer,
  count: number,
  timeout: Uint8Array | null,
): number {
  if (!abi.isLinux) return -abi.errors.ENOSYS;
  return answer((timed ?? loadTimed()).semtimedop(id, operations, count, timeout));
}

// struct timespec, <bits/types/struct_timespec.h>, 64 bits: long tv_sec at 0, long tv_nsec at 8
const timespecNumbers = new BigInt64Array(2);
const timespecBytes = new Uint8Array(timespecNumbers.buffer);

/** Writes milliseconds as a `struct timespec`. There is one, overwritten at the next call. */
export function timespec(milliseconds: number): Uint8Array {
  const seconds = Math.min(Math.floor(milliseconds / 1000), 2 ** 40);
  const rest = Math.ceil((milliseconds - seconds * 1000) * 1e6);
  timespecNumbers[0] = BigInt(seconds);
  timespecNumbers[1] = BigInt(Math.min(rest, 999_999_999));
  return timespecBytes;
}

export function semctl(id: number, index: number, command: number, value: number): number {
  return answer((semaphores ?? loadSemaphores()).semctl(id, index, command, value));
}

export function semctlBuffer(
  id: number,
  index: number,
  command: number,
  buffer: Uint8Array,
): number {
  return answer((semaphores ?? loadSemaphores()).semctlBuffer(id, index, command, buffer));
}

export function msgget(key: number, flags: number): number {
  return answer((queues ?? loadQueues()).msgget(key, flags));
}

export function msgsnd(id: number, message: Pointer, length: number, flags: number): number {
  return answer((queues ?? loadQueues()).msgsnd(id, message, length, flags));
}

export function msgrcv(
  id: number,
  message: Pointer,
  length: number,
  type: number,
  flags: number,
): number {
  if (!(type >= 0 && type <= 0xffffffff)) return msgrcvLong(id, message, length, type, flags);
  return answer((queues ?? loadQueues()).msgrcv(id, message, length, type, flags));
}

/** Receives by a type of any sign and size. */
export function msgrcvLong(
  id: number,
  message: Pointer,
  length: number,
  type: number | bigint,
  flags: number,
): number {
  return answer((queues ?? loadQueues()).msgrcvLong(id, message, length, type, flags));
}

export function msgctl(id: number, command: number, buffer: Uint8Array | null): number {
  return answer((queues ?? loadQueues()).msgctl(id, command, buffer));
}

export function shmget(key: number, size: number, flags: number): number {
  return answer((memory ?? loadMemory()).shmget(key, size, flags));
}

/**
 * Attaches where the kernel finds room, and returns the address. Deno makes a number of it before errno can be
 * read, and may allocate meanwhile, which can change errno: so a failure counts only the second time.
 */
export function shmat(id: number, flags: number): number {
  const { shmat } = memory ?? loadMemory();
  for (let before = 0;;) {
    const result = answer(shmat(id, 0, flags));
    if (result >= 0 || result === before) return result;
    before = result;
  }
}

export function shmdt(address: number): number {
  return answer((memory ?? loadMemory()).shmdt(address));
}

export function shmctl(id: number, command: number, buffer: Uint8Array | null): number {
  return answer((memory ?? loadMemory()).shmctl(id, command, buffer));
}

/**
 * Puts empty memory in the place of what is mapped, in one step: private, all zero, and taking none
 * before it is written to. Linux alone.
 */
export function mmapOver(address: number, length: number): number {
  const prot = PROT_READ | PROT_WRITE;
  const flags = MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS | MAP_NORESERVE;
  return answer((mappings ?? loadMappings()).mmap(address, length, prot, flags, -1, 0));
}

/** Linux alone. */
export function munmap(address: number, length: number): number {
  return answer((mappings ?? loadMappings()).munmap(address, length));
}

/** Gives the pages of private memory back to the system: it reads as zeros again. Linux alone. */
export function empty(address: number, length: number): number {
  return answer((mappings ?? loadMappings()).madvise(address, length, MADV_DONTNEED));
}

/**
 * Makes a key of a file. -1 is a key like any other, so the error goes to `failure`.
 */
export function ftok(path: Uint8Array, project: number, failure: { errno: number }): number {
  const { ftok } = processes ?? loadProcesses();
  errno[0] = 0;
  const result = ftok(path, project);
  if (result === -1) failure.errno = errno[0];
  return result;
}

export function geteuid(): number {
  return (processes ?? loadProcesses()).geteuid() >>> 0;
}

export function getpid(): number {
  return (processes ?? loadProcesses()).getpid();
}

export function kill(pid: number, signal: number): number {
  return answer((processes ?? loadProcesses()).kill(pid, signal));
}

/** Sets the handler of a signal, an address, or 0 for the default. */
export function signal(number: number, handler: number): void {
  (processes ?? loadProcesses()).signal(number, handler);
}
