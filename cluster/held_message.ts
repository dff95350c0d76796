/**
 * Messages in the hands of a receiver: {@linkcode HeldMessage}.
 *
 * @module
 */

import { Message } from "../ipc/message.ts";
import { codes, ignoreGone, serverError } from "./errors.ts";
import { done, type MessageRow, putBack, typeOf } from "./queue_calls.ts";
import type { Session } from "./session.ts";

/**
 * A message in the hands of this session. If the session ends before `done`, the message returns to its
 * place in the queue.
 *
 * @example
 * ```ts
 * import { connect } from "@sysv/ipc/cluster";
 * import { assertEquals } from "@std/assert";
 *
 * await using cluster = await connect();
 * const jobs = await cluster.queue("my-app/held");
 * await jobs.send("resize 7.png");
 * await using job = await jobs.receive({ hold: true });
 * assertEquals([job.text(), job.attempts], ["resize 7.png", 1]);
 * await job.done();
 * ```
 */
export class HeldMessage extends Message implements Disposable, AsyncDisposable {
  /** How often it was given out, this time included. */
  readonly attempts: number;
  /** Fires when the session is lost, and others get the message. */
  readonly lost: AbortSignal;
  readonly #session: Session;
  readonly #seq: string;
  #ending: Promise<void> | undefined;

  /** @ignore Users call `queue.receive({ hold: true })`. */
  constructor(session: Session, row: MessageRow) {
    super(typeOf(row), Uint8Array.from(row.data));
    this.#session = session;
    this.#seq = row.seq;
    this.attempts = row.attempts;
    this.lost = session.link.lost;
  }

  /**
   * Takes it out of the queue for good. Does nothing once it is done or released.
   *
   * @returns A promise that rejects with {@linkcode SessionLostError} if the session is lost, and with
   * IpcError EIDRM if the queue is removed: then another may have the message.
   */
  done(): Promise<void> {
    return this.#ending ??= this.#done();
  }

  /** Puts it back where it was, for others. Does nothing once it is done or released. */
  release(): Promise<void> {
    return this.#ending ??= this.#release();
  }

  async #done(): Promise<void> {
    const { link, sid } = this.#session;
    try {
      const [row] = await link.ask<{ result: boolean }>(done, [sid, this.#seq]);
      if (!row!.result) throw serverError(codes.removed, "end with a message", "msgrcv");
    } catch (error) {
      // It is still held, unless there is nothing any more of which it could be.
      this.#ending = undefined;
      throw error;
    }
  }

  async #release(): Promise<void> {
    const { link, sid } = this.#session;
    // What ended the session has put it back.
    if (link.closed) return;
    await link.ask(putBack, [sid, this.#seq, true]).catch(ignoreGone);
  }

  /** Puts it back unless it is done. */
  [Symbol.dispose](): void {
    this.release();
  }

  /** Puts it back unless it is done, and waits until others can have it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.release();
  }
}
