/**
 * A count-down across hosts.
 *
 * @module
 */

import { checkInteger } from "../../ffi/check.ts";
import type { Action } from "../../ipc/steps.ts";
import * as flows from "../../sync/flows/latch.ts";
import type { Latch, LatchOptions } from "../../sync/mod.ts";
import { latch as protocol } from "../../sync/protocols.ts";
import type { WaitOptions } from "../../wait/options.ts";
import type { Remote } from "../remote.ts";
import type { ClusterSemaphores } from "../semaphores.ts";
import { RemotePrimitive, showRemote } from "./primitive.ts";

const MAX_COUNT = 32767;
const wait: Action = (name) => `wait for ${name}`;

/** The values of a latch that starts with a count. */
export function latchValues(count: number): number[] {
  checkInteger(count, 0, MAX_COUNT, `make a latch with a count of ${count}`);
  return protocol.values(count);
}

/** A latch on a server. */
export class RemoteLatch extends RemotePrimitive implements Remote<Latch> {
  /** The count to which it is reset, unless told otherwise. */
  readonly #initial: number;

  constructor(set: ClusterSemaphores, { count }: LatchOptions) {
    super(set);
    this.#initial = count;
  }

  static {
    showRemote("Remote<Latch>", this.prototype);
  }

  get count(): Promise<number> {
    return this.engine.set.read().then((values) => values[protocol.count]!);
  }

  async countDown(by = 1): Promise<boolean> {
    checkInteger(by, 1, MAX_COUNT, `count the latch down by ${by}`);
    return await this.engine.run(
      flows.countDown(protocol, by),
      (name) => `count ${name} down by ${by}`,
    );
  }

  async reset(count: number = this.#initial): Promise<void> {
    checkInteger(count, 0, MAX_COUNT, `reset the latch to ${count}`);
    await this.engine.run(flows.reset(protocol, count), (name) => `reset ${name}`);
  }

  async wait(options?: WaitOptions): Promise<void> {
    await this.engine.run(flows.wait(protocol), wait, options);
  }

  async tryWait(): Promise<boolean> {
    return await this.engine.run(flows.tryWait(protocol), wait);
  }
}
