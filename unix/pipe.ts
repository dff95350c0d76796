/**
 * Pipes and FIFOs: {@linkcode pipe}, {@linkcode openFifo}.
 *
 * @module
 */

import { encode } from "../ffi/bytes.ts";
import { checkInteger, checkMode, checkWord } from "../ffi/check.ts";
import {
  checkTimeout,
  timeoutError,
  type TimeoutOptions,
  type WaitOptions,
} from "../wait/options.ts";
import { errors } from "../ffi/constants.ts";
import { abi } from "../ffi/platforms.ts";
import { IpcError } from "../ffi/error.ts";
import { resume } from "../wait/interrupt.ts";
import { turn } from "../wait/turn.ts";
import * as calls from "../ffi/unix_calls.ts";
import {
  LARGEST_READ,
  O_ACCMODE,
  O_RDONLY,
  O_RDWR,
  O_WRONLY,
  PIPE_BUF,
} from "../ffi/unix_calls.ts";
import { checkFd, done } from "./errors.ts";
import { isReady, type PollInterest, pollSyncUntil, pollUntil } from "./poll.ts";
import { closing } from "./readiness.ts";

/** Options of {@linkcode pipe}. */
export interface PipeOptions {
  /**
   * Whether both ends are non-blocking, for whoever else gets them too: see
   * {@linkcode setNonblocking}. The promises and the `try` forms need it not.
   *
   * @default {false}
   */
  nonblocking?: boolean | undefined;
}

/** Both ends of a pipe. Disposing closes them. */
export interface Pipe extends Disposable {
  /** The end to read from. */
  readonly reader: PipeReader;
  /** The end to write to. */
  readonly writer: PipeWriter;
}

const { O_NONBLOCK } = abi.flags;

/** Reads the flags of an open file. */
function flagsOf(fd: number): number {
  checkFd(fd);
  return done(calls.getFlags(fd), "fcntl", `use descriptor ${fd}`);
}

/**
 * Makes an open file non-blocking, or blocking again: reading what is not there, or writing what has
 * no room, then gives EAGAIN instead of waiting. It holds for all processes that share the file, and
 * any of them can change it: `spawn` of `node:child_process` makes blocking what it hands to a child, in
 * both runtimes and for this process too. Set it in the child, or after `spawn`.
 *
 * @param fd The file descriptor.
 * @param on Whether it shall be non-blocking.
 * @throws {IpcError} EBADF if it is not open.
 * @see https://man7.org/linux/man-pages/man2/fcntl.2.html
 */
export function setNonblocking(fd: number, on: boolean): void {
  checkFlag(on);
  const flags = flagsOf(fd);
  const wanted = on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
  done(calls.setFlags(fd, wanted), "fcntl", `set the flags of descriptor ${fd}`);
}

function checkFlag(on: boolean): void {
  if (typeof on === "boolean") return;
  throw new TypeError(`Cannot set non-blocking to ${on}: expected true or false`);
}

/** Makes a call again as long as nothing but the runtime's own signals ends it. */
function restart(call: () => number): number {
  const result = call();
  return result === -errors.EINTR ? resume(call) : result;
}

/** What both ends of a pipe have in common: a descriptor, open until it is closed. */
class End {
  readonly #closing = new AbortController();
  readonly #fd: number;
  closed = false;

  constructor(fd: number, access: number) {
    const has = flagsOf(fd) & O_ACCMODE;
    if (has !== access && has !== O_RDWR) done(-errors.EBADF, "fcntl", `use descriptor ${fd}`);
    this.#fd = fd;
  }

  get fd(): number {
    if (!this.closed) return this.#fd;
    throw new ReferenceError(`Cannot use descriptor ${this.#fd} as this end is closed`);
  }

  /** Waits until the descriptor is ready, or closed, and tells whether it was in time. */
  async ready(interest: PollInterest, deadline: number, signal?: AbortSignal): Promise<boolean> {
    const closing = this.#closing.signal;
    const ends = signal === undefined ? closing : AbortSignal.any([signal, closing]);
    return await pollUntil([{ fd: this.fd, events: interest }], deadline, ends) !== undefined;
  }

