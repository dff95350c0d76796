/**
 * Pipes: {@linkcode pipe}.
 *
 * @module
 */

import { checkFlag, checkOptions } from "../ffi/check.ts";
import * as calls from "../ffi/unix_calls.ts";
import { setNonblocking } from "./end.ts";
import { done } from "./errors.ts";
import { PipeReader } from "./pipe_reader.ts";
import { PipeWriter } from "./pipe_writer.ts";

/** Options of {@linkcode pipe}. */
export interface PipeOptions {
  /**
   * Whether both ends are non-blocking, also for the processes that inherit them: see
   * {@linkcode setNonblocking}. The promises and the `try` forms do not need it.
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

/**
 * Creates a pipe. A child process gets an end only if its `fd` stands in the `stdio` of
 * `node:child_process`, which works in all runtimes. The children of that child inherit it too.
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
 * @param options Whether the ends are non-blocking; they block unless told otherwise.
 * @returns Both ends, to close with `using`.
 * @throws {IpcError} EMFILE if this process has too many open files, ENFILE if the system has.
 * @see https://man7.org/linux/man-pages/man2/pipe.2.html
 */
export function pipe(options?: PipeOptions): Pipe {
  checkOptions(options);
  const nonblocking = checkFlag(options?.nonblocking, "nonblocking");
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
