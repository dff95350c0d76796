/**
 * Numbers for tuples of integers, equal tuples having the same: what keeps millions of states small.
 *
 * @module
 */

/** Tuples of one width, numbered in the order in which they came. */
export class Tuples {
  /** How many there are. */
  size = 0;
  readonly #width: number;
  #data: Int32Array;
  /** Open addressing: the number of a tuple and 1, or 0. */
  #table = new Int32Array(1 << 10);

  /** Makes an empty collection. */
  constructor(width: number) {
    this.#width = width;
    this.#data = new Int32Array(width << 8);
  }

  /** One integer of a tuple. */
  at(number: number, index: number): number {
    return this.#data[number * this.#width + index]!;
  }

  /** Copies a tuple. */
  copy(number: number, to: Int32Array): void {
    const from = number * this.#width;
    for (let i = 0; i < this.#width; i++) to[i] = this.#data[from + i]!;
  }

  /** The number of a tuple, which is added unless it is known. */
  add(tuple: ArrayLike<number>): number {
    const mask = this.#table.length - 1;
    let place = hashOf(tuple, 0, this.#width) & mask;
    for (;; place = (place + 1) & mask) {
      const known = this.#table[place]!;
      if (known === 0) break;
      if (this.#isEqual(known - 1, tuple)) return known - 1;
    }
    return this.#append(tuple, place);
  }

  #isEqual(number: number, tuple: ArrayLike<number>): boolean {
    const from = number * this.#width;
    for (let i = 0; i < this.#width; i++) if (this.#data[from + i] !== tuple[i]) return false;
    return true;
  }

  #append(tuple: ArrayLike<number>, place: number): number {
    const number = this.size++;
    const from = number * this.#width;
    if (from + this.#width > this.#data.length) this.#data = grown(this.#data);
    for (let i = 0; i < this.#width; i++) this.#data[from + i] = tuple[i]!;
    this.#table[place] = this.size;
    if (2 * this.size > this.#table.length) this.#spread();
    return number;
  }

  #spread(): void {
    const mask = 2 * this.#table.length - 1;
    const table = new Int32Array(mask + 1);
    for (let number = 0; number < this.size; number++) {
      let place = hashOf(this.#data, number * this.#width, this.#width) & mask;
      while (table[place] !== 0) place = (place + 1) & mask;
      table[place] = number + 1;
    }
    this.#table = table;
  }
}

/** Integers in a row, of which there come ever more. */
export class Row {
  /** How many there are. */
  length = 0;
  #data = new Int32Array(1 << 10);

  /** One of them. */
  at(index: number): number {
    return this.#data[index]!;
  }

  /** Appends one. */
  push(value: number): void {
    if (this.length === this.#data.length) this.#data = grown(this.#data);
    this.#data[this.length++] = value;
  }
}

function grown(data: Int32Array): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(2 * data.length);
  larger.set(data);
  return larger;
}

function hashOf(data: ArrayLike<number>, from: number, width: number): number {
  let hash = 0;
  for (let i = from; i < from + width; i++) {
    hash = Math.imul(hash ^ data[i]!, 0x9e3779b1);
    hash ^= hash >>> 15;
  }
  hash = Math.imul(hash, 0x85ebca6b);
  return (hash ^ (hash >>> 13)) >>> 0;
}
