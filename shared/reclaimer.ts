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
  /** Places that were just taken, whose last owners may have left jobs. */
  readonly #inherited: number[] = [];
  #checkedAt = -Infinity;

  /** Makes one for a handle. */
  constructor(members: Members, jobs: Jobs, now: () => number = () => performance.now()) {
    this.#members = members;
    this.#jobs = jobs;
    this.#now = now;
    members.seat.onSit = members.promises.onSit = (place) => this.#inherited.push(place);
  }

  /** Follows the lock, with which so many have died: before anything else is done with it. */
  settle(deaths: number): void {
    if (deaths === 0 && this.#inherited.length === 0) return;
    const places = this.#inherited.splice(0);
    this.#jobs.reclaim((place) => places.includes(place), deaths > 0);
  }

  /** Comes before a job is taken: jobs of the dead go first, so even who is never out of work looks. */
  look(): void {
    if (this.#jobs.claimed === 0) return;
    const now = this.#now();
    if (this.#jobs.waiting > 0 && !(now - this.#checkedAt >= CHECK_INTERVAL)) return;
    this.#checkedAt = now;
    const { protocol, semaphores } = this.#members;
    const values = semaphores.values;
    this.#jobs.reclaim((place) => !(values[protocol.alive(place)]! > 0), false);
  }
}
