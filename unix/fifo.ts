/**
 * FIFOs, which are pipes with a name: {@linkcode makeFifo}, {@linkcode openFifo}.
 *
 * @module
 */

import { encode } from "../ffi/bytes.ts";
import { checkMode, checkOptions, checkWord, described } from "../ffi/check.ts";
import { errors } from "../ffi/constants.ts";
import { ipcError } from "../ffi/error.ts";
import { abi } from "../ffi/platforms.ts";
import * as calls from "../ffi/unix_calls.ts";
import { O_RDONLY, O_WRONLY } from "../ffi/unix_calls.ts";
import { timeoutError, type WaitOptions } from "../wait/options.ts";
import { until } from "../wait/timer.ts";
import { done } from "./errors.ts";
import { type Limits, limitsOf } from "./limits.ts";
import { PipeReader } from "./pipe_reader.ts";
import { PipeWriter } from "./pipe_writer.ts";

const { O_NONBLOCK } = abi.flags;

/** Options of {@linkcode makeFifo}. */
export interface MakeFifoOptions {
  /**
   * The permissions, in octal, without the bits of the umask.
   *
   * @default {0o600}
   */
  mode?: number | undefined;
}

/**
 * Creates a FIFO: a pipe with a name in the file system, where unrelated programs meet.
 *
 * @example
 * ```ts
 * // deno run --allow-ffi --allow-read --allow-write main.ts
 * import { makeFifo } from "@sysv/ipc/unix";
 * import { assert } from "@std/assert";
 * import { mkdtempSync, rmSync, statSync } from "node:fs";
 *
 * const folder = mkdtempSync("/tmp/example-");
 * makeFifo(`${folder}/news`);
 * assert(statSync(`${folder}/news`).isFIFO());
 * rmSync(folder, { recursive: true });
 * ```
 *
 * @param path The path.
 * @param options The permissions, 0o600 unless given.
 * @throws {IpcError} EEXIST if the path exists, ENOENT, EACCES.
 * @see https://man7.org/linux/man-pages/man3/mkfifo.3.html
 */
export function makeFifo(path: string, options: MakeFifoOptions = {}): void {
  checkOptions(options);
  const { mode = 0o600 } = options;
  checkMode(mode);
  done(calls.mkfifo(pathBytes(path), mode), "mkfifo", `make a FIFO at "${path}"`);
}

/**
 * Opens a FIFO for reading, without waiting for a writer. Reading waits until a writer has come, and returns
 * null when the last one has gone: see {@linkcode PipeReader}.
 *
 * @param path The path.
 * @param end `"read"` or `"write"`.
 * @throws {IpcError} ENOENT if there is none, EINVAL if it is not a FIFO, EACCES.
 */
export function openFifo(path: string, end: "read"): Promise<PipeReader>;
/**
 * Opens a FIFO for writing, waiting until there is a reader. It looks for one every 16 ms, because no system
 * call waits for that without blocking.
 *
 * @param path The path.
 * @param end `"read"` or `"write"`.
 * @param options The signal and the timeout.
 * @throws {IpcError} ENOENT if there is none, EINVAL if it is not a FIFO, EACCES.
 */
export function openFifo(path: string, end: "write", options?: WaitOptions): Promise<PipeWriter>;
/**
 * Opens a FIFO, for reading or for writing.
 *
 * @example
 * ```ts
 * // deno run --allow-ffi --allow-read --allow-write main.ts
 * import { makeFifo, openFifo } from "@sysv/ipc/unix";
 * import { assertEquals } from "@std/assert";
 * import { mkdtempSync, rmSync } from "node:fs";
 *
 * const folder = mkdtempSync("/tmp/example-");
 * makeFifo(`${folder}/news`);
 * using reader = await openFifo(`${folder}/news`, "read");
 * using writer = await openFifo(`${folder}/news`, "write");
 * await writer.write("hello");
 * assertEquals(new TextDecoder().decode((await reader.read())!), "hello");
 * rmSync(folder, { recursive: true });
 * ```
 *
 * @param path The path.
 * @param end `"read"` or `"write"`.
 * @param options The signal and the timeout, for writing.
 * @returns A promise of the end.
 */
export async function openFifo(
  path: string,
  end: "read" | "write",
  options?: WaitOptions,
): Promise<PipeReader | PipeWriter> {
  const bytes = pathBytes(path);
  const isReader = checkWord(end, ["read", "write"], "the end of a FIFO") === "read";
  const limits = limitsOf(options);
  if (!isReader) return await openToWrite(path, bytes, limits);
  return new PipeReader(fifoOf(calls.open(bytes, O_RDONLY | O_NONBLOCK), path));
}

/** The longest interval between two tries to open a FIFO without a reader, in milliseconds. */
const MAX_INTERVAL = 16;

async function openToWrite(
  path: string,
  bytes: Uint8Array,
  { timeout, deadline, signal }: Limits,
): Promise<PipeWriter> {
  signal?.throwIfAborted();
  for (let interval = 1;; interval = Math.min(2 * interval, MAX_INTERVAL)) {
    const fd = calls.open(bytes, O_WRONLY | O_NONBLOCK);
    if (fd !== -errors.ENXIO) return new PipeWriter(fifoOf(fd, path));
    const now = performance.now();
    if (now >= deadline) throw timeoutError(`open the FIFO "${path}"`, timeout);
    await until(Math.min(now + interval, deadline), signal);
  }
}

/** Returns the descriptor of an opened FIFO, and throws if opening failed or it is something else. */
function fifoOf(fd: number, path: string): number {
  done(fd, "open", `open the FIFO "${path}"`);
  if (calls.mayBePipe(fd)) return fd;
  calls.close(fd);
  throw ipcError("EINVAL", `open "${path}"`, { syscall: "open", reason: "it is not a FIFO" });
}

function pathBytes(path: string): Uint8Array {
  if (typeof path === "string" && path !== "" && !path.includes("\0")) {
    return encode(`${path}\0`, "use the path");
  }
  throw new TypeError(
    `Cannot use ${described(path)} as a path: expected a string without NUL that is not empty`,
  );
}
