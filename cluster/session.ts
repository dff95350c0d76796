/**
 * What everything on a server shares: one session.
 *
 * @module
 */

import type { Link, Statement } from "./link.ts";
import type { Removals } from "./removals.ts";
import type { Tickets } from "./tickets.ts";
import type { Told } from "./told.ts";
import { endOf, type Ends } from "./ending.ts";

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

/** When a wait began, what it is called in messages, and how it may end before it is over. */
export interface Waiting extends Ends {
  readonly action: string;
  readonly since: number;
}

/** Waits for a ticket, until a signal or the time ends it. */
export async function waitFor(
  { tickets }: Session,
  ticket: string,
  { action, since, ...ends }: Waiting,
  { cancel, undo, watched }: WaitKind,
): Promise<Told> {
  const over = tickets.wait(ticket, watched);
  const ending = endOf(ends, action, since);
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
