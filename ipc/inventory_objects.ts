/**
 * How the objects of the kernel are listed: by their places in its tables, for all owners, and
 * each member read at its place.
 *
 * @module
 */

import { errors, IPC_PRIVATE, SHM_DEST, SHM_LOCKED } from "../ffi/constants.ts";
import { kill, msgctl, semctl, semctlBuffer, shmctl } from "../ffi/calls.ts";
import { abi } from "../ffi/platforms.ts";
import { type Layout, readField } from "../ffi/struct.ts";
import { ipcError } from "../ffi/error.ts";
import { dateOf } from "./handle.ts";
import type { ObjectInfo } from "./object.ts";
import { meaningOf, several } from "./inventory_kinds.ts";
import { kindOf, type SetKind, UNFINISHED } from "./set_tag.ts";

/** The types of objects. */
export type ObjectType = "sem" | "queue" | "memory";

/** What a process did to an object. */
export type ProcessRole =
  | "creator"
  | "last operation"
  | "last sender"
  | "last receiver"
  | "last attachment";

/** A process that the kernel remembers of an object. */
export interface KnownProcess {
  /** Its number. A number comes back: a process that lives may be another one. */
  readonly pid: number;
  /** What it did. The kernel records creators of shared memory alone. */
  readonly role: ProcessRole;
  /** Whether a process of this number lives. */
  readonly alive: boolean;
}

/** What is listed of every object. */
export interface ListedInfo extends ObjectInfo {
  /** When it was last used, or else created or changed. */
  readonly lastUse: Date;
  /** The processes that the kernel remembers, none twice in one role. */
  readonly processes: readonly KnownProcess[];
  /**
   * Whether a process waits for it, is attached to it, or holds something that the kernel would have
   * taken back from a dead process. Processes that wait at a queue cannot be seen.
   */
  readonly inUse: boolean;
  /** What cannot be seen of it, and why; undefined if nothing is hidden. */
  readonly hidden: string | undefined;
  /** What its state means, in a few words. */
  readonly meaning: string;
}

/** A semaphore set, as {@linkcode list} lists it. */
export interface ListedSemaphores extends ListedInfo {
  /** The type. */
  readonly type: "sem";
  /** What this module made it; undefined for another program's set, or if its values are hidden. */
  readonly kind: SetKind | undefined;
  /** The number of semaphores, without the tag. */
  readonly size: number;
  /** The number of semaphores as the kernel counts them. */
  readonly semaphores: number;
  /** The values, undefined if the mode does not permit reading them. */
  readonly values: readonly number[] | undefined;
  /** How many processes wait, for each semaphore; undefined as `values`. */
  readonly waiting: readonly number[] | undefined;
  /** The time of the last operation, undefined for never. */
  readonly lastOperation: Date | undefined;
}

/** A message queue, as {@linkcode list} lists it. */
export interface ListedQueue extends ListedInfo {
  /** The type. */
  readonly type: "queue";
  /** The number of messages in it. */
  readonly messages: number;
  /** The number of their bytes. */
  readonly bytes: number;
  /** The maximum number of bytes that it holds. */
  readonly maxBytes: number;
  /** The time of the last send, undefined for never. */
  readonly lastSend: Date | undefined;
  /** The time of the last receive, undefined for never. */
  readonly lastReceive: Date | undefined;
}

/** A segment of shared memory, as {@linkcode list} lists it. */
export interface ListedMemory extends ListedInfo {
  /** The type. */
  readonly type: "memory";
  /** The size in bytes. */
  readonly size: number;
  /** The number of attachments, of which a process can have several. */
  readonly attachments: number;
  /** The time of the last attach, undefined for never. */
  readonly lastAttach: Date | undefined;
  /** The time of the last detach, undefined for never. */
  readonly lastDetach: Date | undefined;
  /** Whether it is removed and goes with its last attachment. */
  readonly removed: boolean;
  /** Whether it is locked in memory. */
  readonly locked: boolean;
}

/** What is listed, by type. */
export interface ListedByType {
  /** Semaphore sets. */
  readonly sem: ListedSemaphores;
  /** Message queues. */
  readonly queue: ListedQueue;
  /** Segments of shared memory. */
  readonly memory: ListedMemory;
}

/** An object, as {@linkcode list} lists it. */
export type ListedObject = ListedByType[ObjectType];

/** Another PID namespace shows its processes as 0. */
const ELSEWHERE = "used from another PID namespace";

