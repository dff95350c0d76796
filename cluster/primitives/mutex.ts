/**
 * Mutual exclusion across hosts.
 *
 * @module
 */

import { checkOptions, checkWord } from "../../ffi/check.ts";
import type { Action } from "../../ipc/steps.ts";
import type { Flow } from "../../sync/flow.ts";
import * as flows from "../../sync/flows/mutex.ts";
import type { Mutex, MutexGuard, MutexOptions } from "../../sync/mod.ts";
import { mutex as protocol } from "../../sync/protocols.ts";
import type { WaitOptions } from "../../wait/options.ts";
import type { Fenced, Remote } from "../remote.ts";
import type { ClusterSemaphores } from "../semaphores.ts";
import type { Driven, RemoteEngine } from "./engine.ts";
import { RemoteGuard, RemotePrimitive, runWith, showRemote } from "./primitive.ts";

const lock: Action = (name) => `lock ${name}`;
const recover: Action = (name) => `recover ${name}`;
const unlock: Action = (name) => `unlock ${name}`;

/** The hold of a mutex. */
class RemoteMutexGuard extends RemoteGuard implements Remote<MutexGuard>, Fenced {
  readonly abandoned: number;
  readonly term: number;

  constructor(engine: RemoteEngine, dirty: number, term: number) {
    super(engine, { step: protocol.release(dirty), action: unlock });
    this.abandoned = dirty - 1;
    this.term = term;
  }
}

/** A mutex on a server. */
export class RemoteMutex extends RemotePrimitive implements Remote<Mutex> {
  readonly onDeath: "report" | "refuse";

  constructor(set: ClusterSemaphores, onDeath: "report" | "refuse") {
    super(set);
    this.onDeath = onDeath;
  }

  static {
    showRemote("Remote<Mutex>", this.prototype, ({ onDeath }) => ({ onDeath }));
  }

  get locked(): Promise<boolean> {
    return this.engine.set.read().then((values) => values[protocol.lock] === 0);
  }

  /** One round trip: whether it was clean comes with the answer. */
  lock(options?: WaitOptions): Promise<RemoteMutexGuard> {
    return this.#take(flows.lockInLine(protocol, this.#refuses), lock, options);
  }

  async tryLock(): Promise<RemoteMutexGuard | undefined> {
    const { engine } = this;
    const { result, term } = await engine.drive(flows.tryLock(protocol, this.#refuses), lock);
    return result && accept(engine, { result, term });
  }

  recover(options?: WaitOptions): Promise<RemoteMutexGuard> {
    return this.#take(flows.recover(protocol), recover, options);
  }

  run<Result>(
    run: (guard: MutexGuard) => Result | Promise<Result>,
    options?: WaitOptions,
  ): Promise<Result> {
    return runWith(() => this.lock(options), run);
  }

  async #take(
    flow: Flow<flows.Found>,
    action: Action,
    options: WaitOptions | undefined,
  ): Promise<RemoteMutexGuard> {
    const { engine } = this;
    return accept(engine, await engine.drive(flow, action, options));
  }

  get #refuses(): boolean {
    return this.onDeath === "refuse";
  }
}

/** Checked before anything is opened. */
export function onDeathOf(options: MutexOptions): "report" | "refuse" {
  checkOptions(options);
  return checkWord(options.onDeath ?? "report", ["report", "refuse"], "onDeath");
}

function accept(
  engine: RemoteEngine,
  { result: { dirty, refused }, term }: Driven<flows.Found>,
): RemoteMutexGuard {
  if (!refused) return new RemoteMutexGuard(engine, dirty, term);
  const reason = `${dirty - 1} of its holders died: call recover() to make right what it protects`;
  throw engine.error("EOWNERDEAD", lock, reason);
}
