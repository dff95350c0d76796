/**
 * The gate of a Worker, behind which its waiter threads stand in a runtime that joins threads: see keeper.ts.
 *
 * @module
 */

import { abi } from "../ffi/platforms.ts";
import type { WorkerHandle } from "../ffi/backend.ts";
import { openLibc } from "../ffi/calls.ts";
import { runtime } from "../ffi/memory.ts";
import { enable, isMainThread, SIGURG, threadNumber, unblock } from "./interrupt.ts";
import { common, keeperCalls, keeperTexts, slots } from "./keeper.ts";
import { cancels, mailbox, orders, type Place } from "./mailbox.ts";
import { textOfThreads } from "./text.ts";

/** How many threads may stand behind a gate: more than can be configured, as those that leave are still there. */
const MAX_SLOTS = 320;
/** How long to wait for a gate to start, in milliseconds. */
const MAX_START = 1000;
/** Where the first mailbox is, behind the common fields. */
const FIRST = 2048;

function texts(): { gate: string; keeper: string } {
  return keeperTexts(runtime(), {
    libraries: abi.libraries,
    table: keeperCalls,
    common,
    slots,
    mailbox,
    orders,
    cancels,
    count: MAX_SLOTS,
    first: FIRST,
    sigurg: SIGURG,
    futex: abi.futex,
    lookMs: 100,
    tickMs: 1000,
    giveBackMs: 50,
    thread: textOfThreads(),
  });
}

/** Returns the time that all threads of the process share, in milliseconds. */
function now(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** The gate of this thread. */
class Gate {
  readonly #memory = new SharedArrayBuffer(FIRST + MAX_SLOTS * mailbox.size);
  readonly #integers = new Int32Array(this.#memory);
  readonly #floats = new Float64Array(this.#memory);
  readonly #worker: WorkerHandle;
  /** Whether it has not started in time. */
  #fails = false;
  /** The threads that keep the program alive. */
  readonly #needed = new Set<WorkerHandle>();

  constructor() {
    const { pthread_self } = openLibc({ pthread_self: keeperCalls.pthread_self });
    this.#integers[common.integers.owner] = threadNumber();
    this.#floats[common.floats.owner] = pthread_self();
    unblock();
    enable();
    const { gate, keeper } = texts();
    this.#worker = runtime().startWorker(gate, { memory: this.#memory, keeper }, () => {});
    this.#worker.unref();
    process.on("exit", () => this.#wake(common.integers.ended));
  }

  /** Whether it has started; blocks until then, as it is on its way. */
  isUp(): boolean {
    const { gate } = common.integers;
    if (this.#fails) return false;
    this.#fails = Atomics.wait(this.#integers, gate, 0, MAX_START) === "timed-out";
    return !this.#fails;
  }

  /** Reserves the place of a thread; undefined if there is none. */
  reserve(): Place | undefined {
    const isFree = (slot: number) =>
      Atomics.load(this.#integers, common.integers.slots + slot) === slots.free;
    for (let slot = 0; slot < MAX_SLOTS; slot++) {
      if (!isFree(slot)) continue;
      const offset = FIRST + slot * mailbox.size;
      new Uint8Array(this.#memory, offset, mailbox.size).fill(0);
      return { memory: this.#memory, offset };
    }
    return undefined;
  }

  /** Starts a thread whose mailbox is ready. */
  start({ offset }: Place): WorkerHandle {
    const slot = (offset - FIRST) / mailbox.size;
    Atomics.store(this.#integers, common.integers.slots + slot, slots.wanted);
    this.#wake(common.integers.wanted);
    const handle = { ref: () => this.#need(handle, true), unref: () => this.#need(handle, false) };
    handle.ref();
    return handle;
  }

  #need(handle: WorkerHandle, isNeeded: boolean): void {
    if (isNeeded) this.#needed.add(handle);
    else this.#needed.delete(handle);
    if (this.#needed.size > 0) this.#worker.ref();
    else this.#worker.unref();
  }

  /** Has this thread interrupted every millisecond once so many milliseconds have passed; never for 0. */
  interruptAfter(milliseconds: number): void {
    this.#floats[common.floats.until] = milliseconds === 0 ? 0 : now() + milliseconds;
    this.#wake(common.integers.wake);
  }

  /** Counts a field up, and wakes the gate or the keeper. */
  #wake(field: number): void {
    const { wake } = common.integers;
    Atomics.add(this.#integers, field, 1);
    if (field !== wake) Atomics.add(this.#integers, wake, 1);
    Atomics.notify(this.#integers, wake);
  }
}

let gate: Gate | undefined;

/** Starts the gate of this thread if it is a Worker of a runtime that joins threads. */
export function startGate(): void {
  if (!runtime().joinsThreads || isMainThread()) return;
  try {
    gate = new Gate();
  } catch {
    // The system has no thread for it: then there are none to keep either.
  }
}

/** Returns the gate of this thread, if it has one. */
export function gateOfThread(): Gate | undefined {
  return gate;
}
