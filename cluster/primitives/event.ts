/**
 * Something that has happened or not, across hosts.
 *
 * @module
 */

import type { Action } from "../../ipc/steps.ts";
import * as flows from "../../sync/flows/event.ts";
import type { Event } from "../../sync/mod.ts";
import { event as protocol } from "../../sync/protocols.ts";
import type { WaitOptions } from "../../wait/options.ts";
import type { Remote } from "../remote.ts";
import { RemotePrimitive, showRemote } from "./primitive.ts";

const wait: Action = (name) => `wait for ${name}`;

/** An event on a server. */
export class RemoteEvent extends RemotePrimitive implements Remote<Event> {
  static {
    showRemote("Remote<Event>", this.prototype);
  }

  get isSet(): Promise<boolean> {
    return this.engine.set.read().then((values) => values[protocol.unset] === 0);
  }

  async set(): Promise<boolean> {
    return await this.engine.run(flows.set(protocol), (name) => `set ${name}`);
  }

  async reset(): Promise<boolean> {
    return await this.engine.run(flows.reset(protocol), (name) => `reset ${name}`);
  }

  async wait(options?: WaitOptions): Promise<void> {
    await this.engine.run(flows.wait(protocol), wait, options);
  }

  async tryWait(): Promise<boolean> {
    return await this.engine.run(flows.tryWait(protocol), wait);
  }
}
