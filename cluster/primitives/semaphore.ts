/**
 * A counting semaphore across hosts.
 *
 * @module
 */

import { checkFlag, checkInteger, checkOptions } from "../../ffi/check.ts";
import type { Permit } from "../../ipc/permit.ts";
import type {
  OperationOptions,
  Semaphore,
  SemaphoreRunOptions,
  UndoOptions,
} from "../../ipc/semaphore.ts";
import type { SemaphoreOperation } from "../../ipc/semop.ts";
import type { WaitOptions } from "../../wait/options.ts";
import type { Remote } from "../remote.ts";
import type { RemoteEngine } from "./engine.ts";
import { RemoteGuard, RemotePrimitive, runWith, showRemote } from "./primitive.ts";

const MAX_VALUE = 32767;

/** What was acquired. */
class RemotePermit extends RemoteGuard implements Remote<Permit> {
  readonly count: number;

  constructor(engine: RemoteEngine, count: number, undo: boolean) {
    super(engine, {
      step: [{ index: 0, delta: count, undo }],
      action: (name) => `release ${count} to ${name}`,
    });
    this.count = count;
  }
}

/** A semaphore on a server. */
export class RemoteSemaphore extends RemotePrimitive implements Remote<Semaphore> {
  static {
    showRemote("Remote<Semaphore>", this.prototype);
  }

  get value(): Promise<number> {
    return this.engine.set.read().then(([value]) => value!);
  }

  async increment(by = 1, options?: UndoOptions): Promise<void> {
    const { undo = false } = checked(options);
    await this.#perform(
      change("increment", by, +1, undo),
      `increment ${this.engine.name} by ${by}`,
    );
  }

  async decrement(by = 1, given?: OperationOptions): Promise<void> {
    const { undo = false, ...options } = checked(given);
    const step = change("decrement", by, -1, undo);
    await this.#perform(step, `decrement ${this.engine.name} by ${by}`, options);
  }

  async tryDecrement(by = 1, options?: UndoOptions): Promise<boolean> {
    const { undo = false } = checked(options);
    return await this.#attempt(
      change("decrement", by, -1, undo),
      `decrement ${this.engine.name} by ${by}`,
    );
  }

  async acquire(count = 1, given?: OperationOptions): Promise<RemotePermit> {
    const { undo = true, ...options } = checked(given);
    const { engine } = this;
    const step = change("acquire", count, -1, undo);
    await this.#perform(step, `acquire ${count} from ${engine.name}`, options);
    return new RemotePermit(engine, count, undo);
  }

  async tryAcquire(count = 1, options?: UndoOptions): Promise<RemotePermit | undefined> {
    const { undo = true } = checked(options);
    const { engine } = this;
    const step = change("acquire", count, -1, undo);
    const may = await this.#attempt(step, `acquire ${count} from ${engine.name}`);
    return may ? new RemotePermit(engine, count, undo) : undefined;
  }

  async run<Result>(
    run: (permit: Permit) => Result | Promise<Result>,
    given?: SemaphoreRunOptions,
  ): Promise<Result> {
    const { count, ...options } = checked(given);
    return await runWith(() => this.acquire(count, options), run);
  }

  async waitForZero(options?: WaitOptions): Promise<void> {
    await this.#perform(isZero, `wait for ${this.engine.name} to be 0`, options);
  }

  async tryWaitForZero(): Promise<boolean> {
    return await this.#attempt(isZero, `look whether ${this.engine.name} is 0`);
  }

  async waitForAtLeast(least: number, options?: WaitOptions): Promise<void> {
    await this.#perform(
      isAtLeast(least),
      `wait for ${this.engine.name} to reach ${least}`,
      options,
    );
  }

  async tryWaitForAtLeast(least: number): Promise<boolean> {
    const step = isAtLeast(least);
    return await this.#attempt(step, `look whether ${this.engine.name} is ${least}`);
  }

  async #perform(
    step: readonly SemaphoreOperation[],
    action: string,
    options?: WaitOptions,
  ): Promise<void> {
    const { set, disposed } = this.engine;
    await set.perform(step, action, options, disposed);
  }

  async #attempt(step: readonly SemaphoreOperation[], action: string): Promise<boolean> {
    return await this.engine.set.attempt(step, action) !== undefined;
  }
}

/** Options, unless they are none. */
function checked<Options extends object>(options: Options | undefined): Partial<Options> {
  checkOptions(options);
  return options ?? {};
}

const isZero: readonly SemaphoreOperation[] = [{ index: 0, delta: 0 }];

function isAtLeast(least: number): SemaphoreOperation[] {
  checkInteger(least, 1, MAX_VALUE, `wait for the semaphore to reach ${least}`);
  return [{ index: 0, delta: -least }, { index: 0, delta: least }];
}

function change(verb: string, by: number, sign: 1 | -1, undo: boolean): SemaphoreOperation[] {
  checkInteger(by, 1, MAX_VALUE, `${verb} the semaphore by ${by}`);
  checkFlag(undo, "undo");
  return [{ index: 0, delta: sign * by, undo }];
}
