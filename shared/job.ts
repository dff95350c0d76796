/**
 * A job of a work queue: {@linkcode Job}.
 *
 * @module
 */

import { checkInternal } from "../ipc/internal.ts";
import type { Codec } from "./codec.ts";
import type { Claim } from "./jobs.ts";

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
  /** Undefined once it is out of these hands. */
  #end: ((claim: Claim, isDone: boolean) => void) | undefined;

  /** @ignore */
  constructor(
    token: symbol,
    claim: Claim,
    codec: Codec<Item>,
    end: (claim: Claim, isDone: boolean) => void,
  ) {
    checkInternal(token, "a receive of WorkQueue");
    this.attempts = claim.attempts;
    this.#claim = claim;
    this.#codec = codec;
    this.#end = end;
  }

  /** What is to be done, as it was sent; decoded each time. */
  get value(): Item {
    return this.#codec.decode(this.#claim.bytes.slice());
  }

  /** Says that it is done: it will never be given out again. Does nothing the second time. */
  done(): void {
    this.#leave(true);
  }

  /** Gives it back, to be the next that is given out. Does nothing the second time, nor once it is done. */
  release(): void {
    this.#leave(false);
  }

  #leave(isDone: boolean): void {
    this.#end?.(this.#claim, isDone);
    this.#end = undefined;
  }

  /** Releases, unless it is done, so that `using` does. */
  [Symbol.dispose](): void {
    this.release();
  }
}
