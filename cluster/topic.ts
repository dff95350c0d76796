/**
 * Items in sequence on a server, of which the last few are kept: what variables and broadcasts are made
 * of.
 *
 * @module
 */

import { copyOf } from "../ffi/bytes.ts";
import type { Codec } from "../shared/mod.ts";
import { codes, disposedError, serverError } from "./errors.ts";
import { call, type Statement } from "./link.ts";
import { type Session, waitFor } from "./session.ts";
import { checkBytes } from "./sizes.ts";
import { readWaitOptions, timeoutError, type WaitOptions } from "../wait/options.ts";

/** An item, and its place in the sequence. */
export interface Numbered<Item> {
  readonly number: number;
  readonly item: Item;
}

const post = call("post", "int bytea bigint");
const awaitPost = call("await_post", "int int bigint");
const lastPost = call("last_post", "int");
const cancel = call("cancel_read", "bigint");
const remove = call("remove_topic", "int");
const last: Statement = {
  name: "ipc_last",
  text: "SELECT seq, data FROM ipc.post WHERE topic = $1 ORDER BY seq DESC LIMIT 1",
};
const after: Statement = {
  name: "ipc_after",
  text: "SELECT seq, data FROM ipc.post WHERE topic = $1 AND seq > $2 ORDER BY seq LIMIT 100",
};

interface Row {
  readonly seq: string;
  /** Null before there is an item. */
  readonly data: Uint8Array | null;
}

/** A sequence of items. */
export class Topic<Item> {
  /** Names it in messages. */
  readonly title: string;
  /** Whether it was made when this handle was opened. */
  readonly created: boolean;
  readonly #session: Session;
  readonly #id: number;
  readonly #disposal = new AbortController();
  readonly #codec: Codec<Item>;

  /** Makes a handle. */
  constructor(
    session: Session,
    { id, created, title }: { id: number; created: boolean; title: string },
    codec: Codec<Item>,
  ) {
    this.#session = session;
    this.#id = id;
    this.created = created;
    this.title = title;
    this.#codec = codec;
  }

  /** Ends the handle. */
  dispose(): void {
    this.#disposal.abort(disposedError(this.title));
  }

  /** Adds an item, and returns its number; undefined if another one than `expected` is the last. */
  async add(item: Item, expected?: number): Promise<number | undefined> {
    // What is sent must not change with the buffer.
    const bytes = copyOf(this.#codec.encode(item));
    const action = `add ${bytes.length} bytes to ${this.title}`;
    checkBytes(bytes, action, "shmat");
    const number = await this.#number(post, [this.#id, bytes, expected ?? null], action);
    return number === 0 ? undefined : number;
  }

  /** The last item; undefined before there is one. */
  async last(): Promise<Numbered<Item> | undefined> {
    const [row] = await this.#ask<Row>(last, [this.#id]);
    if (row === undefined) throw serverError(codes.removed, `read ${this.title}`);
    return this.#numbered(row);
  }

  /** The number of the last item. */
  async lastNumber(): Promise<number> {
    return await this.#number(lastPost, [this.#id], `read ${this.title}`);
  }

  /** The next items after a number; some may be missing that were not kept. */
  async after(number: number): Promise<Numbered<Item>[]> {
    const rows = await this.#ask<Row>(after, [this.#id, number]);
    // None, or is it removed?
    if (rows.length === 0) await this.lastNumber();
    return rows.map((row) => this.#numbered(row)!);
  }

  /** Waits until there is an item after a number. */
  async waitAfter(number: number, options?: WaitOptions): Promise<void> {
    const action = `wait for ${this.title} to change`;
    const { timeout, signal } = readWaitOptions(options);
    signal?.throwIfAborted();
    if (timeout === 0) {
      if (await this.lastNumber() > number) return;
      throw timeoutError(action, 0);
    }
    const since = performance.now();
    const values = [this.#session.sid, this.#id, number];
    const ticket = await this.#number(awaitPost, values, action);
    if (ticket === 0) return;
    const told = await waitFor(
      this.#session,
      String(ticket),
      { action, since, timeout, signals: [signal, this.#disposal.signal] },
      { cancel, undo: () => Promise.resolve(true), watched: false },
    );
    if (told.code !== 0) throw serverError(told.code, action);
  }

  /** Removes it, now: pending and later calls reject with EIDRM. */
  async remove(): Promise<void> {
    await this.#number(remove, [this.#id], `remove ${this.title}`);
  }

  /** Calls a function that returns a number: below 0 if the topic is removed. */
  async #number(statement: Statement, values: readonly unknown[], action: string): Promise<number> {
    const [row] = await this.#ask<{ result: string | number }>(statement, values);
    const number = Number(row!.result);
    if (number < 0) throw serverError(number, action);
    return number;
  }

  #ask<Row extends object>(statement: Statement, values: readonly unknown[]): Promise<Row[]> {
    const { aborted, reason } = this.#disposal.signal;
    if (aborted) return Promise.reject(reason);
    return this.#session.link.ask<Row>(statement, values);
  }

  #numbered({ seq, data }: Row): Numbered<Item> | undefined {
    if (data === null) return undefined;
    return { number: Number(seq), item: this.#codec.decode(Uint8Array.from(data)) };
  }
}
