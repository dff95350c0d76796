/**
 * What all primitives on a server have, and what is held of them.
 *
 * @module
 */

import { checkFunction } from "../../ffi/check.ts";
import { showAs, type Shown } from "../../ipc/inspect.ts";
import type { Action } from "../../ipc/steps.ts";
import type { Flow } from "../../sync/flow.ts";
import type { Step } from "../../sync/protocols.ts";
import type { ClusterSemaphores } from "../semaphores.ts";
import { disposedError } from "../errors.ts";
import { RemoteEngine } from "./engine.ts";

/** A handle of a primitive on a server. */
export class RemotePrimitive implements Disposable, AsyncDisposable {
  readonly #engine: RemoteEngine;
  readonly #disposal = new AbortController();

  /** Makes a handle of semaphores. */
  constructor(set: ClusterSemaphores) {
    this.#engine = new RemoteEngine(set, this.#disposal.signal);
  }

  /** The name. */
  get name(): string {
    return this.#engine.set.name;
  }

  /** Whether it was made when this handle was opened. */
  get created(): boolean {
    return this.#engine.set.created;
  }

  /** What flows are driven on, unless the handle is disposed. */
  get engine(): RemoteEngine {
    this.#disposal.signal.throwIfAborted();
    return this.#engine;
  }

  /** Removes it, now: pending and later calls reject with EIDRM, in every process. */
  async remove(): Promise<void> {
    await this.engine.set.remove();
  }

  /** Ends the handle: what waits by it rejects. What is held stays good. */
  [Symbol.dispose](): void {
    this.#disposal.abort(disposedError(this.#engine.name));
  }

  /** Ends the handle: what waits by it rejects. What is held stays good. */
  // deno-lint-ignore require-await
  async [Symbol.asyncDispose](): Promise<void> {
    this[Symbol.dispose]();
  }
}

/** How something is given back. */
export interface GiveBack {
  readonly step: Step;
  readonly action: Action;
}

/** What was taken of a primitive on a server. */
export class RemoteGuard implements Disposable, AsyncDisposable {
  readonly #engine: RemoteEngine;
  #giveBack: GiveBack;
  #releasing: Promise<void> | undefined;
  #released = false;
  #lost: AbortController | undefined;

  /** Says that something was taken, and how it is given back. */
  constructor(engine: RemoteEngine, giveBack: GiveBack) {
    // What is held is held of this very set.
    const { pinned } = engine.set;
    this.#engine = new RemoteEngine(pinned);
    this.#giveBack = giveBack;
  }

  /** Fires when what is held is lost: with the session at once, with the set about a second later. */
  get lost(): AbortSignal {
    if (this.#lost === undefined) {
      this.#lost = new AbortController();
      const { session, id } = this.#engine.set;
      if (this.#releasing === undefined) session.removals.add(id, this.#lost);
    }
    return this.#lost.signal;
  }

  /** Whether it was given back. */
  get released(): boolean {
    return this.#released;
  }

  /** Gives back what was taken, once. If that fails, it is still held, and it can be called again. */
  release(): Promise<void> {
    this.#releasing ??= this.#release();
    return this.#releasing;
  }

  /** Makes something else of what is held, if a flow can, and returns whether it could. */
  async change(
    flow: Flow<boolean | void>,
    action: Action,
    giveBack: GiveBack,
  ): Promise<boolean> {
    if (this.#releasing !== undefined) return false;
    if (await this.#engine.run(flow, action) === false) return false;
    this.#giveBack = giveBack;
    return true;
  }

  async #release(): Promise<void> {
    const { set, name } = this.#engine;
    const { step, action } = this.#giveBack;
    try {
      await set.giveBack(step, action(name));
      this.#released = true;
      if (this.#lost !== undefined) set.session.removals.delete(set.id, this.#lost);
    } catch (error) {
      this.#releasing = undefined;
      throw error;
    }
  }

  /** Gives back, in turn; nothing waits for it. */
  [Symbol.dispose](): void {
    this.release();
  }

  /** Gives back, and waits until others can have it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.release();
  }
}

/**
 * Runs a function with what was taken, and gives it back. The function is one for the class of sync/,
 * of which what was taken here has all that answers at once.
 */
export async function runWith<Result>(
  take: () => Promise<RemoteGuard>,
  run: (held: never) => Result | Promise<Result>,
): Promise<Result> {
  checkFunction(run, "run");
  const guard = await take();
  try {
    return await (run as (held: RemoteGuard) => Result | Promise<Result>)(guard);
  } finally {
    await guard.release();
  }
}

/** Has `console.log` show the handles of a class. */
export function showRemote<Handle extends RemotePrimitive>(
  title: string,
  prototype: Handle,
  look: (handle: Handle) => Shown = () => ({}),
): void {
  showAs(title, prototype, (handle) => ({ name: handle.name, ...look(handle) }));
}
