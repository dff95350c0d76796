/**
 * What waits on the server: tickets, the notifications that end them, and the watch for the dead.
 *
 * @module
 */

import { call, closedError, type Link, type Statement } from "./link.ts";
import type { Told } from "./told.ts";

interface Waiter {
  resolve(told: Told): void;
  reject(error: unknown): void;
}

const claimWatch = call("claim_watch", "int", true);
const watch = call("watch", "int");
const unwatch = call("unwatch", "int");
const unlisten: Statement = { name: "ipc_unlisten", text: "UNLISTEN *" };

/** Milliseconds between looks for the dead, by the one session that has the watch. */
const WATCH_EVERY = 50;
/** The others: so many milliseconds for each session that waits, but at least a second. */
const ASK_EVERY = 10;

/** The waits of a session. */
export class Tickets {
  readonly #link: Link;
  readonly #sid: number;
  readonly #waiters = new Map<string, Waiter>();
  /** The tickets of waits for what the dead may hold. */
  readonly #watched = new Set<string>();
  /** Notifications that came before the answer that has their ticket. */
  readonly #early = new Map<string, Told>();
  /** Whether the session may be listening. */
  #listens = false;
  #hasWatch = false;
  /** Whether the server is asked for the watch, or to look. */
  #watching = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** Begins with none. */
  constructor(link: Link, sid: number) {
    this.#link = link;
    this.#sid = sid;
    link.lost.addEventListener("abort", () => this.#endAll(link.lost.reason));
  }

  /** Waits for the notification that carries this ticket; `watched` if the dead may hold it up. */
  wait(ticket: string, watched: boolean): Promise<Told> {
    this.#listens = true;
    return new Promise((resolve, reject) => {
      const { lost, closed } = this.#link;
      const early = this.#early.get(ticket);
      this.#early.delete(ticket);
      if (early !== undefined) return resolve(early);
      if (lost.aborted) return reject(lost.reason);
      if (closed) return reject(closedError());
      this.#waiters.set(ticket, { resolve, reject });
      if (!watched) return;
      this.#watched.add(ticket);
      this.#watchLater(WATCH_EVERY * (0.8 + 0.4 * Math.random()));
    });
  }

  /** Ends a wait, and returns whether it was not over; `by` is the function of the schema for that. */
  async cancel(ticket: string, by: Statement): Promise<boolean> {
    const [row] = await this.#link.ask<{ result: boolean }>(by, [ticket]);
    if (!row!.result) return false;
    this.#take(ticket);
    this.#restIfIdle();
    return true;
  }

  /** Hears a notification. */
  hear(payload: string): void {
    if (payload === "watch") return void this.#watch();
    const [code, version, values, ...tickets] = payload.split(" ");
    const told = { code: Number(code), version: version!, values: values! };
    for (const ticket of tickets) {
      const waiter = this.#take(ticket);
      if (waiter === undefined) this.#early.set(ticket, told);
      else waiter.resolve(told);
    }
    this.#restIfIdle();
  }

  /** What to ask when there is nothing to do: every notification wakes all sessions that listen. */
  rest(): (() => Promise<unknown>) | undefined {
    if (!this.#listens || this.#waiters.size > 0) return undefined;
    this.#listens = false;
    this.#early.clear();
    return () => this.#link.ask(unlisten);
  }

  /** Rejects all waits, as the cluster is closed. */
  close(): void {
    this.#endAll(closedError());
  }

  #endAll(reason: unknown): void {
    clearTimeout(this.#timer);
    for (const { reject } of this.#waiters.values()) reject(reason);
    this.#waiters.clear();
    this.#watched.clear();
  }

  #take(ticket: string): Waiter | undefined {
    const waiter = this.#waiters.get(ticket);
    this.#waiters.delete(ticket);
    this.#watched.delete(ticket);
    return waiter;
  }

  #watchLater(milliseconds: number): void {
    this.#timer ??= setTimeout(() => this.#watch(), milliseconds);
  }

  async #watch(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#watching || this.#watched.size === 0) return this.#restIfIdle();
    this.#watching = true;
    let wait = 1000;
    try {
      wait = await this.#look();
    } catch {
      // A lost session has no waiters any more; anything else may go better next time.
    }
    this.#watching = false;
    if (this.#watched.size === 0) return this.#restIfIdle();
    this.#watchLater(wait * (0.8 + 0.4 * Math.random()));
  }

  /**
   * Looks for the dead, and returns when to do it again: often with the watch, seldom without, as who
   * has the watch may be stopped.
   */
  async #look(): Promise<number> {
    const link = this.#link;
    let again = WATCH_EVERY;
    if (!this.#hasWatch) {
      type Row = { waiting: number; mine: boolean };
      const [row] = await link.ask<Row>(claimWatch, [this.#sid]);
      this.#hasWatch = row!.mine;
      if (!row!.mine) again = Math.max(1000, row!.waiting * ASK_EVERY);
    }
    await link.ask(watch, [this.#sid]);
    return again;
  }

  /** Without waits there is nothing to watch for. */
  #restIfIdle(): void {
    if (this.#watched.size > 0 || this.#watching) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (!this.#hasWatch) return;
    this.#hasWatch = false;
    this.#link.ask(unwatch, [this.#sid]).catch(() => {});
  }
}
