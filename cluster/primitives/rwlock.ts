/**
 * Many readers or one writer across hosts.
 *
 * @module
 */

import { checkOptions, checkWord } from "../../ffi/check.ts";
import type { Action } from "../../ipc/steps.ts";
import * as flows from "../../sync/flows/rwlock.ts";
import type { RwLock, RwLockGuard, RwLockOptions, RwLockState } from "../../sync/mod.ts";
import { rwlock as protocol } from "../../sync/protocols.ts";
import type { WaitOptions } from "../../wait/options.ts";
import type { Remote } from "../remote.ts";
import type { ClusterSemaphores } from "../semaphores.ts";
import type { RemoteEngine } from "./engine.ts";
import { RemoteGuard, RemotePrimitive, runWith, showRemote } from "./primitive.ts";

const lockToRead: Action = (name) => `lock ${name} for reading`;
const lockToWrite: Action = (name) => `lock ${name} for writing`;
const unlock: Action = (name) => `unlock ${name}`;
const upgrade: Action = (name) => `upgrade a guard of ${name}`;
const downgrade: Action = (name) => `downgrade a guard of ${name}`;
const ends = {
  read: { step: protocol.endRead, action: unlock },
  write: { step: protocol.endWrite, action: unlock },
};

/** The hold of a lock of readers and writers. */
class RemoteRwLockGuard extends RemoteGuard implements Remote<RwLockGuard> {
  #mode: "read" | "write";

  constructor(engine: RemoteEngine, mode: "read" | "write") {
    super(engine, ends[mode]);
    this.#mode = mode;
  }

  get mode(): "read" | "write" {
    return this.#mode;
  }

  async tryUpgrade(): Promise<boolean> {
    if (
      this.#mode === "read" && await this.change(flows.tryUpgrade(protocol), upgrade, ends.write)
    ) {
      this.#mode = "write";
    }
    return this.#mode === "write";
  }

  async downgrade(): Promise<void> {
    if (
      this.#mode === "write" && await this.change(flows.downgrade(protocol), downgrade, ends.read)
    ) {
      this.#mode = "read";
    }
  }
}

/** A lock of readers and writers on a server. */
export class RemoteRwLock extends RemotePrimitive implements Remote<RwLock> {
  readonly prefer: "writers" | "readers";

  constructor(set: ClusterSemaphores, prefer: "writers" | "readers") {
    super(set);
    this.prefer = prefer;
  }

  static {
    showRemote("Remote<RwLock>", this.prototype, ({ prefer }) => ({ prefer }));
  }

  async state(): Promise<RwLockState> {
    const [readers, writer, queued] = await this.engine.set.read();
    return { readers: readers!, writing: writer !== 0, queued: queued! };
  }

  async read(options?: WaitOptions): Promise<RemoteRwLockGuard> {
    const { engine } = this;
    await engine.run(flows.read(protocol, this.#yields), lockToRead, options);
    return new RemoteRwLockGuard(engine, "read");
  }

  async tryRead(): Promise<RemoteRwLockGuard | undefined> {
    const { engine } = this;
    const may = await engine.run(flows.tryRead(protocol, this.#yields), lockToRead);
    return may ? new RemoteRwLockGuard(engine, "read") : undefined;
  }

  async write(options?: WaitOptions): Promise<RemoteRwLockGuard> {
    const { engine } = this;
    await engine.run(flows.write(protocol), lockToWrite, options);
    return new RemoteRwLockGuard(engine, "write");
  }

  async tryWrite(): Promise<RemoteRwLockGuard | undefined> {
    const { engine } = this;
    const may = await engine.run(flows.tryWrite(protocol), lockToWrite);
    return may ? new RemoteRwLockGuard(engine, "write") : undefined;
  }

  runRead<Result>(
    run: (guard: RwLockGuard) => Result | Promise<Result>,
    options?: WaitOptions,
  ): Promise<Result> {
    return runWith(() => this.read(options), run);
  }

  runWrite<Result>(
    run: (guard: RwLockGuard) => Result | Promise<Result>,
    options?: WaitOptions,
  ): Promise<Result> {
    return runWith(() => this.write(options), run);
  }

  get #yields(): boolean {
    return this.prefer === "writers";
  }
}

/** Checked before anything is opened. */
export function preferOf(options: RwLockOptions): "writers" | "readers" {
  checkOptions(options);
  return checkWord(options.prefer ?? "writers", ["writers", "readers"], "prefer");
}