// One buffer serves all structs, and one all values, as each is read before the next call.
// The largest struct has 120 bytes.
const buffer = new Uint8Array(128);
const memory = new DataView(buffer.buffer);
let values = new Uint16Array(64);

const field = (layout: Layout, name: string): number => readField(memory, layout.fields[name]!);
const { ipcPerm, semid, msqid, shmid } = abi.layouts;

/** Which processes live, each asked for once a listing. */
class Liveness {
  readonly #known = new Map<number, boolean>();

  of(pid: number): boolean {
    let alive = this.#known.get(pid);
    // EPERM says that the process is there.
    if (alive === undefined) this.#known.set(pid, alive = kill(pid, 0) !== -errors.ESRCH);
    return alive;
  }

  /** Makes the list of the processes that are known. */
  processes(...users: [ProcessRole, number][]): KnownProcess[] {
    return users.filter(([, pid]) => pid > 0).map(([role, pid]) =>
      Object.freeze({ pid, role, alive: this.of(pid) })
    );
  }
}

/** Reads what all structs begin with, and the time of the last change. */
function readInfo(id: number, layout: Layout, changeTime: string): ObjectInfo & { mode: number } {
  const key = field(ipcPerm, "__key");
  return {
    id,
    key: key === IPC_PRIVATE ? undefined : key,
    uid: field(ipcPerm, "uid"),
    gid: field(ipcPerm, "gid"),
    creatorUid: field(ipcPerm, "cuid"),
    creatorGid: field(ipcPerm, "cgid"),
    mode: field(ipcPerm, "mode"),
    lastChange: new Date(field(layout, changeTime) * 1000),
  };
}

/** The latest of several times. */
function latest(first: Date, ...others: (Date | undefined)[]): Date {
  return others.reduce<Date>(
    (last, time) => time !== undefined && time > last ? time : last,
    first,
  );
}

/** Reads a set whose struct stands in the buffer; undefined if it was removed meanwhile. */
function readSemaphores(id: number, live: Liveness): ListedSemaphores | undefined {
  const info = readInfo(id, semid, "sem_ctime");
  const count = field(semid, "sem_nsems");
  const lastOperation = dateOf(field(semid, "sem_otime"));
  const { mode } = info;
  const listed = {
    type: "sem" as const,
    ...info,
    mode: mode & 0o777,
    semaphores: count,
    lastOperation,
    lastUse: latest(info.lastChange, lastOperation),
  };
  if (count > values.length) values = new Uint16Array(count);
  const bytes = new Uint8Array(values.buffer, 0, 2 * count);
  const result = semctlBuffer(id, 0, abi.constants.GETALL, bytes);
  if (result === -errors.EACCES) return Object.freeze({ ...listed, ...unreadable(count) });
  if (result < 0) return undefined;
  const read = Array.from(values.subarray(0, count));
  const unfinished = (mode & 0o111) === UNFINISHED && read.every((value) => value === 0);
  return Object.freeze({
    ...listed,
    mode: unfinished ? mode & 0o666 : listed.mode,
    ...readValues(id, read, unfinished, live, lastOperation),
  });
}

function unreadable(size: number) {
  return {
    kind: undefined,
    size,
    values: undefined,
    waiting: undefined,
    processes: [],
    inUse: false,
    hidden: "the mode does not permit this user to read values, waiters and processes",
    meaning: "not readable",
  };
}

/** Makes sense of the values of a set. */
function readValues(
  id: number,
  read: number[],
  unfinished: boolean,
  live: Liveness,
  lastOperation: Date | undefined,
) {
  const { GETPID, GETNCNT, GETZCNT } = abi.constants;
  const kind = read.length > 1 ? kindOf(read.at(-1)!) : undefined;
  const pids = read.map((_, index) => Math.max(semctl(id, index, GETPID, 0), 0));
  if (kind !== undefined || unfinished) read.pop();
  const waiting = read.map((_, index) =>
    Math.max(semctl(id, index, GETNCNT, 0), 0) + Math.max(semctl(id, index, GETZCNT, 0), 0)
  );
  const { text, held } = meaningOf(kind, read, (index) => pids[index]!);
  const waiters = waiting.reduce((sum, count) => sum + count, 0);
  const users = [...new Set(pids)].map((pid): [ProcessRole, number] => ["last operation", pid]);
  const isUsed = lastOperation !== undefined || read.some((value) => value > 0);
  return {
    kind,
    size: read.length,
    values: Object.freeze(read),
    waiting: Object.freeze(waiting),
    processes: live.processes(...users),
    inUse: held || waiters > 0,
    hidden: isUsed && pids.every((pid) => pid === 0) ? ELSEWHERE : undefined,
    meaning: unfinished ? "not initialised" : waiters > 0 ? `${text}, ${waiters} waiting` : text,
  };
}

