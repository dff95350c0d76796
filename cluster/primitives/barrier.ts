/**
 * Parties that wait for each other, on many hosts.
 *
 * @module
 */

import { checkInteger, checkWord } from "../../ffi/check.ts";
import { ipcError } from "../../ffi/error.ts";
import type { Action } from "../../ipc/steps.ts";
import * as flows from "../../sync/flows/barrier.ts";
import {
  type Barrier,
  type BarrierOptions,
  type BarrierParty,
  BrokenBarrierError,
} from "../../sync/mod.ts";
import { barrier as protocol } from "../../sync/protocols.ts";
import { readWaitOptions, type WaitOptions } from "../../wait/options.ts";
import { ignoreGone } from "../errors.ts";
import type { Remote } from "../remote.ts";
import type { ClusterSemaphores } from "../semaphores.ts";
import { RemoteEngine } from "./engine.ts";
import { RemotePrimitive, showRemote } from "./primitive.ts";

const join: Action = (name) => `join ${name}`;
const wait: Action = (name) => `wait at ${name}`;
const leave: Action = (name) => `leave ${name}`;

/** The values of a barrier. */
export function barrierValues({ parties, onDeath = "break" }: BarrierOptions): number[] {
  checkInteger(parties, 1, 16383, `make a barrier for ${parties} parties`);
  checkWord(onDeath, ["break", "shrink"], "onDeath");
  return protocol.values(parties);
}

/** Checks that a barrier that was there is for as many parties. */
export async function checkParties(set: ClusterSemaphores, parties: number): Promise<void> {
  if (set.created) return;
  const found = (await set.read())[protocol.parties];
  if (found === parties) return;
  const reason = `it is for ${found} parties, not ${parties}`;
  throw ipcError("EINVAL", `open ${set.title}`, { syscall: "semget", reason });
}

/** A party to a barrier. */
class RemoteParty implements Remote<BarrierParty> {
  readonly #engine: RemoteEngine;
  /** Ends its waits: the handle of the barrier is disposed. */
  readonly #disposed: AbortSignal | undefined;
  readonly #rule: flows.Rule;
  readonly #party = flows.newParty();
  readonly #leaving = new AbortController();
  #lost: AbortController | undefined;
  #waiting = false;

  constructor(engine: RemoteEngine, rule: flows.Rule) {
    this.#engine = new RemoteEngine(engine.set.pinned);
    this.#disposed = engine.disposed;
    this.#rule = rule;
  }

  get lost(): AbortSignal {
    if (this.#lost === undefined) {
      this.#lost = new AbortController();
      const { session, id } = this.#engine.set;
      if (!this.#party.left) session.removals.add(id, this.#lost);
    }
    return this.#lost.signal;
  }

  async wait(options?: WaitOptions): Promise<void> {
    const { timeout, signal: given } = readWaitOptions(options);
    given?.throwIfAborted();
    this.#begin();
    const ends = [given, this.#leaving.signal, this.#disposed].filter((one) => one !== undefined);
    const signal = AbortSignal.any(ends);
    const flow = flows.wait(protocol, this.#rule, this.#party);
    try {
      this.#end(await this.#engine.run(flow, wait, { timeout, signal }));
    } finally {
      this.#waiting = false;
    }
  }

  async tryWait(): Promise<boolean> {
    this.#begin();
    const flow = flows.tryWait(protocol, this.#rule, this.#party);
    try {
      return this.#end(await this.#engine.run(flow, wait));
    } finally {
      this.#waiting = false;
    }
  }

  async leave(): Promise<void> {
    if (this.#party.left) return;
    const { set } = this.#engine;
    try {
      if (!set.session.link.closed) {
        await this.#engine.run(flows.leave(protocol, this.#rule, this.#party), leave);
      }
    } catch (error) {
      ignoreGone(error);
    }
    this.#party.left = true;
    if (this.#lost !== undefined) set.session.removals.delete(set.id, this.#lost);
    this.#leaving.abort(this.#hasLeft());
  }

  [Symbol.dispose](): void {
    this.leave();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.leave();
  }

  #begin(): void {
    if (this.#party.left) throw this.#hasLeft();
    this.#disposed?.throwIfAborted();
    if (this.#waiting) {
      throw new TypeError("Cannot wait twice at once as one party: join once more");
    }
    this.#waiting = true;
  }

  #end(outcome: "passed" | "missing" | "broken"): boolean {
    if (outcome === "broken") throw broken(this.#engine, wait);
    return outcome === "passed";
  }

  #hasLeft(): ReferenceError {
    return new ReferenceError(`Cannot ${wait(this.#engine.name)}: the party has left`);
  }
}

function broken({ name }: RemoteEngine, action: Action): BrokenBarrierError {
  return new BrokenBarrierError(`Cannot ${action(name)}: a party has died`);
}

/** A barrier on a server. */
export class RemoteBarrier extends RemotePrimitive implements Remote<Barrier> {
  readonly parties: number;
  readonly onDeath: "break" | "shrink";

  constructor(set: ClusterSemaphores, { parties, onDeath = "break" }: BarrierOptions) {
    super(set);
    this.parties = parties;
    this.onDeath = onDeath;
  }

  static {
    showRemote("Remote<Barrier>", this.prototype, ({ parties, onDeath }) => ({ parties, onDeath }));
  }

  get isBroken(): Promise<boolean> {
    return this.engine.set.read().then((values) => values[protocol.broken] !== 0);
  }

  async join(): Promise<RemoteParty> {
    const { engine, parties } = this;
    const rule = { shrinks: this.onDeath === "shrink", parties };
    const outcome = await engine.run(flows.join(protocol, rule), join);
    if (outcome === "broken") throw broken(engine, join);
    if (outcome === "full") {
      throw engine.error("EBUSY", join, `all ${parties} parties have joined`);
    }
    return new RemoteParty(engine, rule);
  }
}
