/**
 * Shared memory: {@linkcode SharedMemory}.
 *
 * @module
 */

import {
  errors,
  IPC_CREAT,
  IPC_PRIVATE,
  IPC_RMID,
  IPC_STAT,
  SHM_DEST,
  SHM_HUGETLB,
  SHM_LOCKED,
  SHM_RDONLY,
} from "../ffi/constants.ts";
import { abi, shm_info, shminfo } from "../ffi/platforms.ts";
import { readStruct } from "../ffi/struct.ts";
import { shmat, shmctl, shmdt, shmget } from "../ffi/calls.ts";
import { view } from "../ffi/memory.ts";
import { detach } from "../ffi/detach.ts";
import { encode } from "../ffi/bytes.ts";
import { checkInteger } from "../ffi/check.ts";
import type { Key } from "./key.ts";
import {
  create,
  type CreateOptions,
  dateOf,
  fromId,
  type Handle,
  ipcError,
  type Kind,
  type ObjectInfo,
  open,
  openOrCreate,
  type OpenOrCreateOptions,
  type PermissionOptions,
} from "./object.ts";

/** Options of {@linkcode SharedMemory.create}. */
export interface SharedMemoryCreateOptions extends CreateOptions {
  /** The size in bytes, at least 1, and at most what an `ArrayBuffer` holds: 4 GiB in Bun. */
  size: number;
  /**
   * Whether to take it from the huge pages of the system (Linux).
   *
   * @default {false}
   */
  hugePages?: boolean | undefined;
  /**
   * Whether the kernel frees it with its last user, whatever ends that (Linux). Processes that
   * are handed its `id` can attach it as long as one has it attached. Only without a key.
   *
   * @default {false}
   */
  ephemeral?: boolean | undefined;
}

/** Options of {@linkcode SharedMemory.open} and {@linkcode SharedMemory.fromId}. */
export interface SharedMemoryOpenOptions {
  /**
   * Whether to attach it for reading only: then there is `read`, and no live buffer.
   *
   * @default {false}
   */
  readonly?: boolean | undefined;
}

/** Options of {@linkcode SharedMemory.openOrCreate}. */
export interface SharedMemoryOpenOrCreateOptions extends OpenOrCreateOptions {
  /**
   * The size in bytes, at least 1, and at most what an `ArrayBuffer` holds (4 GiB in Bun): of a new
   * one, and the least of one that exists.
   */
  size: number;
}

/** What {@linkcode SharedMemory.stat} tells. */
export interface SharedMemoryInfo extends ObjectInfo {
  /** The size in bytes. */
  readonly size: number;
  /** The number of attachments, of which a process can have several. */
  readonly attachments: number;
  /** The process that created it. */
  readonly creatorPid: number;
  /** The process that attached or detached last, 0 for none. */
  readonly lastPid: number;
  /** When somebody attached last, undefined for never. */
  readonly lastAttach: Date | undefined;
  /** When somebody detached last, undefined for never. */
  readonly lastDetach: Date | undefined;
  /** Whether it is removed and goes with its last attachment. */
  readonly removed: boolean;
  /** Whether it is locked in memory. */
  readonly locked: boolean;
}

const sharedMemory: Kind = {
  noun: "shared memory",
  syscalls: { get: "shmget", control: "shmctl" },
  layout: abi.layouts.shmid,
  changeTime: "shm_ctime",
  letter: "m",
  statAny: abi.constants.SHM_STAT_ANY,
  control: shmctl,
  limits() {
    const { shmmni, shmall } = shmInfo(abi.constants.IPC_INFO, shminfo);
    const { used_ids: segments, shm_tot: pages } = shmInfo(abi.constants.SHM_INFO, shm_info);
    return segments! >= shmmni!
      ? `the system has ${segments} of at most ${shmmni} segments (SHMMNI, kernel.shmmni)`
      : `the system has ${pages} of at most ${shmall} pages in segments (SHMALL, kernel.shmall)`;
  },
  largest() {
    const { shmmax } = shmInfo(abi.constants.IPC_INFO, shminfo);
    return `a segment has at most ${shmmax} bytes (SHMMAX, kernel.shmmax)`;
  },
};

