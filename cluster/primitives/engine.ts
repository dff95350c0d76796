/**
 * What the flows of sync/ are driven on here: semaphores on a server.
 *
 * @module
 */

import { type ErrorCode, ipcError } from "../../ffi/error.ts";
import type { Action } from "../../ipc/steps.ts";
import { type Flow, run, type Target } from "../../sync/flow.ts";
import type { Step } from "../../sync/protocols.ts";
import type { WaitOptions } from "../../wait/options.ts";
import type { ClusterSemaphores } from "../semaphores.ts";
import { parseValues, type Told } from "../told.ts";

/** The largest version of a set that leaves room for a timeline above it. */
const VERSIONS = 2 ** 40;

/** The result of a flow, and the term of what it took. */
export interface Driven<Result> {
  readonly result: Result;
  /**
   * The version of the set that the last step has made, below the timeline of the server: larger
   * with each step, even after a failover to a standby that had missed some.
   */
  readonly term: number;
}

/** The semaphores of a primitive. */
export class RemoteEngine {
  readonly set: ClusterSemaphores;
  /** Ends all waits: its handle is disposed. What is held has no handle, and stays good. */
  readonly disposed: AbortSignal | undefined;

  /** Makes an engine of semaphores. */
  constructor(set: ClusterSemaphores, disposed?: AbortSignal) {
    this.set = set;
    this.disposed = disposed;
  }

  /** Names the primitive in messages. */
  get name(): string {
    return this.set.title;
  }

  /** Drives a flow. */
  async run<Result>(flow: Flow<Result>, action: Action, options?: WaitOptions): Promise<Result> {
    return (await this.drive(flow, action, options)).result;
  }

  /** Drives a flow that takes something, of which the term is wanted. */
  async drive<Result>(
    flow: Flow<Result>,
    action: Action,
    options?: WaitOptions,
  ): Promise<Driven<Result>> {
    const target = new RemoteTarget(this);
    const result = await run(target, flow, action, options);
    return { result, term: this.set.session.timeline * VERSIONS + target.version };
  }

  /** Makes an error of the primitive's own finding. */
  error(code: ErrorCode, action: Action, reason: string): Error {
    return ipcError(code, action(this.name), { syscall: "semop", reason });
  }
}

/** What one flow is driven on. */
class RemoteTarget implements Target {
  /** The version of the set that the last step has made. */
  version = 0;
  readonly #engine: RemoteEngine;
  /** The values after the step before, which answer the next look. */
  #seen: readonly number[] | undefined;

  constructor(engine: RemoteEngine) {
    this.#engine = engine;
  }

  async tryStep(step: Step, action: Action): Promise<boolean> {
    this.#seen = undefined;
    const { set, name } = this.#engine;
    const told = await set.attempt(step, action(name));
    if (told !== undefined) this.#see(told);
    return told !== undefined;
  }

  async wait(step: Step, action: Action, options: WaitOptions | undefined): Promise<void> {
    this.#seen = undefined;
    const { set, name, disposed } = this.#engine;
    this.#see(await set.perform(step, action(name), options, disposed));
  }

  async read(): Promise<readonly number[]> {
    const seen = this.#seen;
    this.#seen = undefined;
    return seen ?? await this.#engine.set.read();
  }

  async giveBack(step: Step, action: Action): Promise<void> {
    this.#seen = undefined;
    const { set, name } = this.#engine;
    await set.pinned.giveBack(step, action(name));
  }

  spoilt(values: readonly number[], action: Action): Error {
    const reason = `its values ${values.join(", ")} are none that it can have: remove it`;
    return this.#engine.error("EINVAL", action, reason);
  }

  tryStepSync(): never {
    return refuse();
  }

  waitSync(): never {
    return refuse();
  }

  readSync(): never {
    return refuse();
  }

  #see({ version, values }: Told): void {
    this.version = Number(version);
    this.#seen = parseValues(values);
  }
}

function refuse(): never {
  throw new TypeError("Cannot block the thread for a server: await a promise");
}