  /** Waits until the descriptor is ready, blocking the thread, and tells whether it was in time. */
  readySync(interest: PollInterest, deadline: number): boolean {
    return pollSyncUntil([{ fd: this.fd, events: interest }], deadline) !== undefined;
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    const reason = new ReferenceError(`Cannot use descriptor ${this.#fd} as this end is closed`);
    this.#closing.abort(reason);
    closing(this.#fd);
    // Linux closes it even if a signal comes.
    const result = calls.close(this.#fd);
    if (result !== -errors.EINTR) done(result, "close", `close descriptor ${this.#fd}`);
  }
}

/**
 * The end of a pipe to read from.
 *
 * - **End of file:** once all writers are closed and all is read, `read` gives null. So it does for a
 *   FIFO, at once and every time, until the next writer comes: close it and open it anew, or have a
 *   writer of one's own open, so that there is no end.
 * - **Waiting:** does not block the event loop, and takes nothing before there is something.
 * - **Death:** what a writer has written before it died is there to read; then comes the end of file.
 */
export class PipeReader implements Disposable {
  readonly #end: End;
  #readable: ReadableStream<Uint8Array<ArrayBuffer>> | undefined;

  /**
   * Takes over a file descriptor, which nobody else may close from then on: closing this closes it.
   * Children inherit it as they did before.
   *
   * @throws {IpcError} EBADF if it is not open for reading.
   */
  constructor(fd: number) {
    this.#end = new End(fd, O_RDONLY);
  }

  /** The file descriptor. */
  get fd(): number {
    return this.#end.fd;
  }

  /** Whether it is closed. */
  get closed(): boolean {
    return this.#end.closed;
  }

  /**
   * Reads what is there, waiting until there is something.
   *
   * @param max The most bytes.
   * @param options The signal and the timeout.
   * @returns A promise of the bytes, or of null at the end of file. It rejects with the reason of the
   * signal, with a DOMException "TimeoutError" if the time is up, with a ReferenceError if it is
   * closed: nothing is read then.
   */
  async read(max = 65536, options?: WaitOptions): Promise<Uint8Array<ArrayBuffer> | null> {
    const timeout = checkTimeout(options?.timeout);
    options?.signal?.throwIfAborted();
    const deadline = performance.now() + timeout;
    for (;;) {
      const bytes = this.tryRead(max);
      if (bytes !== undefined) {
        await turn();
        return bytes;
      }
      const inTime = await this.#end.ready("readable", deadline, options?.signal);
      if (!inTime) throw timeoutError("read from a pipe", timeout);
    }
  }

  /**
   * Reads what is there, if there is something.
   *
   * @param max The most bytes.
   * @returns The bytes; null at the end of file; undefined if there is nothing yet.
   * @throws {IpcError} EBADF if the descriptor is not open for reading.
   */
  tryRead(max = 65536): Uint8Array<ArrayBuffer> | null | undefined {
    checkMax(max);
    // Asked even if it is non-blocking, as reading a FIFO to which no writer has come yet looks like its end.
    return isReady(this.fd, "readable") ? this.#read(max) : undefined;
  }

  /**
   * Reads what is there, blocking the thread until there is something.
   *
   * @param max The most bytes.
   * @param options The timeout.
   * @returns The bytes, or null at the end of file.
   * @throws {DOMException} "TimeoutError" if the time is up.
   * @throws {IpcError} EINTR if the program, or its runtime, handled a signal, EBADF.
   */
  readSync(max = 65536, options?: TimeoutOptions): Uint8Array<ArrayBuffer> | null {
    checkMax(max);
    const timeout = checkTimeout(options?.timeout);
    const deadline = performance.now() + timeout;
    for (;;) {
      const inTime = this.#end.readySync("readable", deadline);
      if (!inTime) throw timeoutError("read from a pipe", timeout);
      const bytes = this.#read(max);
      if (bytes !== undefined) return bytes;
    }
  }

  /**
   * What is read, as a stream, the same at every use: it ends at the end of file. Nothing is read
   * before somebody asks. This end is closed when the stream has ended or failed, or is cancelled.
   */
  get readable(): ReadableStream<Uint8Array<ArrayBuffer>> {
    return this.#readable ??= new ReadableStream({
      pull: async (controller) => {
        let bytes: Uint8Array<ArrayBuffer> | null = null;
        try {
          bytes = await this.read();
        } finally {
          if (bytes === null) this.close();
        }
        if (bytes === null) controller.close();
        else controller.enqueue(bytes);
      },
      cancel: () => this.close(),
    }, { highWaterMark: 0 });
  }

