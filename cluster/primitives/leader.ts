/**
 * One leader among the processes of many hosts.
 *
 * @module
 */

import { checkFlag, checkFunction, checkInteger, checkOptions } from "../../ffi/check.ts";
import type { Action } from "../../ipc/steps.ts";
import * as flows from "../../sync/flows/leader.ts";
import type { EveryOptions, Leader, Leadership } from "../../sync/mod.ts";
import { leader as protocol } from "../../sync/protocols.ts";
import { checkSignal, type WaitOptions } from "../../wait/options.ts";
import type { Remote } from "../remote.ts";
import type { RemoteEngine } from "./engine.ts";
import { RemoteGuard, RemotePrimitive, runWith, showRemote } from "./primitive.ts";

const campaign: Action = (name) => `lead by ${name}`;
const resign = { step: protocol.resign, action: (name: string) => `resign from ${name}` };

/** The leadership of a session. */
class RemoteLeadership extends RemoteGuard implements Remote<Leadership> {
  readonly term: number;
  readonly #ended = new AbortController();

  constructor(engine: RemoteEngine, term: number) {
    super(engine, resign);
    this.term = term;
  }

  /** The older name of `lost`. */
  get signal(): AbortSignal {
    return this.lost;
  }

  /** Fires when it is released. */
  get ended(): AbortSignal {
    return this.#ended.signal;
  }

  override async release(): Promise<void> {
    this.#ended.abort();
    await super.release();
  }
}

/** A leader on a server. */
export class RemoteLeader extends RemotePrimitive implements Remote<Leader> {
  static {
    showRemote("Remote<Leader>", this.prototype);
  }

  async campaign(options?: WaitOptions): Promise<RemoteLeadership> {
    const { engine } = this;
    const { term } = await engine.drive(flows.campaign(protocol), campaign, options);
    return new RemoteLeadership(engine, term);
  }

  async tryCampaign(): Promise<RemoteLeadership | undefined> {
    const { engine } = this;
    const { result, term } = await engine.drive(flows.tryCampaign(protocol), campaign);
    return result === undefined ? undefined : new RemoteLeadership(engine, term);
  }

  run<Result>(
    run: (leadership: Leadership) => Result | Promise<Result>,
    options?: WaitOptions,
  ): Promise<Result> {
    return runWith(() => this.campaign(options), run);
  }

  /** Ends only by its signal: a lost session or a removed object is an error, as nobody may lead then. */
  async every(
    milliseconds: number,
    task: (leadership: Leadership) => unknown,
    options: EveryOptions = {},
  ): Promise<void> {
    checkOptions(options);
    const immediate = checkFlag(options.immediate, "immediate") ?? false;
    const signal = checkSignal(options.signal);
    checkInteger(milliseconds, 1, 0x7fffffff, `do something every ${milliseconds} milliseconds`);
    checkFunction(task, "task");
    let due = 0;
    while (!signal?.aborted) {
      const leadership = await this.#campaignUntil(signal);
      if (leadership === undefined) return;
      const { lost, ended } = leadership;
      const ends = AbortSignal.any([lost, ended, ...(signal ? [signal] : [])]);
      try {
        const now = performance.now();
        due = immediate ? Math.max(due, now) : now + milliseconds;
        while (await sleep(due - performance.now(), ends)) {
          await task(leadership as unknown as Leadership);
          due = Math.max(due + milliseconds, performance.now());
        }
        if (lost.aborted && !signal?.aborted) throw lost.reason;
      } finally {
        await leadership.release();
      }
    }
  }

  async #campaignUntil(signal: AbortSignal | undefined): Promise<RemoteLeadership | undefined> {
    try {
      return await this.campaign({ signal });
    } catch (error) {
      if (signal?.aborted) return undefined;
      throw error;
    }
  }
}

/** Waits for some milliseconds; false if it was ended. */
function sleep(milliseconds: number, ends: AbortSignal): Promise<boolean> {
  if (ends.aborted) return Promise.resolve(false);
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      resolve(false);
    };
    const timer = setTimeout(() => {
      ends.removeEventListener("abort", end);
      resolve(true);
    }, Math.max(Math.ceil(milliseconds), 0));
    ends.addEventListener("abort", end, { once: true });
  });
}
