/**
 * A job of a work queue: {@linkcode Job}.
 *
 * @module
 */

import { checkInternal } from "../ipc/internal.ts";
import type { Codec } from "./codec.ts";
import type { Claim } from "./jobs.ts";
import type { Members } from "./members.ts";

/**
 * A job that was given out. It is in the hands of this handle until it is done or released, and comes
 * back to the queue when the process dies or the handle is disposed.
 *
 * @example
 * ```ts
 * import { WorkQueue } from "@sysv/ipc/shared";
 * import { assertEquals } from "@std/assert";
 *
 * using queue = WorkQueue.create<string>();
 * queue.sendSync("cat.jpg");
 * {
 *   using job = queue.receiveSync(); // goes back, as it is not done
 *   assertEquals([job.value, job.attempts], ["cat.jpg", 1]);
 * }
 * const job = queue.receiveSync();
 * assertEquals(job.attempts, 2);
 * job.done();
 * ```
 */
export class Job<Item = unknown> implements Disposable {
  /** How often it has been given out, this time included: more than once if holders died or gave it back. */
  readonly attempts: number;
  readonly #codec: Codec<Item>;
  readonly #claim: Claim;
  readonly #members: Members;
  #lost: AbortController | undefined;
  /** Undefined once it is out of these hands. */
  #end: ((claim: Claim, isDone: boolean) => void) | undefined;

  /** @ignore */
  constructor(
    token: symbol,
    members: Members,
    claim: Claim,
    codec: Codec<Item>,
    end: (claim: Claim, isDone: boolean) => void,
  ) {
    checkInternal(token, "a receive of WorkQueue");
    this.attempts = claim.attempts;
    this.#members = members;
    this.#claim = claim;
    this.#codec = codec;
    this.#end = end;
  }

  /** Fires when the queue is removed while this job is held. Costs nothing until it is asked for. */
  get lost(): AbortSignal {
    if (this.#lost === undefined) {
      this.#lost = new AbortController();
      if (this.#end !== undefined) this.#members.watch.add(this.#members, this.#lost);
    }
    return this.#lost.signal;
  }

  /** What is to be done, as it was sent; decoded each time. */
  get value(): Item {
    return this.#codec.decode(this.#claim.bytes.slice());
  }

  /**
   * Says that it is done: it will never be given out again. Does nothing the second time, nor once the
   * queue is removed with all its jobs.
   *
   * @throws {ReferenceError} If the handle of the queue is disposed, which has given it back.
   */
  done(): void {
    this.#leave(true);
  }

  /**
   * Gives it back, to be the next that is given out. Does nothing the second time, nor once it is done,
   * the queue is removed or its handle disposed.
   */
  release(): void {
    this.#leave(false);
  }

  #leave(isDone: boolean): void {
    this.#end?.(this.#claim, isDone);
    this.#end = undefined;
    if (this.#lost !== undefined) this.#members.watch.delete(this.#lost);
  }

  /** Releases, unless it is done, so that `using` does. */
  [Symbol.dispose](): void {
    this.release();
  }
}
