/**
 * What is held of a primitive: {@linkcode Guard}.
 *
 * @module
 */

import { checkFunction } from "../ffi/check.ts";
import { checkInternal } from "../ipc/internal.ts";
import { onUnload } from "../wait/unload.ts";
import { type Action, type PackedStep, packStep } from "../ipc/steps.ts";
import type { Engine } from "./engine.ts";
import { type Flow, runSync } from "./flow.ts";
import type { Step } from "./protocols.ts";

/** A step that gives back, packed once. */
export interface Release {
  readonly step: Step;
  readonly packed: PackedStep;
  /** What the kernel would do of it, if the process died instead. */
  readonly undone: PackedStep;
  /** What that is, for messages. */
  readonly action: Action;
  /** What this thread then holds less of, and by how much. */
  readonly counts: "held" | "writing" | "registered";
  readonly amount: number;
}

/** Packs the step of a flow that only gives back. */
export function releaseBy(
  flow: Flow<unknown>,
  action: Action,
  counts: Release["counts"] = "held",
  amount = 1,
): Release {
  const { value: request } = flow.next(null);
  const { ask, step } = request as { ask: unknown; step: Step };
  if (ask !== "give back") throw new TypeError("Cannot release by a flow that does more than that");
  const undone = packStep(step.filter(({ undo }) => undo));
  return { step, packed: packStep(step), undone, action, counts, amount };
}

/** The guard that was made last of those that are not released; each knows the one before. */
let latest: Guard | undefined;
let listening = false;

/** Runs a function with a guard, which is released when the function, or its promise, is done. */
export async function runWith<Taken extends Guard, Result>(
  take: () => Promise<Taken>,
  run: (taken: Taken) => Result | Promise<Result>,
): Promise<Result> {
  checkFunction(run, "run");
  const taken = await take();
  try {
    return await run(taken);
  } finally {
    taken.release();
  }
}

/**
 * What a process holds of a primitive. Releasing gives it back, once; if the process dies first, the kernel gives
 * it back.
 *
 * @example
 * ```ts
 * import { RwLock } from "@sysv/ipc/sync";
 * import { assertEquals } from "@std/assert";
 *
 * using lock = RwLock.create();
 * {
 *   using _guard = lock.readSync();
 *   assertEquals(lock.state().readers, 1);
 * }
 * assertEquals(lock.state().readers, 0);
 * ```
 */
export class Guard implements Disposable {
  /** Undefined once it is released. */
  #engine: Engine | undefined;
  #release: Release;
  #lost: AbortController | undefined;
  #before: Guard | undefined;
  #after: Guard | undefined;

  /** @ignore */
  constructor(token: symbol, engine: Engine, release: Release) {
    checkInternal(token, "a method of the primitive");
    this.#engine = engine;
    this.#release = release;
    engine.local[release.counts] += release.amount;
    this.#before = latest;
    if (latest !== undefined) latest.#after = this;
    latest = this;
    if (listening) return;
    listening = true;
    onUnload(() => Guard.#undoAll());
  }

  /**
   * Fires, within about 50 ms, when the object is removed before this is released: then the hold is lost,
   * because other processes can create a new object and hold that. It costs nothing until it is asked for, and
   * does not keep the program alive.
   */
  get lost(): AbortSignal {
    if (this.#lost === undefined) {
      this.#lost = new AbortController();
      const engine = this.#engine;
      engine?.local.watch.add(engine, this.#lost);
    }
    return this.#lost.signal;
  }

  /**
   * Gives back what was taken, even after the primitive's handle is disposed. Does nothing the
   * second time, nor once the primitive is removed. If it throws, nothing was given back, and it can
   * be called again.
   */
  release(): void {
    const engine = this.#engine;
    if (engine === undefined) return;
    const { step, packed, action, counts, amount } = this.#release;
    if (engine.isKernel) engine.giveBackPacked(packed, action);
    else engine.giveBack(step, action);
    this.#engine = undefined;
    engine.local[counts] -= amount;
    if (this.#lost !== undefined) engine.local.watch.delete(this.#lost);
    this.#unlink();
  }

  /**
   * Performs a flow that turns what is held into something else, to be released so; returns whether it did.
   *
   * @ignore
   */
  exchange(token: symbol, flow: Flow<boolean | void>, action: Action, release: Release): boolean {
    checkInternal(token, "a method of the guard");
    const engine = this.#engine;
    if (engine === undefined || runSync(engine, flow, action) === false) return false;
    engine.local[this.#release.counts] -= this.#release.amount;
    engine.local[release.counts] += release.amount;
    this.#release = release;
    return true;
  }

  #unlink(): void {
    const [before, after] = [this.#before, this.#after];
    if (after === undefined) latest = before;
    else after.#before = before;
    if (before !== undefined) before.#after = after;
    this.#before = this.#after = undefined;
  }

  /** Undoes what is still held, as the kernel would. */
  static #undoAll(): void {
    for (let guard = latest; guard !== undefined; guard = guard.#before) {
      guard.#engine!.undo(guard.#release.undone);
      guard.#engine = undefined;
    }
    latest = undefined;
  }

  /** Releases, so that `using` does. */
  [Symbol.dispose](): void {
    this.release();
  }
}
