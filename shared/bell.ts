/**
 * The bell of a place, on which promises of one handle sleep.
 *
 * @module
 */

import type { FoundSet } from "../ipc/set_handle.ts";
import { waitOf } from "../ipc/steps.ts";
import { follow } from "../wait/cancel.ts";
import { wait } from "../wait/line.ts";
import type { WaitOptions } from "../wait/options.ts";
import type { Wait } from "../wait/waiter.ts";
import type { Step } from "../sync/protocols.ts";
import type { Failure } from "./flow.ts";
import { Sleepers } from "./sleepers.ts";

/** A bell, which rings for all that sleep on it: each looks again. */
export class Bell {
  readonly #set: FoundSet;
  readonly #step: Step;
  readonly #sleepers = new Sleepers();
  #isListening = false;
  /** Ends the wait for the bell, as nobody sleeps on it any more. */
  #quit!: AbortController;
  #wait!: Wait<void>;

  /** Makes a bell of the step that is possible once it has rung. */
  constructor(set: FoundSet, step: Step) {
    this.#set = set;
    this.#step = step;
    this.#prepare();
  }

  #prepare(): void {
    const { signal } = this.#quit = new AbortController();
    // A follower for good: to begin and to end listening to a signal takes longer than all else of a wait.
    follow(signal, { cancel() {} });
    this.#wait = waitOf(this.#set, this.#step, signal, sleeping, () => this.wake());
  }

  /** Whether one sleeps until a gate opens. */
  has(gate: number): boolean {
    return this.#sleepers.has(gate);
  }

  /** Has all who sleep look again. */
  wake(): void {
    this.#sleepers.wakeAll();
  }

  /** Calls back, later, once it has rung, or with a failure as the time is up or the signal is aborted. */
  sleep(gate: number, options: WaitOptions, then: (failure?: Failure) => void): void {
    const end = (failure?: Failure) => {
      then(failure);
      if (failure !== undefined && this.#sleepers.size === 0) this.#quit.abort();
    };
    this.#sleepers.add(options, end, gate);
    if (this.#isListening) return;
    this.#isListening = true;
    void this.#listen();
  }

  /** Waits for the bell as long as anybody sleeps on it. */
  async #listen(): Promise<void> {
    while (this.#sleepers.size > 0) {
      const { signal } = this.#quit;
      try {
        signal.throwIfAborted();
        this.#set.handle.check();
        await wait(this.#wait);
      } catch (reason) {
        if (signal.aborted) this.#prepare();
        else this.#sleepers.wakeAll({ reason });
      }
    }
    this.#isListening = false;
  }
}

const sleeping = (name: string) => `sleep on ${name}`;
