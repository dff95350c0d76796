/**
 * Pipes, FIFOs, polling and signals between processes, as promises that do not block the event loop.
 *
 * @example
 * ```ts
 * import { pipe } from "@sysv/ipc/unix";
 * import { assertEquals } from "@std/assert";
 *
 * using ends = pipe();
 * await ends.writer.write("from one to the other");
 * const bytes = await ends.reader.read();
 * assertEquals(new TextDecoder().decode(bytes!), "from one to the other");
 * ```
 *
 * @module
 */

export {
  Epoll,
  type EpollOptions,
  type EpollWaitOptions,
  type EpollWaitSyncOptions,
} from "./epoll.ts";
export { makeFifo, type MakeFifoOptions, openFifo } from "./fifo.ts";
export { type Pipe, pipe, type PipeOptions } from "./pipe.ts";
export { PipeReader } from "./pipe_reader.ts";
export { PipeWriter } from "./pipe_writer.ts";
export { setNonblocking } from "./end.ts";
export {
  poll,
  type PollEvent,
  type PollInterest,
  type PollRequest,
  type PollResult,
  pollSync,
} from "./poll.ts";
export { select, type SelectRequest, type SelectResult, selectSync } from "./select.ts";
export { alarm, kill, type SignalName, signals, SignalWatcher, sigwait } from "./signals.ts";
