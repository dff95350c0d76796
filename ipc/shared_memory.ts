/**
 * Shared memory: {@linkcode SharedMemory}.
 *
 * @module
 */

import { errors } from "../ffi/constants.ts";
import { abi } from "../ffi/platforms.ts";
import { detach } from "../ffi/detach.ts";
import { onUnload } from "../wait/unload.ts";
import { encode } from "../ffi/bytes.ts";
import { checkFlag, checkInteger, checkOptions } from "../ffi/check.ts";
import { fromId, open, readCreateOptions, readOpenOrCreateOptions } from "./get.ts";
import type { Handle } from "./handle.ts";
import { showAs, shownKey } from "./inspect.ts";
import { checkInternal, internal } from "./internal.ts";
import { type Key, keyNumber } from "./key.ts";
import {
  attach,
  type Attachment,
  createMemory,
  isMarked,
  lock,
  memoryInfo,
  openOrCreateMemory,
  sharedMemory,
  type SharedMemoryInfo,
} from "./memory_handle.ts";
import type { CreateOptions, OpenOrCreateOptions, PermissionOptions } from "./object.ts";

/** Options of {@linkcode SharedMemory.create}. */
export interface SharedMemoryCreateOptions extends CreateOptions {
  /** The size in bytes, at least 1, and at most what an `ArrayBuffer` holds: 4 GiB in Bun. */
  size: number;
  /**
   * Whether to allocate it from the huge pages of the system (Linux).
   *
   * @default {false}
   */
  hugePages?: boolean | undefined;
  /**
   * Whether the kernel frees it with its last user, even after SIGKILL (Linux). Other processes can attach it by
   * its `id` as long as one has it attached. Only without a key.
   *
   * @default {false}
   */
  ephemeral?: boolean | undefined;
}

/** Options of {@linkcode SharedMemory.open} and {@linkcode SharedMemory.fromId}. */
export interface SharedMemoryOpenOptions {
  /**
   * Whether to attach it for reading only: then there is `read()`, but no live `buffer`. Such memory is also
   * detached when its handle is collected.
   *
   * @default {false}
   */
  readonly?: boolean | undefined;
}

/** Options of {@linkcode SharedMemory.openOrCreate}. */
export interface SharedMemoryOpenOrCreateOptions extends OpenOrCreateOptions {
  /**
   * The size in bytes, at least 1, and at most what an `ArrayBuffer` holds (4 GiB in Bun). A segment
   * that exists must have at least this size.
   */
  size: number;
}

/**
 * Detaches what was attached for reading and never detached, when its handle is collected. Only that hands
 * out no live memory, which may be in use although the handle is not.
 */
const forgotten = new FinalizationRegistry<Attachment>((attachment) => {
  const { memory, address, size } = attachment;
  attached.delete(attachment);
  detach(memory, address, size);
});

/** All that is attached, which Deno leaves so when it starts a program again in the same process. */
const attached = new Set<Attachment>();
let listening = false;

function keep(attachment: Attachment): void {
  attached.add(attachment);
  if (listening) return;
  listening = true;
  onUnload(() => {
    for (const { memory, address, size } of attached) detach(memory, address, size);
  });
}