function shmInfo(command: number, layout: typeof shminfo): Record<string, number> {
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

const getAny = (key: number, flags: number) => shmget(key, 0, flags);
const openModes = (readonly: boolean) => readonly ? [0o400] : [0o600];

/**
 * Memory that processes share: what one writes, the others see at once.
 *
 * - **Live:** `buffer` and `bytes` are the memory itself. `Atomics` on typed arrays over it work
 *   between processes, but for `Atomics.wait` and `notify`: combine it with a semaphore to wait.
 * - **While others write:** only access elements, use `Atomics`, `set` and `slice` on live memory. What
 *   looks twice, such as a `TextDecoder`, which measures before it decodes, can kill the process when
 *   the text changes in between: give it what `read()` gives.
 * - **Start:** new memory is all zero.
 * - **Safe to leave:** detaching ends all views, whatever still works on them: see `detach`.
 * - **Death:** the memory keeps what a killed process has written, finished or not.
 * - **Lifetime:** it outlives its processes. Disposing the handle that created it removes it: others
 *   keep what they have attached, and the kernel frees it with the last of them.
 *
 * @example
 * ```ts
 * import { SharedMemory } from "@sysv/ipc";
 * import { assertEquals } from "@std/assert";
 *
 * using memory = SharedMemory.create({ size: 4096 });
 * using same = SharedMemory.fromId(memory.id);
 * Atomics.add(new Int32Array(memory.buffer), 0, 42);
 * assertEquals(new Int32Array(same.buffer)[0], 42);
 * ```
 *
 * @see https://man7.org/linux/man-pages/man2/shmop.2.html
 */
export class SharedMemory implements Disposable {
  /** The size in bytes. */
  readonly size: number;
  /** Whether it is attached for reading only. */
  readonly readonly: boolean;
  readonly #handle: Handle;
  readonly #address: number;
  #memory: ArrayBuffer | undefined;
  #bytes: Uint8Array<ArrayBuffer> | undefined;

  /** Attaches the segment. */
  private constructor(handle: Handle, size: number, readonly: boolean) {
    this.#handle = handle;
    this.size = size;
    this.readonly = readonly;
    this.#address = shmat(handle.id, readonly ? SHM_RDONLY : 0);
    if (this.#address < 0) {
      throw handle.error(-this.#address, "shmat", `attach ${handle.name}`);
    }
    try {
      this.#memory = view(this.#address, size);
      this.#bytes = new Uint8Array(this.#memory);
    } catch (error) {
      shmdt(this.#address);
      throw error;
    }
  }

  /**
   * Creates a segment and attaches it. Disposing the handle detaches and removes it, unless `owner` is false.
   *
   * @throws {IpcError} EEXIST if the key is taken, EINVAL if the system allows no such size (SHMMAX),
   * ENOSPC if a limit of the system is reached, ENOMEM if there is not as much memory or not as many
   * huge pages, EPERM if this process may take no huge pages.
   * @throws {RangeError} If it is more than an `ArrayBuffer` holds: nothing is left of it then.
   * @throws {TypeError} If it is ephemeral and has a key.
   */
  static create(
    { size, hugePages, ephemeral, ...options }: SharedMemoryCreateOptions,
  ): SharedMemory {
    checkSize(size);
    if (ephemeral && options.key !== undefined) {
      throw new TypeError(
        "Cannot create ephemeral shared memory with a key as its removal frees the key: leave one out",
      );
    }
    const get = (key: number, flags: number) => {
      const id = shmget(key, size, flags);
      const reason = hugePages ? hugePageReasons.get(-id) : undefined;
      if (reason === undefined) return id;
      const subject = key === IPC_PRIVATE ? {} : { key };
      throw ipcError(-id, "shmget", `create shared memory of ${size} bytes`, subject, reason);
    };
    const handle = create(
      sharedMemory,
      get,
      ephemeral ? { ...options, owner: false } : options,
      hugePages ? SHM_HUGETLB : 0,
    );
    try {
      const memory = new SharedMemory(handle, size, false);
      if (ephemeral) handle.control(IPC_RMID, null, "mark the end of");
      return memory;
    } catch (error) {
      handle.remove();
      throw error;
    }
  }

  /**
   * Opens a segment that exists and attaches it.
   *
   * @param key The key or name.
   * @param options Whether for reading only.
   * @throws {IpcError} ENOENT if there is none, EACCES if its mode does not permit it.
   * @throws {RangeError} If it is more than an `ArrayBuffer` holds.
   */
  static open(key: Key, { readonly = false }: SharedMemoryOpenOptions = {}): SharedMemory {
    const handle = open(sharedMemory, getAny, key, openModes(readonly));
    return new SharedMemory(handle, sizeOf(handle), readonly);
  }

  /**
   * Opens a segment and attaches it, or creates it. Safe against every race: any number of processes
   * may call it at once, or remove the segment meanwhile.
   *
   * @param key The key or name.
   * @param options The size and mode to create it with.
   * @throws {IpcError} EPERM if another user made it, EINVAL if it is smaller, EACCES, ENOSPC, ENOMEM.
   * @throws {RangeError} If it is more than an `ArrayBuffer` holds: what was created is removed then.
   */
  static openOrCreate(
    key: Key,
    { size, ...options }: SharedMemoryOpenOrCreateOptions,
  ): SharedMemory {
    checkSize(size);
    const get = (key: number, flags: number) =>
      shmget(key, (flags & IPC_CREAT) === 0 ? 0 : size, flags);
    let memory: SharedMemory | undefined;
    const search = { get, modes: openModes(false) };
    openOrCreate(sharedMemory, search, key, options, (handle) => {
      const actual = sizeOf(handle);
      if (actual < size) {
        const reason = `its size is ${actual} bytes, not ${size}`;
        throw ipcError(errors.EINVAL, "shmget", `open ${handle.name}`, handle, reason);
      }
      memory = new SharedMemory(handle, actual, false);
    });
    return memory!;
  }

  /**
   * Takes the identifier of a segment that another process made, such as a parent, and attaches it.
   *
   * @param id The identifier.
   * @param options Whether for reading only.
   * @throws {IpcError} EIDRM if no segment has it, EACCES if its mode does not permit it.
   * @throws {RangeError} If it is more than an `ArrayBuffer` holds.
   */
  static fromId(id: number, { readonly = false }: SharedMemoryOpenOptions = {}): SharedMemory {
    const handle = fromId(sharedMemory, id);
    return new SharedMemory(handle, sizeOf(handle), readonly);
  }

  /** The identifier, by which other processes of this machine can take it. */
  get id(): number {
    return this.#handle.id;
  }

  /** The key, undefined for private memory. */
  get key(): number | undefined {
    return this.#handle.key;
  }

  /** Whether disposing this handle removes the segment. */
  get owned(): boolean {
    return this.#handle.owned;
  }

  /** Whether the memory can be used: until `detach`, dispose, or a transfer of its buffer. */
  get attached(): boolean {
    return this.#bytes?.length === this.size;
  }

  /**
   * The memory itself. While others write to it, only access elements, use `Atomics`, `set` and
   * `slice`, and decode what `read` gives.
   *
   * @throws {TypeError} If it is attached for reading only: a write would kill the process.
   * @throws {ReferenceError} If it is detached, or its buffer was transferred.
   */
  get buffer(): ArrayBuffer {
    return this.bytes.buffer;
  }

  /**
   * The memory itself, byte by byte. While others write to it, only access elements, use `Atomics`,
   * `set` and `slice`, and decode what `read` gives.
   *
   * @throws {TypeError} If it is attached for reading only: a write would kill the process.
   * @throws {ReferenceError} If it is detached, or its buffer was transferred.
   */
  get bytes(): Uint8Array<ArrayBuffer> {
    const bytes = this.#live();
    if (!this.readonly) return bytes;
    throw new TypeError(
      `Cannot hand out ${this.#handle.name} as it is attached for reading only: use read()`,
    );
  }

  /**
   * Copies bytes out of the memory, which is safe whoever writes meanwhile, though not atomic. Reading
   * past the end gives what there is.
   *
   * @param offset Where to begin, in bytes.
   * @param length How many bytes; to the end if left out.
   * @throws {RangeError} If the offset is not within the memory, or the length is negative.
   * @throws {ReferenceError} If it is detached, or its buffer was transferred.
   */
  read(offset = 0, length: number = this.size): Uint8Array<ArrayBuffer> {
    checkInteger(offset, 0, this.size - 1, `read ${this.#handle.name} at ${offset}`);
    checkInteger(
      length,
      0,
      Number.MAX_SAFE_INTEGER,
      `read ${length} bytes of ${this.#handle.name}`,
    );
    return this.#live().slice(offset, offset + length);
  }

  /**
   * Copies bytes into the memory, not atomically: all, or none if they do not fit.
   *
   * @param data Text, written as UTF-8, or bytes.
   * @param offset Where to begin, in bytes.
   * @throws {RangeError} If they do not fit.
   * @throws {TypeError} If it is attached for reading only.
   * @throws {ReferenceError} If it is detached, or its buffer was transferred.
   */
  write(data: string | BufferSource, offset = 0): void {
    const doing = `write to ${this.#handle.name}`;
    const bytes = encode(data, doing);
    checkInteger(offset, 0, this.size, `${doing} at ${offset}`);
    if (bytes.byteLength > this.size - offset) {
      throw new RangeError(
        `Cannot ${doing}: ${bytes.byteLength} bytes at ${offset} are more than its ${this.size}`,
      );
    }
    const live = this.#live();
    if (this.readonly) {
      throw new TypeError(`Cannot ${doing} as it is attached for reading only`);
    }
    live.set(bytes, offset);
  }

  /**
   * Detaches the memory, now. Does nothing the second time.
   *
   * - **Views:** their length is 0 from then on.
   * - **Calls under way** of the runtime, such as a `zlib.gzip` or `fs.write` of the memory, go on with
   *   zeros of this process alone, so await them first if it matters. While a call keeps the buffer, as
   *   some do in Bun, its views keep their length, and show those zeros.
   * - **Transferred buffers** (`postMessage`, `structuredClone`, `transfer()`) hold such zeros, too.
   * - **Where that cannot be** (macOS, huge pages), it fails with EBUSY and leaves the memory attached if
   *   its buffer is kept or was transferred. In Deno await all calls under way there: one that goes on
   *   crashes.
   *
   * The zeros last longer than any call does: until this process has detached 16 GiB or 4,096 segments more.
   *
   * @throws {IpcError} EBUSY if the memory is in use and the system cannot detach it then.
   */
  detach(): void {
    const memory = this.#memory;
    if (memory === undefined) return;
    const result = detach(memory, this.#address, this.size);
    if (result < 0) {
      const doing = `detach ${this.#handle.name}`;
      if (result !== -errors.EBUSY) throw this.#handle.error(-result, "shmdt", doing);
      const reason = this.attached
        ? "a call that is under way keeps its buffer: await it first"
        : "its buffer was transferred";
      throw ipcError(errors.EBUSY, "shmdt", doing, this.#handle, reason);
    }
    this.#memory = this.#bytes = undefined;
  }

  /**
   * Describes the segment.
   *
   * @returns A snapshot that does not change.
   */
  stat(): SharedMemoryInfo {
    const { info, members } = this.#handle.read();
    return Object.freeze({
      ...info,
      size: members.shm_segsz!,
      attachments: members.shm_nattch!,
      creatorPid: members.shm_cpid!,
      lastPid: members.shm_lpid!,
      lastAttach: dateOf(members.shm_atime!),
      lastDetach: dateOf(members.shm_dtime!),
      removed: (members.mode! & SHM_DEST) !== 0,
      locked: (members.mode! & SHM_LOCKED) !== 0,
    });
  }

  /**
   * Keeps the memory from being swapped out (Linux).
   *
   * @throws {IpcError} EPERM if this process may lock none, ENOMEM if not as much (RLIMIT_MEMLOCK),
   * ENOSYS if the system cannot.
   */
  lock(): void {
    this.#lock(abi.constants.SHM_LOCK, "lock");
  }

  /** Allows the memory to be swapped out again (Linux). */
  unlock(): void {
    this.#lock(abi.constants.SHM_UNLOCK, "unlock");
  }

  /**
   * Changes who may attach the segment.
   *
   * @throws {IpcError} EPERM if this process is neither owner nor creator nor privileged.
   */
  setPermissions(permissions: PermissionOptions): void {
    this.#handle.setPermissions(permissions);
  }

  /**
   * Removes the segment: nobody can open it any more. The memory stays attached here and elsewhere
   * until everyone has detached it.
   *
   * @throws {IpcError} EPERM if this process is neither owner nor creator nor privileged, EIDRM if it
   * is removed already.
   */
  remove(): void {
    this.#handle.check();
    // Linux removes it as often as one likes while it is attached.
    const buffer = new Uint8Array(sharedMemory.layout.size);
    const readable = shmctl(this.id, IPC_STAT, buffer) >= 0;
    if (readable && (readStruct(abi.layouts.ipcPerm, buffer).mode! & SHM_DEST) !== 0) {
      throw this.#handle.error(errors.EIDRM, "shmctl", `remove ${this.#handle.name}`);
    }
    this.#handle.remove();
  }

  /**
   * Detaches as `detach` does, ends the handle, and removes the segment if the handle owns it. Does
   * nothing the second time.
   */
  [Symbol.dispose](): void {
    try {
      this.detach();
    } finally {
      this.#handle.dispose();
    }
  }

  #live(): Uint8Array<ArrayBuffer> {
    const bytes = this.#bytes;
    if (bytes?.length === this.size) return bytes;
    const reason = bytes === undefined ? "it is detached" : "its buffer was transferred";
    throw new ReferenceError(`Cannot use ${this.#handle.name} as ${reason}`);
  }

  #lock(command: number, verb: string): void {
    this.#handle.check();
    if (command === -1) {
      throw this.#handle.error(errors.ENOSYS, "shmctl", `${verb} ${this.#handle.name}`);
    }
    const result = shmctl(this.id, command, null);
    if (result >= 0) return;
    const doing = `${verb} ${this.#handle.name}`;
    const reason = lockReasons.get(-result);
    if (reason === undefined) throw this.#handle.error(-result, "shmctl", doing);
    throw ipcError(-result, "shmctl", doing, this.#handle, reason);
  }
}

function sizeOf(handle: Handle): number {
  return handle.read().members.shm_segsz!;
}

function checkSize(size: number): void {
  checkInteger(size, 1, Number.MAX_SAFE_INTEGER, `make shared memory of ${size} bytes`);
}
