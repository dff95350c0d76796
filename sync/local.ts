/**
 * What this thread holds of each primitive, by whichever handle: so that a blocking call can see that it would
 * wait for its own thread.
 *
 * @module
 */

import { RemovalWatch } from "../ipc/removal_watch.ts";
import { SemaphoreSet } from "../ipc/semaphore_set.ts";
import type { Action } from "../ipc/steps.ts";
import type { SemaphoreArray } from "./array.ts";
import type { Engine } from "./engine.ts";
import type { Party } from "./flows/barrier.ts";

/** What this thread holds of one primitive. */
export class Local {
  /** How much is held: by guards, or of tickets, entries, reads. */
  held = 0;
  /** How many write, of a lock of readers and writers. */
  writing = 0;
  /** How many handles are registered as workers. */
  registered = 0;
  /** How many promises to hold it are not settled, but for those to read. */
  pending = 0;
  /** How many promises to read are not settled. */
  reads = 0;
  /** The parties to a barrier. */
  readonly parties: Set<Party> = new Set();
  /** The signals to fire when it is removed. */
  readonly watch: RemovalWatch = new RemovalWatch();

  /** Counts a promise until it is settled. */
  async pend<Result>(
    promise: Promise<Result>,
    as: "pending" | "reads" = "pending",
  ): Promise<Result> {
    this[as]++;
    try {
      return await promise;
    } finally {
      this[as]--;
    }
  }

  /** Refuses to block for what this thread has, or is about to have; of `reads`, too, if told so. */
  refuseDeadlock(engine: Engine, action: Action, reads?: "reads"): void {
    if (this.held + this.writing > 0) throw this.deadlock(engine, action);
    if (this.pending + (reads === undefined ? 0 : this.reads) > 0) {
      const reason = "this thread waits for it in a promise: await that first";
      throw engine.error("EDEADLK", action, reason);
    }
  }

  /** The error of a thread that would wait for itself. */
  deadlock(engine: Engine, action: Action): Error {
    return engine.error("EDEADLK", action, "this thread holds it: release it first");
  }
}

/** By identifier. A record goes with the last handle and the last guard. */
const sets = new Map<number, WeakRef<Local>>();
const arrays = new WeakMap<SemaphoreArray, Local>();
const gone = new FinalizationRegistry<number>((id) => {
  if (sets.get(id)?.deref() === undefined) sets.delete(id);
});

/** Finds what this thread holds of the primitive that is made of these semaphores. */
export function localOf(array: SemaphoreArray): Local {
  if (!(array instanceof SemaphoreSet)) {
    const local = arrays.get(array) ?? new Local();
    arrays.set(array, local);
    return local;
  }
  const known = sets.get(array.id)?.deref();
  if (known !== undefined) return known;
  const local = new Local();
  sets.set(array.id, new WeakRef(local));
  gone.register(local, array.id);
  return local;
}
