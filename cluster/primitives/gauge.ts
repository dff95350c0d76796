/**
 * How many are at something, across hosts.
 *
 * @module
 */

import { checkInteger } from "../../ffi/check.ts";
import * as flows from "../../sync/flows/gauge.ts";
import type { Gauge } from "../../sync/mod.ts";
import { gauge as protocol } from "../../sync/protocols.ts";
import type { WaitOptions } from "../../wait/options.ts";
import type { Remote } from "../remote.ts";
import { RemoteGuard, RemotePrimitive, showRemote } from "./primitive.ts";

/** A gauge on a server. */
export class RemoteGauge extends RemotePrimitive implements Remote<Gauge> {
  static {
    showRemote("Remote<Gauge>", this.prototype);
  }

  get value(): Promise<number> {
    return this.engine.set.read().then((values) => values[protocol.value]!);
  }

  async enter(by = 1): Promise<RemoteGuard> {
    checkInteger(by, 1, protocol.most, `enter the gauge by ${by}`);
    const { engine } = this;
    if (await engine.run(flows.enter(protocol, by), (name) => `enter ${name} by ${by}`)) {
      return new RemoteGuard(engine, {
        step: protocol.leave(by),
        action: (name) => `leave ${name}`,
      });
    }
    throw new RangeError(
      `Cannot enter ${engine.name} by ${by}: it counts no more than ${protocol.most}`,
    );
  }

  async waitForIdle(options?: WaitOptions): Promise<void> {
    const flow = flows.waitForIdle(protocol);
    await this.engine.run(flow, (name) => `wait for ${name} to be idle`, options);
  }

  async waitForAtLeast(least: number, options?: WaitOptions): Promise<void> {
    checkInteger(least, 1, protocol.most, `wait for the gauge to reach ${least}`);
    const flow = flows.waitForAtLeast(protocol, least);
    await this.engine.run(flow, (name) => `wait for ${name} to reach ${least}`, options);
  }

  async waitForAtMost(limit: number, options?: WaitOptions): Promise<void> {
    checkInteger(limit, 0, protocol.most - 1, `wait for the gauge to fall to ${limit}`);
    const flow = flows.waitForAtMost(protocol, limit);
    await this.engine.run(flow, (name) => `wait for ${name} to fall to ${limit}`, options);
  }
}
