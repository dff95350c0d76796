/**
 * Handles of shared memory: how a segment is made, found, attached and described.
 *
 * @module
 */

import { errors, SHM_DEST, SHM_HUGETLB, SHM_LOCKED, SHM_RDONLY } from "../ffi/constants.ts";
import { abi, shm_info, shminfo } from "../ffi/platforms.ts";
import { type Layout, readStruct, Struct } from "../ffi/struct.ts";
import { shmat, shmctl, shmdt, shmget } from "../ffi/calls.ts";
import { view } from "../ffi/memory.ts";
import { ipcError } from "../ffi/error.ts";
import { abandon, create, openOrCreate } from "./get.ts";
import { dateOf, type Handle } from "./handle.ts";
import type { Key } from "./key.ts";
import type { ObjectInfo, ObjectType } from "./object.ts";

/** What {@linkcode SharedMemory.stat} returns. */
export interface SharedMemoryInfo extends ObjectInfo {
  /** The size in bytes. */
  readonly size: number;
  /** The number of attachments, of which a process can have several. */
  readonly attachments: number;
  /** The process that created it. */
  readonly creatorPid: number;
  /** The process that attached or detached last, 0 for none. */
  readonly lastPid: number;
  /** The time of the last attach, undefined for never. */
  readonly lastAttach: Date | undefined;
  /** The time of the last detach, undefined for never. */
  readonly lastDetach: Date | undefined;
  /** Whether it is removed and goes with its last attachment. */
  readonly removed: boolean;
  /** Whether it is locked in memory. */
  readonly locked: boolean;
}

/** Memory of a segment in this process. */
export interface Attachment {
  readonly handle: Handle;
  /** The bytes that are used, which the kernel rounds up to pages. */
  readonly size: number;
  readonly readonly: boolean;
  readonly address: number;
  readonly memory: ArrayBuffer;
}

/** What a new segment is made of. */
export interface NewSegment {
  readonly size: number;
  readonly mode: number;
  readonly hugePages?: boolean;
}

const { fields } = abi.layouts.shmid;
const { mode } = abi.layouts.ipcPerm.fields;

/** Shared memory, as the kernel has it. */
export const sharedMemory: ObjectType = {
  noun: "shared memory",
  syscalls: { get: "shmget", control: "shmctl" },
  layout: abi.layouts.shmid,
  struct: new Struct(abi.layouts.shmid),
  changeTime: fields.shm_ctime!,
  letter: "m",
  openModes: [0o600],
  statAny: abi.constants.SHM_STAT_ANY,
  get: shmget,
  control: shmctl,
  limits() {
    const { shmmni, shmall } = systemInfo(abi.constants.IPC_INFO, shminfo);
    const { used_ids: segments, shm_tot: pages } = systemInfo(abi.constants.SHM_INFO, shm_info);
    return segments! >= shmmni!
      ? `the system has ${segments} of at most ${shmmni} segments (SHMMNI, kernel.shmmni)`
      : `the system has ${pages} of at most ${shmall} pages in segments (SHMALL, kernel.shmall)`;
  },
  largest() {
    const { shmmax } = systemInfo(abi.constants.IPC_INFO, shminfo);
    return `a segment has at most ${shmmax} bytes (SHMMAX, kernel.shmmax)`;
  },
};

function systemInfo(command: number, layout: Layout): Record<string, number> {
  const buffer = new Uint8Array(layout.size);
  return shmctl(0, command, buffer) < 0 ? {} : readStruct(layout, buffer);
}

const hugePageReasons: ReadonlyMap<number, string> = new Map([
  [
    errors.EPERM,
    "huge pages need CAP_IPC_LOCK or the group that vm.hugetlb_shm_group names: leave hugePages out, or ask the administrator",
  ],
  [
    errors.ENOMEM,
    "the system has too few huge pages left, of as many as vm.nr_hugepages reserves",
  ],
]);

/** Creates a segment and attaches it. */
export function createMemory(
  key: Key | undefined,
  owned: boolean,
  { size, mode, hugePages = false }: NewSegment,
): Attachment {
  const handle = create(
    sharedMemory,
    key,
    owned,
    hugePages ? { size, mode, flags: SHM_HUGETLB, reasons: hugePageReasons } : { size, mode },
  );
  try {
    return attach(handle, size, false);
  } catch (error) {
    handle.remove();
    throw error;
  }
}

/** Opens a segment and attaches it, or creates it. */
export function openOrCreateMemory(
  key: Key,
  allowForeign: boolean,
  { size, mode }: NewSegment,
): Attachment {
  for (;;) {
    const handle = openOrCreate(sharedMemory, key, allowForeign, { size, mode });
    try {
      const actual = sizeOf(handle);
      if (actual < size) throw tooSmall(handle, actual, size);
      return attach(handle, actual, false);
    } catch (error) {
      abandon(handle, error);
    }
  }
}

function tooSmall(handle: Handle, actual: number, wanted: number): Error {
  return ipcError("EINVAL", `open ${handle.name}`, {
    syscall: "shmget",
    id: handle.id,
    key: handle.key,
    reason: `its size is ${actual} bytes, not ${wanted}`,
  });
}

/** Attaches a segment that was opened: all of it, unless its size is known. */
export function attach(
  handle: Handle,
  size: number = sizeOf(handle),
  readonly: boolean,
): Attachment {
  const address = shmat(handle.id, readonly ? SHM_RDONLY : 0);
  if (address < 0) throw handle.error(-address, "shmat", `attach ${handle.name}`);
  try {
    return { handle, size, readonly, address, memory: view(address, size) };
  } catch (error) {
    shmdt(address);
    throw error;
  }
}

function sizeOf(handle: Handle): number {
  return handle.read().read(fields.shm_segsz!);
}

/** Describes a segment. */
export function memoryInfo(handle: Handle): SharedMemoryInfo {
  const struct = handle.read();
  const flags = struct.read(mode!);
  return Object.freeze({
    ...handle.describe(struct),
    size: struct.read(fields.shm_segsz!),
    attachments: struct.read(fields.shm_nattch!),
    creatorPid: struct.read(fields.shm_cpid!),
    lastPid: struct.read(fields.shm_lpid!),
    lastAttach: dateOf(struct.read(fields.shm_atime!)),
    lastDetach: dateOf(struct.read(fields.shm_dtime!)),
    removed: (flags & SHM_DEST) !== 0,
    locked: (flags & SHM_LOCKED) !== 0,
  });
}

/** Whether a segment is removed already, though it is still attached somewhere. */
export function isMarked(handle: Handle): boolean {
  const struct = handle.tryLook();
  return struct !== undefined && (struct.read(mode!) & SHM_DEST) !== 0;
}

const lockReasons: ReadonlyMap<number, string> = new Map([
  [
    errors.EPERM,
    "only its owner, its creator or a privileged process may do this, and lock it if RLIMIT_MEMLOCK (ulimit -l) is not 0",
  ],
  [
    errors.ENOMEM,
    "this user would have locked more than RLIMIT_MEMLOCK allows (ulimit -l)",
  ],
]);

/** Locks a segment in memory, or unlocks it. */
export function lock(handle: Handle, command: number, verb: "lock" | "unlock"): void {
  handle.check();
  const action = `${verb} ${handle.name}`;
  if (command === -1) throw handle.error(errors.ENOSYS, "shmctl", action);
  const result = shmctl(handle.id, command, null);
  if (result < 0) throw handle.error(-result, "shmctl", action, lockReasons.get(-result));
}