/**
 * Memory that processes share: what one writes, the others see at once.
 *
 * - **Live:** `buffer` and `bytes` are the memory itself. `Atomics` on typed arrays over it work
 *   between processes, except `Atomics.wait` and `notify`: wait with a semaphore.
 * - **While others write:** use element access, `Atomics`, `set` and `slice` alone on live memory. A `TextDecoder`
 *   measures before it decodes, and can kill the process if the text changes in between: decode what `read()`
 *   returns.
 * - **Start:** new memory is all zero.
 * - **Safe to detach:** all views have length 0 afterwards: see `detach`.
 * - **Death:** the memory keeps what a killed process has written, finished or not.
 * - **Lifetime:** it outlives its processes. Disposing the handle of `create` removes it: other processes keep what
 *   they have attached, and the kernel frees it with the last attachment.
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
  #attachment: Attachment | undefined;
  #bytes: Uint8Array<ArrayBuffer> | undefined;

  /** @ignore */
  constructor(token: symbol, attachment: Attachment) {
    checkInternal(token, "SharedMemory.create() or its like");
    this.#handle = attachment.handle;
    this.#attachment = attachment;
    this.#bytes = new Uint8Array(attachment.memory);
    this.size = attachment.size;
    this.readonly = attachment.readonly;
    if (this.readonly) forgotten.register(this, attachment, this);
    keep(attachment);
  }

  /**
   * Creates a segment and attaches it. Disposing the handle detaches and removes it, unless `owner` is false.
   *
   * @throws {IpcError} EEXIST if the key is taken, EINVAL if the system allows no such size (SHMMAX),
   * ENOSPC if a limit of the system is reached, ENOMEM if there is too little memory or too few huge
   * pages, EPERM if this process may not use huge pages.
   * @throws {RangeError} If it is more than an `ArrayBuffer` holds: then nothing is created.
   * @throws {TypeError} If it is ephemeral and has a key.
   */
  static create(options: SharedMemoryCreateOptions): SharedMemory {
    checkOptions(options);
    const { size, hugePages, ephemeral, ...others } = options;
    const { key, mode, owner } = readCreateOptions(others);
    checkSize(size);
    const isEphemeral = checkFlag(ephemeral, "ephemeral") ?? false;
    if (isEphemeral && key !== undefined) {
      throw new TypeError(
        "Cannot create ephemeral shared memory with a key: its removal frees the key, so leave one out",
      );
    }
    const segment = { size, mode, hugePages: checkFlag(hugePages, "hugePages") ?? false };
    const attachment = createMemory(key, owner && !isEphemeral, segment);
    if (isEphemeral) attachment.handle.destroy();
    return new SharedMemory(internal, attachment);
  }

  /**
   * Opens a segment that exists and attaches it.
   *
   * @param key The key or name.
   * @param options Whether for reading only.
   * @throws {IpcError} ENOENT if there is none, EACCES if its mode does not permit it.
   * @throws {RangeError} If it is more than an `ArrayBuffer` holds.
   */
  static open(key: Key, options?: SharedMemoryOpenOptions): SharedMemory {
    const readonly = readReadonly(options);
    const modes = readonly ? [0o400] : [0o600];
    const handle = open(sharedMemory, key, sharedMemory.noun, modes);
    return new SharedMemory(internal, attach(handle, undefined, readonly));
  }

  /**
   * Opens a segment and attaches it, or creates it. Safe against every race: any number of processes
   * may call it at once, or remove the segment meanwhile.
   *
   * @param key The key or name.
   * @param options The size and mode to create it with.
   * @throws {IpcError} EPERM if another user created it, EINVAL if it is smaller, EACCES, ENOSPC, ENOMEM.
   * @throws {RangeError} If it is more than an `ArrayBuffer` holds: then nothing is created.
   */
  static openOrCreate(key: Key, options: SharedMemoryOpenOrCreateOptions): SharedMemory {
    checkOptions(options);
    const { size, ...others } = options;
    const { mode, allowForeign } = readOpenOrCreateOptions(others);
    keyNumber(key);
    checkSize(size);
    return new SharedMemory(internal, openOrCreateMemory(key, allowForeign, { size, mode }));
  }

  /**
   * Attaches a segment by the identifier that another process passed.
   *
   * @param id The identifier.
   * @param options Whether for reading only.
   * @throws {IpcError} EIDRM if no segment has it, EACCES if its mode does not permit it.
   * @throws {RangeError} If it is more than an `ArrayBuffer` holds.
   */
  static fromId(id: number, options?: SharedMemoryOpenOptions): SharedMemory {
    const readonly = readReadonly(options);
    return new SharedMemory(internal, attach(fromId(sharedMemory, id), undefined, readonly));
  }

  /** The identifier, which other processes of this machine can pass to `fromId`. */
  get id(): number {
    return this.#handle.id;
  }

  /** The key, undefined for private memory. */
  get key(): number | undefined {
    return this.#handle.key;
  }

  /** The name by which it was opened or created; undefined if that was a number, or there was none. */
  get name(): string | undefined {
    return this.#handle.givenName;
  }

  /** Whether the call that returned this handle created the segment, which is true in exactly one of all processes. */
  get created(): boolean {
    return this.#handle.created;
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
   * The memory itself. While others write to it, use element access, `Atomics`, `set` and `slice` alone, and
   * decode what `read()` returns.
   *
   * @throws {TypeError} If it is attached for reading only: a write would kill the process.
   * @throws {ReferenceError} If it is detached, or its buffer was transferred.
   */
  get buffer(): ArrayBuffer {
    return this.bytes.buffer;
  }

  /**
   * The memory itself, as bytes. While others write to it, use element access, `Atomics`, `set` and `slice`
   * alone, and decode what `read()` returns.
   *
   * @throws {TypeError} If it is attached for reading only: a write would kill the process.
   * @throws {ReferenceError} If it is detached, or its buffer was transferred.
   */
  get bytes(): Uint8Array<ArrayBuffer> {
    const bytes = this.#live();
    if (!this.readonly) return bytes;
    throw new TypeError(
      `Cannot hand out ${this.#handle.name}, attached for reading only: use read()`,
    );
  }

  /**
   * Copies bytes out of the memory. That is safe while others write, though not atomic. Reading past the end
   * returns what there is.
   *
   * @param offset Where to begin, in bytes, 0 unless given.
   * @param length How many bytes, up to the end unless given.
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
   * @param offset Where to begin, in bytes, 0 unless given.
   * @throws {RangeError} If they do not fit.
   * @throws {TypeError} If it is attached for reading only.
   * @throws {ReferenceError} If it is detached, or its buffer was transferred.
   */
  write(data: string | ArrayBuffer | ArrayBufferView, offset = 0): void {
    const action = `write to ${this.#handle.name}`;
    const bytes = encode(data, action);
    checkInteger(offset, 0, this.size, `${action} at ${offset}`);
    if (bytes.byteLength > this.size - offset) {
      throw new RangeError(
        `Cannot ${action}: ${bytes.byteLength} bytes at ${offset} are more than its ${this.size}`,
      );
    }
    const live = this.#live();
    if (this.readonly) {
      throw new TypeError(`Cannot ${action}: it is attached for reading only`);
    }
    live.set(bytes, offset);
  }

  /**
   * Detaches the memory, now. Does nothing the second time.
   *
   * - **Views:** their length is 0 from then on.
   * - **Calls of the runtime** that still work on the memory, such as `zlib.gzip` or `fs.write`, go on with zeros:
   *   await them first. While such a call keeps the buffer, as some do in Bun, its views keep their length, and
   *   show those zeros.
   * - **Transferred buffers** (`postMessage`, `structuredClone`, `transfer()`) hold such zeros, too.
   * - **On macOS and with huge pages** it throws EBUSY, and leaves the memory attached, if its buffer is kept or
   *   was transferred. In Deno await all calls first there: one that goes on crashes.
   *
   * The zeros stay until this process has detached 16 GiB or 4096 segments more.
   *
   * @throws {IpcError} EBUSY if the memory is in use and the system cannot detach it then.
   */
  detach(): void {
    if (this.#attachment === undefined) return;
    const { memory, address, size } = this.#attachment;
    const result = detach(memory, address, size);
    if (result < 0) {
      const reason = this.attached
        ? "a call that is under way keeps its buffer: await it first"
        : "its buffer was transferred";
      const isInUse = result === -errors.EBUSY;
      const action = `detach ${this.#handle.name}`;
      throw this.#handle.error(-result, "shmdt", action, isInUse ? reason : undefined);
    }
    if (this.readonly) forgotten.unregister(this);
    attached.delete(this.#attachment);
    this.#attachment = this.#bytes = undefined;
  }

  /**
   * Describes the segment.
   *
   * @returns A snapshot that does not change.
   */
  stat(): SharedMemoryInfo {
    return memoryInfo(this.#handle);
  }

  /**
   * Keeps the memory from being swapped out (Linux).
   *
   * @throws {IpcError} EPERM if this process may not lock memory, ENOMEM if not as much (RLIMIT_MEMLOCK),
   * ENOSYS if the system cannot.
   */
  lock(): void {
    lock(this.#handle, abi.constants.SHM_LOCK, "lock");
  }

  /** Allows the memory to be swapped out again (Linux). */
  unlock(): void {
    lock(this.#handle, abi.constants.SHM_UNLOCK, "unlock");
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
   * Removes the segment: it cannot be opened any more. The memory stays usable where it is attached, until it is
   * detached.
   *
   * @throws {IpcError} EPERM if this process is neither owner nor creator nor privileged, EIDRM if it
   * is removed already.
   */
  remove(): void {
    this.#handle.check();
    // Linux removes it again and again while it is attached.
    if (isMarked(this.#handle)) {
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
    throw new ReferenceError(`Cannot use ${this.#handle.name}: ${reason}`);
  }
}

showAs("SharedMemory", SharedMemory.prototype, (memory) => ({
  id: memory.id,
  key: shownKey(memory.key),
  name: memory.name,
  size: memory.size,
  readonly: memory.readonly,
  attached: memory.attached,
}));

function readReadonly(options: SharedMemoryOpenOptions | undefined): boolean {
  checkOptions(options);
  return checkFlag(options?.readonly, "readonly") ?? false;
}

function checkSize(size: number): void {
  checkInteger(size, 1, Number.MAX_SAFE_INTEGER, `make shared memory of ${size} bytes`);
}
