/**
 * Finds the jobs of the dead.
 *
 * @module
 */

import type { Jobs } from "./jobs.ts";
import type { Members } from "./members.ts";

/** How often a consumer that is never out of work looks for jobs of the dead, in milliseconds. */
const CHECK_INTERVAL = 100;

/** Makes right what the dead have left in a table of jobs, as one handle does with the lock. */
export class Reclaimer {
  readonly #members: Members;
  readonly #jobs: Jobs;
  readonly #now: () => number;
  #checkedAt = -Infinity;

  /** Makes one for a handle. */
  constructor(members: Members, jobs: Jobs, now: () => number = () => performance.now()) {
    this.#members = members;
    this.#jobs = jobs;
    this.#now = now;
    members.protocol.disown = (place) => jobs.disown(place);
  }

  /** Follows the lock, with which so many have died: before anything else is done with it. */
  settle(deaths: number): void {
    if (deaths > 0) this.#jobs.rebuild();
  }

  /** Comes before a job is taken: jobs of the dead go first, so even who is never out of work looks. */
  look(): void {
    if (!this.#jobs.takeDisowned() && !this.#isDue()) return;
    const { protocol, semaphores } = this.#members;
    const values = semaphores.values;
    this.#jobs.reclaim((place) => place === 0 || !(values[protocol.alive(place)]! > 0));
  }

  #isDue(): boolean {
    if (this.#jobs.claimed === 0) return false;
    const now = this.#now();
    if (this.#jobs.waiting > 0 && !(now - this.#checkedAt >= CHECK_INTERVAL)) return false;
    this.#checkedAt = now;
    return true;
  }
}
