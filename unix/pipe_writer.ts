/**
 * The end of a pipe to write to: {@linkcode PipeWriter}.
 *
 * @module
 */

import { encode } from "../ffi/bytes.ts";
import { errors } from "../ffi/constants.ts";
import { abi } from "../ffi/platforms.ts";
import * as calls from "../ffi/unix_calls.ts";
import { O_WRONLY, PIPE_BUF } from "../ffi/unix_calls.ts";
import { timeoutError, type TimeoutOptions, type WaitOptions } from "../wait/options.ts";
import { turn } from "../wait/turn.ts";
import { End, flagsOf, restart } from "./end.ts";
import { done } from "./errors.ts";
import { limitsOf } from "./limits.ts";
import { isReady } from "./poll.ts";

const { O_NONBLOCK } = abi.flags;

/**
 * The end of a pipe to write to.
 *
 * - **Closed readers:** writing throws EPIPE. The runtimes ignore the signal SIGPIPE, which would end
 *   the program.
 * - **Waiting:** does not block the event loop.
 * - **Atomic:** up to 4096 bytes are never mixed with what other processes write.
 *
 * @example
 * ```ts
 * import { IpcError } from "@sysv/ipc";
 * import { pipe } from "@sysv/ipc/unix";
 * import { assertEquals, assertRejects } from "@std/assert";
 *
 * const { reader, writer } = pipe();
 * await writer.write("hello");
 * assertEquals((await reader.read())!.length, 5);
 * reader.close();
 * const error = await assertRejects(() => writer.write("nobody reads"), IpcError);
 * assertEquals(error.code, "EPIPE");
 * writer.close();
 * ```
 */
export class PipeWriter implements Disposable {
  readonly #end: End;
  #writable: WritableStream<string | ArrayBuffer | ArrayBufferView> | undefined;

  /**
   * Takes over a file descriptor: closing this end closes it, so nothing else may. Whether children
   * inherit it does not change.
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
   * Writes all of the data, waiting while the pipe is full.
   *
   * @param data Text, written as UTF-8, or bytes, which are copied at the call.
   * @param options The signal and the timeout.
   * @returns A promise of the number of bytes written: all, or fewer if the wait ended after some.
   * If none was written, it rejects: with the reason of the signal, with a DOMException "TimeoutError"
   * if the timeout expires, with a ReferenceError if this end is closed. It rejects with IpcError EPIPE if
   * all readers are closed, even after some bytes: whether those were read is unknown.
   */
  async write(
    data: string | ArrayBuffer | ArrayBufferView,
    options?: WaitOptions,
  ): Promise<number> {
    let bytes = encode(data, "write to a pipe");
    const { timeout, deadline, signal } = limitsOf(options);
    signal?.throwIfAborted();
    let written = 0;
    for (let first = true;; first = false) {
      written += this.#tryWrite(bytes.subarray(written)) ?? 0;
      if (written === bytes.byteLength) {
        await turn();
        return written;
      }
      // Copied, because its owner may overwrite, shorten or transfer it meanwhile.
      if (first && typeof data !== "string") bytes = new Uint8Array(bytes);
      try {
        const inTime = await this.#end.ready("writable", deadline, signal);
        if (!inTime) throw timeoutError("write to a pipe", timeout);
      } catch (error) {
        if (written > 0) return written;
        throw error;
      }
    }
  }

  /**
   * Writes as much as there is room for, without waiting.
   *
   * @param data Text, written as UTF-8, or bytes.
   * @returns The number of bytes written, or undefined if there is no room.
   * @throws {IpcError} EPIPE if all readers are closed, EBADF if the descriptor is not open for writing.
   */
  tryWrite(data: string | ArrayBuffer | ArrayBufferView): number | undefined {
    return this.#tryWrite(encode(data, "write to a pipe"));
  }

  /**
   * Writes all of the data, blocking the thread while the pipe is full.
   *
   * @param data Text, written as UTF-8, or bytes.
   * @param options The timeout.
   * @returns The number of bytes written: all, or fewer if the timeout expired or a signal was handled
   * after some.
   * @throws {DOMException} "TimeoutError" if the timeout expires before any was written.
   * @throws {IpcError} EPIPE if all readers are closed, even after some; EINTR if the program, or its
   * runtime, handled a signal before any was written; EBADF.
   */
  writeSync(data: string | ArrayBuffer | ArrayBufferView, options?: TimeoutOptions): number {
    const bytes = encode(data, "write to a pipe");
    const { timeout, deadline } = limitsOf(options);
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
   * A stream to write to, the same at every use. Its writers wait while the pipe is full. This end is closed
   * when the stream is closed or aborted, or fails: `pipeTo()` closes it, unless told `preventClose`.
   */
  get writable(): WritableStream<string | ArrayBuffer | ArrayBufferView> {
    return this.#writable ??= new WritableStream({
      write: async (chunk, controller) => {
        // Not all types of Bun know it.
        const { signal } = controller as object as { readonly signal: AbortSignal };
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

  /** Writes where the kernel has no flag against waiting: as much as a ready pipe has room for. */
  #write(fd: number, bytes: Uint8Array): number {
    const nonblocking = (flagsOf(fd) & O_NONBLOCK) !== 0;
    if (!nonblocking && !isReady(fd, "writable")) return -errors.EAGAIN;
    const chunk = nonblocking ? bytes : bytes.subarray(0, PIPE_BUF);
    return restart(() => calls.write(fd, chunk, chunk.byteLength));
  }
}