  /** Closes this end: who writes gets EPIPE from then on. Does nothing the second time. */
  close(): void {
    this.#end.close();
  }

  /** Closes this end, so that `using` does. */
  [Symbol.dispose](): void {
    this.close();
  }

  #read(max: number): Uint8Array<ArrayBuffer> | null | undefined {
    const { fd } = this;
    const buffer = new Uint8Array(new ArrayBuffer(max));
    let result = calls.readNow(fd, buffer);
    // Where that cannot be asked for, what is ready is read: only another reader could be faster.
    if (result === -errors.EOPNOTSUPP) result = restart(() => calls.read(fd, buffer, max));
    if (result === -errors.EAGAIN) return undefined;
    const length = done(result, "read", `read from descriptor ${fd}`);
    if (length === 0) return null;
    return length === max ? buffer : buffer.slice(0, length);
  }
}

/**
 * The end of a pipe to write to.
 *
 * - **Closed readers:** writing gives the error EPIPE; the signal SIGPIPE, which would end the
 *   program, is ignored by both runtimes.
 * - **Waiting:** does not block the event loop.
 * - **Atomic:** up to 4,096 bytes are never mixed with what others write.
 */
export class PipeWriter implements Disposable {
  readonly #end: End;
  #writable: WritableStream<string | BufferSource> | undefined;

  /**
   * Takes over a file descriptor, which nobody else may close from then on: closing this closes it.
   * Children inherit it as they did before.
   *
   * @throws {IpcError} EBADF if it is not open for writing.
   */
  constructor(fd: number) {
    this.#end = new End(fd, O_WRONLY);
  }

  /** The file descriptor. */
  get fd(): number {
    return this.#end.fd;
  }

  /** Whether it is closed. */
  get closed(): boolean {
    return this.#end.closed;
  }

  /**
   * Writes all of it, waiting while the pipe is full.
   *
   * @param data Text, written as UTF-8, or bytes: they are written as they are at the call, even if
   * they are changed while it waits.
   * @param options The signal and the timeout.
   * @returns A promise of the number of bytes written: all, or fewer if the wait was ended after some.
   * If none was written it rejects: with the reason of the signal, with a DOMException "TimeoutError"
   * if the time is up, with a ReferenceError if it is closed. And with IpcError EPIPE if all readers
   * are closed, even after some: who reads them is unknown.
   */
  async write(data: string | BufferSource, options?: WaitOptions): Promise<number> {
    let bytes = encode(data, "write to a pipe");
    const timeout = checkTimeout(options?.timeout);
    options?.signal?.throwIfAborted();
    const deadline = performance.now() + timeout;
    let written = 0;
    for (let first = true;; first = false) {
      written += this.#tryWrite(bytes.subarray(written)) ?? 0;
      if (written === bytes.byteLength) {
        await turn();
        return written;
      }
      // While it waits, its owner may overwrite, shorten or transfer it.
      if (first && typeof data !== "string") bytes = new Uint8Array(bytes);
      try {
        const inTime = await this.#end.ready("writable", deadline, options?.signal);
        if (!inTime) throw timeoutError("write to a pipe", timeout);
      } catch (error) {
        if (written > 0) return written;
        throw error;
      }
    }
  }

  /**
   * Writes as much as there is room for.
   *
   * @param data Text, written as UTF-8, or bytes.
   * @returns The number of bytes written, or undefined if there is no room.
   * @throws {IpcError} EPIPE if all readers are closed, EBADF if the descriptor is not open for writing.
   */
  tryWrite(data: string | BufferSource): number | undefined {
    return this.#tryWrite(encode(data, "write to a pipe"));
  }

