/**
 * How long to look before sleeping, and how to pass the time.
 *
 * @module
 */

const cpus = navigator.hardwareConcurrency ?? 2;

/** How often to look at a lock that is held: its holder needs but moments, unless there is one CPU. */
export const SPINS: number = cpus > 1 ? 200 : 0;

/** How long to look for a message or for room before sleeping, in microseconds. */
const PATIENCE = cpus > 1 ? 30 : 0;
/** The shortest and the longest pause between two looks. */
const SHORTEST = 1;
const LONGEST = 8;

let sink = 0;
let turnsPerMicrosecond = 0;

function idle(turns: number): void {
  let x = sink;
  for (let i = turns; i > 0; i--) x = (x + i) | 0;
  sink = x;
}

/** Passes some microseconds. */
function pass(microseconds: number): void {
  if (turnsPerMicrosecond === 0) turnsPerMicrosecond = measure();
  idle((microseconds * turnsPerMicrosecond) | 0);
}

function measure(): number {
  for (let i = 0; i < 20; i++) idle(10_000);
  const start = performance.now();
  idle(400_000);
  return Math.max(400 / (performance.now() - start), 1);
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

  /** Pauses; returns whether there is patience left. If not, it is time to sleep. */
  wait(): boolean {
    if (this.#waited >= PATIENCE) {
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
    if (PATIENCE === 0) return;
    this.paused = true;
    pass(this.#pause);
  }

  /** Learns how many could be moved at once after a pause, of as many as there can be. */
  found(count: number, most: number): void {
    this.paused = false;
    this.#waited = 0;
    if (count < 2 || count > most / 2) this.#pause = Math.max(this.#pause / 2, SHORTEST);
    else if (count < 64) this.#pause = Math.min(this.#pause * 2, LONGEST);
  }
}
