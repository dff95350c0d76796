/**
 * Which descriptors are ready, by lists: {@linkcode select}.
 *
 * @module
 */

import { checkArray, checkObject } from "../ffi/check.ts";
import type { TimeoutOptions, WaitOptions } from "../wait/options.ts";
import { checkFd } from "./errors.ts";
import { limitsOf } from "./limits.ts";
import {
  type PollEvent,
  type PollInterest,
  type PollRequest,
  type PollResult,
  pollSyncUntil,
  pollUntil,
  timeIsUp,
} from "./poll.ts";

/** The descriptors of {@linkcode select}, by event. */
export interface SelectRequest {
  /** Descriptors to read from. */
  read?: readonly number[] | undefined;
  /** Descriptors to write to. */
  write?: readonly number[] | undefined;
  /** Descriptors on which something exceptional can arrive, such as urgent data of a socket. */
  error?: readonly number[] | undefined;
}

/** The descriptors that are ready. */
export interface SelectResult {
  /** Descriptors that can be read without blocking, if only to find the end of the file. */
  readonly read: readonly number[];
  /** Descriptors to write to. */
  readonly write: readonly number[];
  /** Descriptors on which something exceptional arrived. */
  readonly error: readonly number[];
}

/**
 * Waits until one of several descriptors is ready. It is made of {@linkcode poll}, so it has no limit of
 * 1024 as `select` of C has.
 *
 * @example
 * ```ts
 * import { pipe, select } from "@sysv/ipc/unix";
 * import { assertEquals } from "@std/assert";
 *
 * using ends = pipe();
 * ends.writer.writeSync("now");
 * const { read } = await select({ read: [ends.reader.fd] }, { timeout: 1000 });
 * assertEquals(read, [ends.reader.fd]);
 * ```
 *
 * @param request The descriptors, by event.
 * @param options The signal and the timeout.
 * @returns A promise of the ready descriptors; it rejects as {@linkcode poll} does.
 * @see https://man7.org/linux/man-pages/man2/select.2.html
 */
export async function select(request: SelectRequest, options?: WaitOptions): Promise<SelectResult> {
  const wanted = read(request);
  const { timeout, deadline, signal } = limitsOf(options);
  const requests = requestsOf(wanted);
  for (;;) {
    const results = await pollUntil(requests, deadline, signal) ??
      timeIsUp(requests.length, timeout);
    const sorted = sort(wanted, results);
    if (isAny(sorted)) return sorted;
    drop(requests, results);
  }
}

/**
 * Waits until one of several descriptors is ready, blocking the thread.
 *
 * @example
 * ```ts
 * import { pipe, selectSync } from "@sysv/ipc/unix";
 * import { assertEquals } from "@std/assert";
 *
 * using ends = pipe();
 * const { write } = selectSync({ write: [ends.writer.fd] });
 * assertEquals(write, [ends.writer.fd]);
 * ```
 *
 * @param request The descriptors, by event.
 * @param options The timeout.
 */
export function selectSync(request: SelectRequest, options?: TimeoutOptions): SelectResult {
  const wanted = read(request);
  const { timeout, deadline } = limitsOf(options);
  const requests = requestsOf(wanted);
  for (;;) {
    const results = pollSyncUntil(requests, deadline) ?? timeIsUp(requests.length, timeout);
    const sorted = sort(wanted, results);
    if (isAny(sorted)) return sorted;
    drop(requests, results);
  }
}

/** Checks a request and copies it, because it is read again after the wait. */
function read(request: SelectRequest): SelectResult {
  checkObject(request, "the request");
  const { read = [], write = [], error = [] } = request;
  return { read: fdsOf(read, "read"), write: fdsOf(write, "write"), error: fdsOf(error, "error") };
}

function fdsOf(fds: readonly number[], name: string): number[] {
  checkArray(fds, name);
  const copy = Array.from(fds);
  copy.forEach(checkFd);
  return copy;
}

function requestsOf({ read, write, error }: SelectResult): PollRequest[] {
  const interests = new Map<number, PollInterest[]>();
  const add = (fds: readonly number[], interest: PollInterest) => {
    for (const fd of fds) interests.set(fd, [...interests.get(fd) ?? [], interest]);
  };
  add(read, "readable");
  add(write, "writable");
  add(error, "priority");
  return [...interests].map(([fd, events]) => ({ fd, events }));
}

function sort(
  { read, write, error }: SelectResult,
  results: readonly PollResult[],
): SelectResult {
  const events = new Map(results.map((result) => [result.fd, result.events]));
  const ready = (fds: readonly number[], ...which: PollEvent[]) =>
    fds.filter((fd) => events.get(fd)?.some((event) => which.includes(event)));
  return {
    read: ready(read, "readable", "hangup", "error"),
    write: ready(write, "writable", "error"),
    error: ready(error, "priority"),
  };
}

function isAny({ read, write, error }: SelectResult): boolean {
  return read.length + write.length + error.length > 0;
}

/** Drops what only poll reports: the hangup of a descriptor that is not read, which would never end. */
function drop(requests: PollRequest[], reported: readonly PollResult[]): void {
  const fds = new Set(reported.map(({ fd }) => fd));
  requests.splice(0, requests.length, ...requests.filter(({ fd }) => !fds.has(fd)));
}
