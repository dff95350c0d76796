/**
 * How states lead to each other.
 *
 * @module
 */

import { Row } from "./tuples.ts";

/** States by their numbers, in the order in which they are found and visited. */
export class Graph {
  /** From where each state was found. */
  readonly #from = new Row();
  /** The states that others lead to by themselves, and for each of those others where they end. */
  readonly #edges = new Row();
  readonly #ends = new Row();
  readonly #resting: number[] = [];

  /** Adds a state that was found from another. */
  found(from: number): void {
    this.#from.push(from);
  }

  /** Adds that the state that is being visited leads to another by itself. */
  lead(to: number): void {
    this.#edges.push(to);
  }

  /** Ends the visit of a state; returns whether it is at rest, as nothing leads away from it. */
  end(number: number): boolean {
    const isResting = this.#edges.length === this.#begin(number);
    this.#ends.push(this.#edges.length);
    if (isResting) this.#resting.push(number);
    return isResting;
  }

  #begin(number: number): number {
    return number === 0 ? 0 : this.#ends.at(number - 1);
  }

  /** The way on which a state was found, without the first. */
  wayTo(number: number): number[] {
    const way: number[] = [];
    for (let at = number; at > 0; at = this.#from.at(at)) way.push(at);
    return way.reverse();
  }

  /** From where a state was found. */
  from(number: number): number {
    return this.#from.at(number);
  }

  /** A state that none leads from, by itself, to one that is at rest. */
  findRestless(): number | undefined {
    const canRest = new Uint8Array(this.#ends.length);
    for (const number of this.#resting) canRest[number] = 1;
    for (let isNew = true; isNew;) {
      isNew = false;
      for (let number = canRest.length - 1; number >= 0; number--) {
        if (canRest[number] === 1 || !this.#leadsTo(number, canRest)) continue;
        canRest[number] = 1;
        isNew = true;
      }
    }
    const restless = canRest.indexOf(0);
    return restless < 0 ? undefined : restless;
  }

  #leadsTo(number: number, those: Uint8Array): boolean {
    const end = this.#ends.at(number);
    for (let edge = this.#begin(number); edge < end; edge++) {
      if (those[this.#edges.at(edge)] === 1) return true;
    }
    return false;
  }
}