  /**
   * Writes all of it, blocking the thread while the pipe is full.
   *
   * @param data Text, written as UTF-8, or bytes.
   * @param options The timeout.
   * @returns The number of bytes written: all, or fewer if the time was up, or a signal handled, after
   * some.
   * @throws {DOMException} "TimeoutError" if the time is up before any was written.
   * @throws {IpcError} EPIPE if all readers are closed, even after some; EINTR if the program, or its
   * runtime, handled a signal before any was written; EBADF.
   */
  writeSync(data: string | BufferSource, options?: TimeoutOptions): number {
    const bytes = encode(data, "write to a pipe");
    const timeout = checkTimeout(options?.timeout);
    const deadline = performance.now() + timeout;
    let written = 0;
    for (;;) {
      written += this.#tryWrite(bytes.subarray(written)) ?? 0;
      if (written === bytes.byteLength) return written;
      try {
        const inTime = this.#end.readySync("writable", deadline);
        if (!inTime) throw timeoutError("write to a pipe", timeout);
      } catch (error) {
        if (written > 0) return written;
        throw error;
      }
    }
  }

  /**
   * A stream of what to write, the same at every use. While the pipe is full, writers wait. This end is
   * closed when the stream is closed or aborted, or has failed.
   */
  get writable(): WritableStream<string | BufferSource> {
    return this.#writable ??= new WritableStream({
      write: async (chunk, { signal }) => {
        try {
          const bytes = encode(chunk, "write to a pipe") as Uint8Array<ArrayBuffer>;
          const { byteLength } = bytes;
          const written = await this.write(bytes, { signal });
          if (written === byteLength) return;
          throw new Error(`Cannot write all of ${byteLength} bytes to the pipe: ${written} were`);
        } catch (error) {
          this.close();
          throw error;
        }
      },
      close: () => this.close(),
      abort: () => this.close(),
    });
  }

  /** Closes this end: once all writers are closed, readers find the end of file. Does nothing the second time. */
  close(): void {
    this.#end.close();
  }

  /** Closes this end, so that `using` does. */
  [Symbol.dispose](): void {
    this.close();
  }

  #tryWrite(bytes: Uint8Array): number | undefined {
    const { fd } = this;
    if (bytes.byteLength === 0) return 0;
    let result = calls.writeNow(fd, bytes);
    if (result === -errors.EOPNOTSUPP) result = this.#write(fd, bytes);
    if (result === -errors.EAGAIN) return undefined;
    return done(result, "write", `write to descriptor ${fd}`);
  }

  /** Writes where one cannot ask not to wait: as much as a pipe that is ready has room for. */
  #write(fd: number, bytes: Uint8Array): number {
    const nonblocking = (flagsOf(fd) & O_NONBLOCK) !== 0;
    if (!nonblocking && !isReady(fd, "writable")) return -errors.EAGAIN;
    const chunk = nonblocking ? bytes : bytes.subarray(0, PIPE_BUF);
    return restart(() => calls.write(fd, chunk, chunk.byteLength));
  }
}

/**
 * Makes a pipe. Neither end goes to a child process unless it is handed over: by its `fd` in the
 * `stdio` of `node:child_process`, which works in both runtimes. From there it goes on to the
 * children of that child, as do its standard input and output.
 *
 * @example
 * ```ts
 * import { pipe } from "@sysv/ipc/unix";
 * import { assertEquals } from "@std/assert";
 *
 * using ends = pipe();
 * await ends.writer.write("hello");
 * ends.writer.close();
 * assertEquals(await ends.reader.read(), new TextEncoder().encode("hello"));
 * assertEquals(await ends.reader.read(), null);
 * ```
 *
 * @param options Whether it is non-blocking.
 * @returns Both ends, to close with `using`.
 * @throws {IpcError} EMFILE if this process has too many open files, ENFILE if the system has.
 * @see https://man7.org/linux/man-pages/man2/pipe.2.html
 */
export function pipe({ nonblocking = false }: PipeOptions = {}): Pipe {
  checkFlag(nonblocking);
  const fds = new Int32Array(new ArrayBuffer(8));
  done(calls.pipe(fds), "pipe", "make a pipe");
  const reader = new PipeReader(fds[0]!);
  const writer = new PipeWriter(fds[1]!);
  if (nonblocking) { for (const fd of fds) setNonblocking(fd, true); }
  return {
    reader,
    writer,
    [Symbol.dispose]() {
      reader.close();
      writer.close();
    },
  };
}