function readQueue(id: number, live: Liveness): ListedQueue {
  const info = readInfo(id, msqid, "msg_ctime");
  const lastSend = dateOf(field(msqid, "msg_stime"));
  const lastReceive = dateOf(field(msqid, "msg_rtime"));
  const sender = field(msqid, "msg_lspid");
  const receiver = field(msqid, "msg_lrpid");
  const messages = field(msqid, "msg_qnum");
  const isElsewhere = (lastSend && sender === 0) || (lastReceive && receiver === 0);
  return Object.freeze({
    type: "queue" as const,
    ...info,
    mode: info.mode & 0o777,
    messages,
    bytes: field(msqid, "msg_cbytes"),
    maxBytes: field(msqid, "msg_qbytes"),
    lastSend,
    lastReceive,
    lastUse: latest(info.lastChange, lastSend, lastReceive),
    processes: live.processes(["last sender", sender], ["last receiver", receiver]),
    inUse: false,
    hidden: isElsewhere ? ELSEWHERE : undefined,
    meaning: messages === 0 ? "empty" : several(messages, "message"),
  });
}

function readMemory(id: number, live: Liveness): ListedMemory {
  const info = readInfo(id, shmid, "shm_ctime");
  const lastAttach = dateOf(field(shmid, "shm_atime"));
  const lastDetach = dateOf(field(shmid, "shm_dtime"));
  const attachments = field(shmid, "shm_nattch");
  const creator = field(shmid, "shm_cpid");
  const last = field(shmid, "shm_lpid");
  const removed = (info.mode & SHM_DEST) !== 0;
  const isElsewhere = creator === 0 || ((lastAttach ?? lastDetach) && last === 0);
  const attached = attachments === 0 ? "not attached" : several(attachments, "attachment");
  return Object.freeze({
    type: "memory" as const,
    ...info,
    mode: info.mode & 0o777,
    size: field(shmid, "shm_segsz"),
    attachments,
    lastAttach,
    lastDetach,
    removed,
    locked: (info.mode & SHM_LOCKED) !== 0,
    lastUse: latest(info.lastChange, lastAttach, lastDetach),
    processes: live.processes(["creator", creator], ["last attachment", last]),
    inUse: attachments > 0,
    hidden: isElsewhere ? ELSEWHERE : undefined,
    meaning: removed ? `${attached}, removed` : attached,
  });
}

/** How one type is listed. */
interface Table {
  readonly syscall: string;
  /** Asks for the highest place of the kernel's table that is taken. */
  readonly infoCommand: number;
  /** Describes what stands at a place, without asking for permission. */
  readonly statCommand: number;
  call(place: number, command: number, buffer: Uint8Array): number;
  read(id: number, live: Liveness): ListedObject | undefined;
}

const { constants } = abi;
const tables: Readonly<Record<ObjectType, Table>> = {
  sem: {
    syscall: "semctl",
    infoCommand: constants.SEM_INFO,

    statCommand: constants.SEM_STAT_ANY,
    call: (place, command, buffer) => semctlBuffer(place, 0, command, buffer),
    read: readSemaphores,
  },
  queue: {
    syscall: "msgctl",
    infoCommand: constants.MSG_INFO,

    statCommand: constants.MSG_STAT_ANY,
    call: msgctl,
    read: readQueue,
  },
  memory: {
    syscall: "shmctl",
    infoCommand: constants.SHM_INFO,

    statCommand: constants.SHM_STAT_ANY,
    call: shmctl,
    read: readMemory,
  },
};

/** Reads all objects of some types. */
export function readObjects(types: readonly ObjectType[]): ListedObject[] {
  const live = new Liveness();
  const found: ListedObject[] = [];
  for (const type of types) {
    const { syscall, infoCommand, statCommand, call, read } = tables[type];
    const highest = infoCommand === -1 ? -errors.ENOSYS : call(0, infoCommand, buffer);
    if (highest < 0) throw ipcError(-highest, "list the objects of the system", { syscall });
    for (let place = 0; place <= highest; place++) {
      const id = call(place, statCommand, buffer);
      // What stands nowhere has gone, or was never there.
      const object = id < 0 ? undefined : read(id, live);
      if (object !== undefined) found.push(object);
    }
  }
  return found;
}
