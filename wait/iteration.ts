/**
 * Iterating over what waits return.
 *
 * @module
 */

import type { WaitOptions } from "./options.ts";

/** What an iteration is made of. */
export interface Steps<Item> {
  /** Waits for the next item. If its signal is aborted first, it rejects and has taken nothing. */
  next(options: { readonly signal: AbortSignal }): Promise<Item>;
  /** Whether an error of `next` says that nothing will come any more. */
  isEnd(error: unknown): boolean;
  /** Takes an item back that came as the iteration was ended. */
  giveBack?(item: Item): void;
}

/**
 * Iterates over items until nothing will come any more, an error comes, or the iteration is ended from
 * outside. A generator could not be: it queues a `return()` behind the wait that it is to end.
 */
export class Iteration<Item> implements AsyncGenerator<Item, void, void> {
  readonly #steps: Steps<Item>;
  readonly #ending = new AbortController();
  readonly #signal: AbortSignal;
  #ended = false;

  constructor(steps: Steps<Item>, signal?: WaitOptions["signal"]) {
    this.#steps = steps;
    const { signal: ending } = this.#ending;
    this.#signal = signal === undefined ? ending : AbortSignal.any([signal, ending]);
  }

  async next(): Promise<IteratorResult<Item, void>> {
    if (this.#ended) return { value: undefined, done: true };
    const { next, isEnd, giveBack } = this.#steps;
    let item: Item;
    try {
      item = await next({ signal: this.#signal });
    } catch (error) {
      const isOver = this.#ended || isEnd(error);
      this.#ended = true;
      if (!isOver) throw error;
      return { value: undefined, done: true };
    }
    if (!this.#ended || giveBack === undefined) return { value: item, done: false };
    giveBack(item);
    return { value: undefined, done: true };
  }

  /** Ends the iteration, and a wait of it: that resolves with nothing, unless an item came just then. */
  return(): Promise<IteratorResult<Item, void>> {
    this.#ended = true;
    this.#ending.abort();
    return Promise.resolve({ value: undefined, done: true });
  }

  async throw(error: unknown): Promise<IteratorResult<Item, void>> {
    await this.return();
    throw error;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }
}
