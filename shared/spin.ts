/**
 * How long to look before sleeping, and how to pass the time.
 *
 * @module
 */

/** How often to look at a lock that is held: its holder needs but moments. */
export const SPINS = 200;

/** How long to look for a message or for room before sleeping, in microseconds. */
const PATIENCE = 30;
/**
 * How long where looking has not helped, as the others need longer, or need this very processor. Which are
 * there does not tell: a process that may use but one may share work with one that uses another.
 */
const IMPATIENCE = 4;
/** The shortest and the longest pause between two looks. */
const SHORTEST = 1;
const LONGEST = 8;

let sink = 0;

/** Does nothing that another processor could notice. */
function idle(): void {
  let x = sink;
  for (let i = 50; i > 0; i--) x = (x + i) | 0;
  sink = x;
}

/** Passes some microseconds: by the clock, as a loop is fifty times slower until it is compiled. */
function pass(microseconds: number): void {
  const end = performance.now() + microseconds / 1000;
  do idle(); while (performance.now() < end);
}

/**
 * How long to pause before looking again: each look slows the other side down, so pauses grow until a
 * few messages have come together, as long as nothing is lost by it.
 */
export class Pace {
  /** Whether it has paused since something was found last. */
  paused = false;
  #pause = SHORTEST;
  #waited = 0;
  #patience = PATIENCE;

  /** Pauses; returns whether there is patience left. If not, it is time to sleep. */
  wait(): boolean {
    if (this.#waited >= this.#patience) {
      this.#patience = Math.max(this.#patience / 2, IMPATIENCE);
      this.#waited = 0;
      this.#pause = SHORTEST;
      this.paused = false;
      return false;
    }
    this.#waited += this.#pause;
    this.paused = true;
    pass(this.#pause);
    return true;
  }

  /** Pauses once: one that only tries, again and again, would slow the other side by each look. */
  once(): void {
    this.paused = true;
    pass(this.#pause);
  }

  /** Learns how many could be moved at once after a pause, of as many as there can be. */
  found(count: number, most: number): void {
    this.paused = false;
    this.#waited = 0;
    this.#patience = PATIENCE;
    if (count < 2 || count > most / 2) this.#pause = Math.max(this.#pause / 2, SHORTEST);
    else if (count < 64) this.#pause = Math.min(this.#pause * 2, LONGEST);
  }
}
