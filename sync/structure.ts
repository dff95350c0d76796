/**
 * What the primitives have in common: semaphores of their own kind, and what is held of them.
 *
 * @module
 */

import { SemaphoreSet } from "../ipc/semaphore_set.ts";
import type { SetKind } from "../ipc/set_tag.ts";
import type { SemaphoreArray } from "./array.ts";
import type { Step } from "./protocols.ts";

/** The semaphores of a primitive. */
export class Structure {
  /** The semaphores, of whatever engine. */
  readonly array: SemaphoreArray;
  readonly #kind: SetKind;

  /** Makes a structure of semaphores. */
  constructor(array: SemaphoreArray, kind: SetKind) {
    this.array = array;
    this.#kind = kind;
  }

  /** The set in the kernel, which alone answers at once. */
  get set(): SemaphoreSet {
    if (this.array instanceof SemaphoreSet) return this.array;
    throw new TypeError(
      "Cannot do this with these semaphores: expected a SemaphoreSet, as only the kernel answers at once",
    );
  }

  /**
   * Performs a step that gives something back, and so never waits: even if the handle is disposed
   * meanwhile, and in vain once the semaphores are removed.
   */
  giveBack(step: Step): void {
    const { array } = this;
    try {
      settle(array.tryOperate(step));
    } catch (error) {
      if (error instanceof ReferenceError && array instanceof SemaphoreSet) {
        this.#giveBackTo(array.id, step);
      } else ignoreRemoval(error);
    }
  }

  #giveBackTo(id: number, step: Step): void {
    try {
      using set = SemaphoreSet.fromId(id, { kind: this.#kind });
      set.tryOperate(step);
    } catch (error) {
      ignoreRemoval(error);
    }
  }

  /** The process that took a semaphore which is 1 if nobody has: whoever operated on it last. */
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
    const { array } = this;
    if (!(array instanceof SemaphoreSet)) return { array, [Symbol.dispose]() {} };
    const again = SemaphoreSet.fromId(array.id, { kind: this.#kind });
    return { array: again, [Symbol.dispose]: () => again[Symbol.dispose]() };
  }

  /** Says that something was taken, and how it is given back: a step, or what makes it then. */
  guard(step: Step | (() => Step)): Guard {
    return new Guard(() => this.giveBack(typeof step === "function" ? step() : step));
  }

  /** Removes the semaphores. */
  remove(): void {
    settle(this.array.remove());
  }

  /** Ends the handle, and removes the semaphores if it owns them. */
  dispose(): void {
    if (this.array instanceof SemaphoreSet) this.array[Symbol.dispose]();
  }
}

/** Sees to what nobody waits for: what fails otherwise than by a removal is to be noticed. */
function settle(done: unknown): void {
  if (typeof done === "object") Promise.resolve(done).catch(ignoreRemoval);
}

/** Throws an error again unless it says that the semaphores are removed. */
export function ignoreRemoval(error: unknown): void {
  if (!isRemoved(error)) throw error;
}

/** Whether an error says that the semaphores are removed. */
export function isRemoved(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "EIDRM";
}

/** Checks that something can be called. */
export function checkFunction(value: unknown): void {
  if (typeof value === "function") return;
  throw new TypeError(`Cannot run ${String(value)}: expected a function`);
}

/**
 * What was taken of a primitive. Releasing gives it back, once; if the process dies first, the
 * kernel does.
 *
 * @example
 * ```ts
 * import { RwLock } from "@sysv/ipc/sync";
 * import { assertEquals } from "@std/assert";
 *
 * using lock = RwLock.create();
 * {
 *   using _guard = lock.readSync();
 *   assertEquals(lock.state().readers, 1);
 * }
 * assertEquals(lock.state().readers, 0);
 * ```
 */
export class Guard implements Disposable {
  #release: (() => void) | undefined;

  /**
   * Creates a guard of a function that gives back.
   *
   * @param release The function, called once.
   */
  constructor(release: () => void) {
    this.#release = release;
  }

  /**
   * Gives back what was taken, even after the primitive's handle is disposed. Does nothing the
   * second time, nor once the primitive is removed.
   */
  release(): void {
    const release = this.#release;
    this.#release = undefined;
    release?.();
  }

  /** Releases, so that `using` does. */
  [Symbol.dispose](): void {
    this.release();
  }
}