/** Options of {@linkcode makeFifo}. */
export interface MakeFifoOptions {
  /**
   * The permissions, in octal, less what the umask of the process takes away.
   *
   * @default {0o600}
   */
  mode?: number | undefined;
}

/**
 * Makes a FIFO: a pipe with a name in the file system, where unrelated programs meet.
 *
 * @param path The path.
 * @param options The permissions.
 * @throws {IpcError} EEXIST if there is something, ENOENT, EACCES.
 * @see https://man7.org/linux/man-pages/man3/mkfifo.3.html
 */
export function makeFifo(path: string, { mode = 0o600 }: MakeFifoOptions = {}): void {
  checkMode(mode);
  done(calls.mkfifo(pathBytes(path), mode), "mkfifo", `make a FIFO at "${path}"`);
}

/**
 * Opens a FIFO for reading; does not wait for a writer. Until one has come, reading waits; when the
 * last has left, reading gives null: see {@linkcode PipeReader}.
 *
 * @param path The path.
 * @param end Which end.
 * @throws {IpcError} ENOENT if there is none, EINVAL if it is not a FIFO, EACCES.
 */
export function openFifo(path: string, end: "read"): Promise<PipeReader>;
/**
 * Opens a FIFO for writing, waiting until there is a reader. It looks for one every 16 ms, as no call
 * waits for that without blocking.
 *
 * @param path The path.
 * @param end Which end.
 * @param options The signal and the timeout.
 * @throws {IpcError} ENOENT if there is none, EINVAL if it is not a FIFO, EACCES.
 */
export function openFifo(path: string, end: "write", options?: WaitOptions): Promise<PipeWriter>;
/** Opens a FIFO: see above. */
export async function openFifo(
  path: string,
  end: "read" | "write",
  options?: WaitOptions,
): Promise<PipeReader | PipeWriter> {
  const bytes = pathBytes(path);
  if (checkWord(end, ["read", "write"], "the end of a FIFO") === "read") {
    return new PipeReader(fifoOf(calls.open(bytes, O_RDONLY | O_NONBLOCK), path));
  }
  const timeout = checkTimeout(options?.timeout);
  options?.signal?.throwIfAborted();
  const deadline = performance.now() + timeout;
  for (let interval = 1;; interval = Math.min(2 * interval, LONGEST_INTERVAL)) {
    const fd = calls.open(bytes, O_WRONLY | O_NONBLOCK);
    if (fd !== -errors.ENXIO) return new PipeWriter(fifoOf(fd, path));
    if (performance.now() >= deadline) throw timeoutError(`open the FIFO "${path}"`, timeout);
    await delay(Math.min(interval, deadline - performance.now()), options?.signal);
  }
}

/** Gives back what opening a FIFO gave, and throws if it is an error, or the descriptor of something else. */
function fifoOf(fd: number, path: string): number {
  done(fd, "open", `open the FIFO "${path}"`);
  if (calls.mayBePipe(fd)) return fd;
  calls.close(fd);
  throw new IpcError(`Cannot open "${path}" as it is not a FIFO`, errors.EINVAL, {
    syscall: "open",
  });
}

/** The longest interval between two tries to open a FIFO without a reader, in milliseconds. */
const LONGEST_INTERVAL = 16;

/** Waits for some milliseconds, or until the signal is aborted. */
function delay(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = () => {
      clearTimeout(timer);
      reject(signal!.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", abort);
      resolve();
    }, Math.max(milliseconds, 1));
    signal?.addEventListener("abort", abort, { once: true });
  });
}

function pathBytes(path: string): Uint8Array {
  if (typeof path === "string" && path !== "" && !path.includes("\0")) {
    return encode(`${path}\0`, "use the path");
  }
  throw new TypeError(
    "Cannot use the path: expected a string of at least one character, without NUL",
  );
}

function checkMax(max: number): void {
  checkInteger(max, 1, LARGEST_READ, `read ${max} bytes`);
}
