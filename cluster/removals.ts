/**
 * Who is to be told when a set is removed, or the session lost.
 *
 * @module
 */

import { serverError } from "./errors.ts";
import { call, type Link } from "./link.ts";

const gone = call("gone", "int[]");

/** The `lost` signals of a session. They cost nothing until there is one. */
export class Removals {
  readonly #link: Link;
  readonly #controllers = new Map<number, Set<AbortController>>();

  /** Begins with none. */
  constructor(link: Link) {
    this.#link = link;
    link.lost.addEventListener("abort", () => {
      for (const set of [...this.#controllers.keys()]) this.#abort(set, link.lost.reason);
    });
  }

  /** Aborts a controller when a set is removed or the session lost. */
  add(set: number, controller: AbortController): void {
    const { lost } = this.#link;
    if (lost.aborted) return controller.abort(lost.reason);
    const controllers = this.#controllers.get(set) ?? new Set();
    controllers.add(controller);
    this.#controllers.set(set, controllers);
  }

  /** Has nobody told any more by this controller. */
  delete(set: number, controller: AbortController): void {
    const controllers = this.#controllers.get(set);
    controllers?.delete(controller);
    if (controllers?.size === 0) this.#controllers.delete(set);
  }

  /** Tells that a set is known to be removed. */
  removed(set: number): void {
    this.#abort(set, serverError(-43, `hold anything of set ${set}`));
  }

  /** What to ask in place of a heartbeat: whether the sets are still there. */
  look(): (() => Promise<unknown>) | undefined {
    const sets = [...this.#controllers.keys()];
    if (sets.length === 0) return undefined;
    return async () => {
      const [row] = await this.#link.ask<{ result: number[] }>(gone, [sets]);
      for (const set of row!.result) this.removed(set);
    };
  }

  #abort(set: number, reason: unknown): void {
    const controllers = this.#controllers.get(set);
    this.#controllers.delete(set);
    for (const controller of controllers ?? []) controller.abort(reason);
  }
}
