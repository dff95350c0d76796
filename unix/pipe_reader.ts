/**
 * The end of a pipe to read from: {@linkcode PipeReader}.
 *
 * @module
 */

import { checkInteger } from "../ffi/check.ts";
import { errors } from "../ffi/constants.ts";
import * as calls from "../ffi/unix_calls.ts";
import { LARGEST_READ, O_RDONLY } from "../ffi/unix_calls.ts";
import { timeoutError, type TimeoutOptions, type WaitOptions } from "../wait/options.ts";
import { turn } from "../wait/turn.ts";
import { End, restart } from "./end.ts";
import { done } from "./errors.ts";
import { limitsOf } from "./limits.ts";
import { isReady } from "./poll.ts";

/**
 * The end of a pipe to read from.
 *
 * - **End of file:** once all writers are closed and everything is read, `read` resolves with null. For a
 *   FIFO it does so every time until the next writer opens it: close it and open it again, or keep a
 *   writer of your own open, so that there is no end.
 * - **Waiting:** does not block the event loop.
 * - **Death:** what a writer wrote before it died can still be read; then comes the end of file.
 *
 * @example
 * ```ts
 * import { pipe } from "@sysv/ipc/unix";
 * import { assertEquals } from "@std/assert";
 *
 * const { reader, writer } = pipe();
 * writer.writeSync("the last words");
 * writer.close();
 * assertEquals(new TextDecoder().decode((await reader.read())!), "the last words");
 * assertEquals(await reader.read(), null); // the end of the file
 * reader.close();
 * ```
 */
export class PipeReader implements Disposable {
  readonly #end: End;
  #readable: ReadableStream<Uint8Array<ArrayBuffer>> | undefined;

  /**
   * Takes over a file descriptor: closing this end closes it, so nothing else may. Whether children
   * inherit it does not change.
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
   * @param max The maximum number of bytes, 65536 unless given.
   * @param options The signal and the timeout.
   * @returns A promise of the bytes, or of null at the end of file. It rejects with the reason of the
   * signal, with a DOMException "TimeoutError" if the timeout expires, with a ReferenceError if it is
   * closed: nothing is read then.
   */
  async read(max = 65536, options?: WaitOptions): Promise<Uint8Array<ArrayBuffer> | null> {
    checkMax(max);
    const { timeout, deadline, signal } = limitsOf(options);
    signal?.throwIfAborted();
    for (;;) {
      const bytes = this.tryRead(max);
      if (bytes !== undefined) {
        await turn();
        return bytes;
      }
      const inTime = await this.#end.ready("readable", deadline, signal);
      if (!inTime) throw timeoutError("read from a pipe", timeout);
    }
  }

  /**
   * Reads what is there, without waiting.
   *
   * @param max The maximum number of bytes, 65536 unless given.
   * @returns The bytes; null at the end of file; undefined if there is nothing yet.
   * @throws {IpcError} EBADF if the descriptor is not open for reading.
   */
  tryRead(max = 65536): Uint8Array<ArrayBuffer> | null | undefined {
    checkMax(max);
    // Asked even if it is non-blocking: reading a FIFO that had no writer yet looks like its end.
    return isReady(this.fd, "readable") ? this.#read(max) : undefined;
  }

  /**
   * Reads what is there, blocking the thread until there is something.
   *
   * @param max The maximum number of bytes, 65536 unless given.
   * @param options The timeout.
   * @returns The bytes, or null at the end of file.
   * @throws {DOMException} "TimeoutError" if the timeout expires.
   * @throws {IpcError} EINTR if the program, or its runtime, handled a signal, EBADF.
   */
  readSync(max = 65536, options?: TimeoutOptions): Uint8Array<ArrayBuffer> | null {
    checkMax(max);
    const { timeout, deadline } = limitsOf(options);
    for (;;) {
      const inTime = this.#end.readySync("readable", deadline);
      if (!inTime) throw timeoutError("read from a pipe", timeout);
      const bytes = this.#read(max);
      if (bytes !== undefined) return bytes;
    }
  }

  /**
   * A stream of the bytes, the same at every use, which ends at the end of the file. It reads only when it
   * is asked to. This end is closed when the stream ends, fails or is cancelled.
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

  /** Closes this end: writers get EPIPE from then on. Does nothing the second time. */
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
    // Where the kernel has no such flag, read what is ready: only another reader could be faster.
    if (result === -errors.EOPNOTSUPP) result = restart(() => calls.read(fd, buffer, max));
    if (result === -errors.EAGAIN) return undefined;
    const length = done(result, "read", `read from descriptor ${fd}`);
    if (length === 0) return null;
    return length === max ? buffer : buffer.slice(0, length);
  }
}

function checkMax(max: number): void {
  checkInteger(max, 1, LARGEST_READ, `read ${String(max)} bytes`);
}
