/**
 * The semaphores that a primitive is made of, in the kernel or elsewhere: flows are driven on them.
 *
 * @module
 */

import type { WaitLimits } from "../wait/options.ts";
import { type ErrorCode, ipcError } from "../ffi/error.ts";
import { internal } from "../ipc/internal.ts";
import type { Watched } from "../ipc/removal_watch.ts";
import { SemaphoreSet } from "../ipc/semaphore_set.ts";
import type { FoundSet } from "../ipc/set_handle.ts";
import type { SetKind } from "../ipc/set_tag.ts";
import {
  type Action,
  operate,
  operateSync,
  type PackedStep,
  packStep,
  readValues,
  tryLate,
  tryOperate,
  tryPacked,
} from "../ipc/steps.ts";
import { checkSemaphores, type SemaphoreArray } from "./array.ts";
import { isRemoved, type Target } from "./flow.ts";
import { type Local, localOf } from "./local.ts";
import { impossible, type Step } from "./protocols.ts";

/** The semaphores of a primitive. */
export class Engine implements Target, Watched {
  /** What this thread holds of the primitive. */
  readonly local: Local;
  readonly #array: SemaphoreArray;
  readonly #kind: SetKind;
  /** The set, if they are in the kernel. */
  readonly #found: FoundSet | undefined;

  /** Makes an engine of the semaphores of a primitive of this kind. */
  constructor(array: SemaphoreArray, kind: SetKind) {
    if (!(array instanceof SemaphoreSet)) checkSemaphores(array);
    this.#array = array;
    this.#kind = kind;
    this.#found = array instanceof SemaphoreSet ? array.found(internal) : undefined;
    this.local = localOf(array);
  }

  /** The set in the kernel; throws if they are elsewhere, where no answer comes at once. */
  get set(): SemaphoreSet {
    if (this.#array instanceof SemaphoreSet) return this.#array;
    throw new TypeError(
      "Cannot do this with these semaphores: expected a SemaphoreSet: only the kernel answers at once",
    );
  }

  /** Whether they are in the kernel. */
  get isKernel(): boolean {
    return this.#found !== undefined;
  }

  /** Names the primitive in messages. */
  get name(): string {
    return this.#found?.handle.name ?? `the ${this.#kind}`;
  }

  get #kernel(): FoundSet {
    return this.#found ?? this.set.found(internal);
  }

  tryStep(step: Step, action: Action, late: boolean): boolean | Promise<boolean> {
    if (this.#found === undefined) return this.#array.tryOperate(step);
    return this.tryStepSync(step, action, late);
  }

  tryStepSync(step: Step, action: Action, late: boolean): boolean {
    const set = this.#kernel;
    return late ? tryLate(set, packStep(step), action) : tryOperate(set, step, action);
  }

  /** Performs a step that was packed before, if it is possible now; false for semaphores elsewhere. */
  tryPacked(step: PackedStep, action: Action): boolean {
    return this.#found !== undefined && tryPacked(this.#found, step, action);
  }

  wait(step: Step, action: Action, limits: WaitLimits): void | Promise<void> {
    if (this.#found === undefined) return this.#array.operate(step, limits);
    return operate(this.#found, step, limits, action);
  }

  waitSync(step: Step, action: Action, limits: WaitLimits): void {
    operateSync(this.#kernel, step, limits, action);
  }

  read(): readonly number[] | Promise<readonly number[]> {
    return this.#found === undefined ? this.#array.read() : readValues(this.#found);
  }

  readSync(): readonly number[] {
    return readValues(this.#kernel);
  }

  giveBack(step: Step, action: Action): void {
    if (this.#found === undefined) settle(this.#array.tryOperate(step));
    else this.giveBackPacked(packStep(step), action);
  }

  /** The same with a step that was packed before, for semaphores in the kernel. */
  giveBackPacked(step: PackedStep, action: Action): void {
    try {
      if (tryLate(this.#kernel, step, action)) return;
    } catch (error) {
      return ignoreRemoval(error);
    }
    throw this.error("EAGAIN", action, "somebody else has set its values: nothing is given back");
  }

  /** Does what the kernel would at the death of this process, as far as it can be done. */
  undo(step: PackedStep): void {
    if (this.#found === undefined) return;
    try {
      tryLate(this.#found, step, () => "");
    } catch {
      // It is removed, or this user may not change it any more: the program ends anyway.
    }
  }

  spoilt(values: readonly number[], action: Action): Error {
    const reason = `its values ${values.join(", ")} are none that it can have: remove it`;
    return this.error("EINVAL", action, reason);
  }

  /** Makes an error that the primitive, not the kernel, found. */
  error(code: ErrorCode, action: Action, reason: string): Error {
    const { id, key } = this.#found?.handle ?? {};
    return ipcError(code, action(this.name), { syscall: "semop", id, key, reason });
  }

  /** The process that took a semaphore that is 1 while it is free: the last one that operated on it. */
  holderOf(index: number): number | undefined {
    const semaphore = this.set.at(index);
    for (;;) {
      const pid = semaphore.lastPid;
      if (semaphore.value !== 0) return undefined;
      if (semaphore.lastPid === pid) return pid;
    }
  }

  /** A handle of its own to the same semaphores, which owns nothing. */
  reopen(): Disposable & { readonly array: SemaphoreArray } {
    const array = this.#array;
    if (!(array instanceof SemaphoreSet)) return { array, [Symbol.dispose]() {} };
    const again = SemaphoreSet.fromId(array.id, { kind: this.#kind });
    return { array: again, [Symbol.dispose]: () => again[Symbol.dispose]() };
  }

  /** Whether they still exist, if they are in the kernel. */
  get exists(): boolean {
    return this.#kernel.handle.exists;
  }

  /** Makes the reason of the signals of lost holds. */
  lostError(): Error {
    return this.error("EIDRM", (name) => `keep what is held of ${name}`, "it was removed");
  }

  /** Waits until semaphores of another engine are removed: only they can say that they are. */
  get untilRemoved(): Watched["untilRemoved"] {
    if (this.isKernel) return undefined;
    return (signal) => this.#array.operate(impossible, { signal });
  }

  /** Removes the semaphores. */
  remove(): void {
    settle(this.#array.remove());
    this.local.watch.look(this);
  }

  /** Ends the handle, and removes the semaphores if it owns them. */
  dispose(): void {
    if (!(this.#array instanceof SemaphoreSet)) return;
    this.#array[Symbol.dispose]();
    this.local.watch.look(this);
  }
}

/** Drops a promise that nothing waits for, but for failures other than a removal, which stay unhandled. */
function settle(done: unknown): void {
  if (typeof done === "object") Promise.resolve(done).catch(ignoreRemoval);
}

/** Throws an error again unless it says that the semaphores are removed. */
export function ignoreRemoval(error: unknown): void {
  if (!isRemoved(error)) throw error;
}
