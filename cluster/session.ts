/**
 * What everything on a server shares: one session.
 *
 * @module
 */

import type { Link, Statement } from "./link.ts";
import type { Removals } from "./removals.ts";
import type { Tickets } from "./tickets.ts";
import type { Told } from "./told.ts";
import { timeoutError, type WaitOptions } from "../wait/options.ts";

/** A session, which is to a server what a process is to the kernel. */
export interface Session {
  /** Its number. */
  readonly sid: number;
  /** How often the server was promoted or recovered: its timeline. A session never outlives it. */
  readonly timeline: number;
  readonly link: Link;
  readonly tickets: Tickets;
  readonly removals: Removals;
}

/** What kind of wait it is. */
export interface WaitKind {
  /** The function of the schema that cancels. */
  readonly cancel: Statement;
  /** What to do if it was over before it could be cancelled; returns whether that undid it. */
  undo(told: Told): Promise<boolean>;
  /** Whether what it waits for may be held by the dead. */
  readonly watched: boolean;
}

/** Waits for a ticket, until the signal or the time ends it. `since` is when the wait began. */
export async function waitFor(
  { tickets }: Session,
  ticket: string,
  action: string,
  { timeout = Infinity, signal }: WaitOptions,
  since: number,
  { cancel, undo, watched }: WaitKind,
): Promise<Told> {
  const over = tickets.wait(ticket, watched);
  if (timeout === Infinity && signal === undefined) return await over;
  const ending = endOf(timeout, signal, action, since);
  try {
    const first = await Promise.race([over, ending.ended]);
    if (!("reason" in first)) return first;
    if (await tickets.cancel(ticket, cancel)) throw first.reason;
    const told = await over;
    // What cannot be undone has happened, and is told so.
    if (told.code !== 0 || !await undo(told)) return told;
    throw first.reason;
  } finally {
    ending.forget();
  }
}

interface Ending {
  readonly ended: Promise<{ readonly reason: unknown }>;
  forget(): void;
}

/** The longest time of a timer, in milliseconds. */
const MAX_TIMER = 0x7fffffff;

function endOf(
  timeout: number,
  signal: AbortSignal | undefined,
  action: string,
  since: number,
): Ending {
  const { promise, resolve } = Promise.withResolvers<{ readonly reason: unknown }>();
  const end = () => resolve({ reason: signal!.reason });
  signal?.addEventListener("abort", end);
  if (signal?.aborted) end();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const rest = () => {
    const left = timeout - (performance.now() - since);
    if (left <= 0) resolve({ reason: timeoutError(action, timeout) });
    else timer = setTimeout(rest, Math.min(Math.ceil(left), MAX_TIMER));
  };
  if (timeout !== Infinity) rest();
  return {
    ended: promise,
    forget() {
      clearTimeout(timer);
      signal?.removeEventListener("abort", end);
    },
  };
}
