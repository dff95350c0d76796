/**
 * Pipes and FIFOs: {@linkcode pipe}, {@linkcode openFifo}.
 *
 * @module
 */

import { encode } from "../bytes.ts";
import {
  checkInteger,
  checkMode,
  checkTimeout,
  timeoutError,
  type TimeoutOptions,
  type WaitOptions,
} from "../check.ts";
import { abi, errors } from "../ffi/abi.ts";
import { resume } from "../ffi/interrupt.ts";
import * as calls from "../ffi/unix_calls.ts";
import { checkFd, done } from "./errors.ts";
import { isReady, type PollInterest, pollSyncUntil, pollUntil } from "./poll.ts";

/** Options of {@linkcode pipe}. */
export interface PipeOptions {
  /**
   * Whether both ends are non-blocking, for whoever else gets them too. The promises and the `try`
   * forms need it not.
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

const O_RDONLY = 0;
const O_WRONLY = 1;
const O_RDWR = 2;
/** The most bytes that go into a pipe at once and unmixed with others' (POSIX: at least 512). */
const PIPE_BUF = 4096;
const LARGEST_READ = 0x7ffff000;

const { O_NONBLOCK } = abi.flags;

/** Reads the flags of an open file. */
function flagsOf(fd: number): number {
  checkFd(fd);
  return done(calls.getFlags(fd), "fcntl", `use descriptor ${fd}`);
}

/**
 * Makes an open file non-blocking, or blocking again: reading what is not there, or writing what has
 * no room, then gives EAGAIN instead of waiting. It holds for all processes that share the file.
 *
 * @param fd The file descriptor.
 * @param on Whether it shall be non-blocking.
 * @throws {IpcError} EBADF if it is not open.
 * @see https://man7.org/linux/man-pages/man2/fcntl.2.html
 */
export function setNonblocking(fd: number, on: boolean): void {
  const flags = flagsOf(fd);
  const wanted = on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
  done(calls.setFlags(fd, wanted), "fcntl", `set the flags of descriptor ${fd}`);
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
    const O_ACCMODE = 3;
    const has = flagsOf(fd) & O_ACCMODE;
    if (has !== access && has !== O_RDWR) done(-errors.EBADF, "fcntl", `use descriptor ${fd}`);
    done(calls.closeOnExec(fd), "fcntl", `use descriptor ${fd}`);
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
    // Linux closes it even if a signal comes.
    const result = calls.close(this.#fd);
    if (result !== -errors.EINTR) done(result, "close", `close descriptor ${this.#fd}`);
  }
}

/**
 * The end of a pipe to read from.
 *
 * - **End of file:** once all writers are closed and all is read, `read` gives null.
 * - **Waiting:** does not block the event loop, and takes nothing before there is something.
 * - **Death:** what a writer has written before it died is there to read; then comes the end of file.
 */
export class PipeReader implements Disposable {
  readonly #end: End;
  #readable: ReadableStream<Uint8Array<ArrayBuffer>> | undefined;

  /**
   * Takes over a file descriptor, which nobody else may close from then on: closing this closes it.
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
      if (bytes !== undefined) return bytes;
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
   * @throws {IpcError} EINTR if the program handled a signal, EBADF.
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
   * before somebody asks. Cancelling it closes this end.
   */
  get readable(): ReadableStream<Uint8Array<ArrayBuffer>> {
    return this.#readable ??= new ReadableStream({
      pull: async (controller) => {
        const bytes = await this.read();
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
   * @param data Text, written as UTF-8, or bytes.
   * @param options The signal and the timeout.
   * @returns A promise of the number of bytes written: all, or fewer if the wait was ended after some.
   * If none was written it rejects: with the reason of the signal, with a DOMException "TimeoutError"
   * if the time is up, with a ReferenceError if it is closed. And with IpcError EPIPE if all readers
   * are closed.
   */
  async write(data: string | BufferSource, options?: WaitOptions): Promise<number> {
    const bytes = encode(data, "write to a pipe");
    const timeout = checkTimeout(options?.timeout);
    options?.signal?.throwIfAborted();
    const deadline = performance.now() + timeout;
    let written = 0;
    for (;;) {
      written += this.#tryWrite(bytes.subarray(written)) ?? 0;
      if (written === bytes.byteLength) return written;
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
   * @returns The number of bytes written: all, or fewer if the time was up after some.
   * @throws {DOMException} "TimeoutError" if the time is up before any was written.
   * @throws {IpcError} EPIPE if all readers are closed, EINTR if the program handled a signal, EBADF.
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
   * A stream of what to write, the same at every use. While the pipe is full, writers wait. Closing or
   * aborting it closes this end.
   */
  get writable(): WritableStream<string | BufferSource> {
    return this.#writable ??= new WritableStream({
      write: async (chunk, { signal }) => {
        const bytes = encode(chunk, "write to a pipe") as Uint8Array<ArrayBuffer>;
        const written = await this.write(bytes, { signal });
        if (written === bytes.byteLength) return;
        throw new Error(
          `Cannot write all of ${bytes.byteLength} bytes to the pipe: ${written} were`,
        );
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
 * `stdio` of `node:child_process`, which works in both runtimes.
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
 * Opens a FIFO for reading; does not wait for a writer. Until one has come, reading waits.
 *
 * @param path The path.
 * @param end Which end.
 * @throws {IpcError} ENOENT if there is none, EACCES.
 */
export function openFifo(path: string, end: "read"): Promise<PipeReader>;
/**
 * Opens a FIFO for writing, waiting until there is a reader.
 *
 * @param path The path.
 * @param end Which end.
 * @param options The signal and the timeout.
 */
export function openFifo(path: string, end: "write", options?: WaitOptions): Promise<PipeWriter>;
/** Opens a FIFO: see above. */
export async function openFifo(
  path: string,
  end: "read" | "write",
  options?: WaitOptions,
): Promise<PipeReader | PipeWriter> {
  const doing = `open the FIFO "${path}"`;
  const bytes = pathBytes(path);
  if (end === "read") {
    const fd = done(calls.open(bytes, O_RDONLY | O_NONBLOCK), "open", doing);
    return new PipeReader(fd);
  }
  const timeout = checkTimeout(options?.timeout);
  options?.signal?.throwIfAborted();
  const deadline = performance.now() + timeout;
  for (let interval = 1;; interval = Math.min(2 * interval, LONGEST_INTERVAL)) {
    const fd = calls.open(bytes, O_WRONLY | O_NONBLOCK);
    if (fd !== -errors.ENXIO) return new PipeWriter(done(fd, "open", doing));
    if (performance.now() >= deadline) throw timeoutError(doing, timeout);
    await delay(Math.min(interval, deadline - performance.now()), options?.signal);
  }
}

/** The longest interval between two tries to open a FIFO without a reader, in milliseconds: no call waits for one. */
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
