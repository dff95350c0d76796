/**
 * A limit on how many use something at once, across hosts.
 *
 * @module
 */

import { checkInteger } from "../../ffi/check.ts";
import type { Action } from "../../ipc/steps.ts";
import * as flows from "../../sync/flows/bulkhead.ts";
import {
  type Bulkhead,
  type BulkheadLimit,
  type BulkheadPermit,
  type BulkheadState,
  BulkheadTimeoutError,
} from "../../sync/mod.ts";
import { bulkhead as protocol } from "../../sync/protocols.ts";
import type { WaitOptions } from "../../wait/options.ts";
import { ignoreGone } from "../errors.ts";
import type { Remote } from "../remote.ts";
import type { ClusterSemaphores } from "../semaphores.ts";
import type { RemoteEngine } from "./engine.ts";
import { RemoteGuard, RemotePrimitive, runWith, showRemote } from "./primitive.ts";

const acquire: Action = (name) => `acquire a ticket of ${name}`;
const register: Action = (name) => `register a worker of ${name}`;
const unregister: Action = (name) => `unregister a worker of ${name}`;

/** The values of a bulkhead that starts with a limit. */
export function bulkheadValues({ tickets, quota }: BulkheadLimit): number[] {
  if (quota === undefined) checkTickets(tickets);
  else if (tickets !== undefined) {
    throw new TypeError("Cannot limit by tickets and quota: expected one of them");
  } else checkQuota(quota);
  return protocol.values(tickets ?? 1);
}

/** Gives the error of a wait for a ticket a class of its own if its time was up. */
function noTicket(error: unknown, signal: AbortSignal | undefined): unknown {
  const late = error instanceof DOMException && error.name === "TimeoutError";
  return late && error !== signal?.reason ? new BulkheadTimeoutError(error.message) : error;
}

/** A ticket. */
class RemotePermit extends RemoteGuard implements Remote<BulkheadPermit> {
  readonly waited: number;

  constructor(engine: RemoteEngine, waited: number) {
    super(engine, { step: protocol.release, action: (name) => `release a ticket of ${name}` });
    this.waited = waited;
  }
}

/** A bulkhead on a server. */
export class RemoteBulkhead extends RemotePrimitive implements Remote<Bulkhead> {
  readonly quota: number | undefined;
  /** Set before the server is asked, so that two calls do not register twice. */
  #registration: Promise<RemoteGuard> | undefined;

  constructor(set: ClusterSemaphores, quota: number | undefined) {
    super(set);
    this.quota = quota;
  }

  static {
    showRemote("Remote<Bulkhead>", this.prototype, ({ quota }) => ({ quota }));
  }

  async register(): Promise<void> {
    const { engine } = this;
    this.#registration ??= engine.run(flows.register(protocol, this.quota), register).then(() =>
      new RemoteGuard(engine, { step: protocol.unregister, action: unregister })
    );
    try {
      await this.#registration;
    } catch (error) {
      this.#registration = undefined;
      throw error;
    }
  }

  async unregister(): Promise<void> {
    const registration = this.#registration;
    if (registration === undefined) return;
    this.#registration = undefined;
    await (await registration).release();
    await this.engine.run(flows.adjust(protocol, this.quota), unregister).catch(ignoreGone);
  }

  async acquire(options?: WaitOptions): Promise<RemotePermit> {
    const start = performance.now();
    const { engine } = this;
    try {
      await engine.run(flows.acquire(protocol, this.quota), acquire, options);
    } catch (error) {
      throw noTicket(error, options?.signal);
    }
    return new RemotePermit(engine, performance.now() - start);
  }

  async tryAcquire(): Promise<RemotePermit | undefined> {
    const start = performance.now();
    const { engine } = this;
    const may = await engine.run(flows.tryAcquire(protocol, this.quota), acquire);
    return may ? new RemotePermit(engine, performance.now() - start) : undefined;
  }

  run<Result>(
    run: (permit: BulkheadPermit) => Result | Promise<Result>,
    options?: WaitOptions,
  ): Promise<Result> {
    return runWith(() => this.acquire(options), run);
  }

  async resize(tickets: number): Promise<void> {
    checkTickets(tickets);
    if (this.quota !== undefined) {
      throw new TypeError("Cannot resize a bulkhead whose rule is a quota");
    }
    const { engine } = this;
    if ((await engine.set.read())[protocol.limit] === tickets) return;
    await engine.run(
      flows.resize(protocol, tickets),
      (name) => `resize ${name} to ${tickets}`,
    );
  }

  async state(): Promise<BulkheadState> {
    const flow = flows.state(protocol, this.quota);
    const [room, limit, workers] = await this.engine.run(flow, (name) => `describe ${name}`);
    return { tickets: limit!, inUse: protocol.floor + limit! - room!, workers: workers! };
  }

  /** Counts this handle off the workers, and ends it. */
  override async [Symbol.asyncDispose](): Promise<void> {
    await this.unregister();
    await super[Symbol.asyncDispose]();
  }

  override [Symbol.dispose](): void {
    this.#registration?.then((guard) => guard.release());
    this.#registration = undefined;
    super[Symbol.dispose]();
  }
}

function checkTickets(tickets: number | undefined): void {
  checkInteger(tickets!, 1, protocol.floor, `make a bulkhead of ${tickets} tickets`);
}

/** Checks a share of the workers. */
export function checkQuota(quota: number | undefined): void {
  if (quota === undefined || (typeof quota === "number" && quota > 0 && quota <= 1)) return;
  const message = `Cannot give out a share of ${quota}: expected more than 0 and at most 1`;
  throw typeof quota === "number" ? new RangeError(message) : new TypeError(message);
}
