/**
 * Numbers for tuples of integers, equal tuples having the same: what keeps millions of states small.
 *
 * @module
 */

/** How many there are in a chunk: where all stood together, they would be twice there as they grow. */
const BITS = 12;
const CHUNK = 1 << BITS;

/** Tuples of one width, numbered in the order in which they came. */
export class Tuples {
  /** How many there are. */
  size = 0;
  readonly #width: number;
  readonly #chunks: Int32Array[] = [];
  /** Open addressing: the number of a tuple and 1, or 0. */
  #table = new Int32Array(1 << 10);

  /** Makes an empty collection. */
  constructor(width: number) {
    this.#width = width;
  }

  /** One integer of a tuple. */
  at(number: number, index: number): number {
    return this.#chunks[number >> BITS]![this.#from(number) + index]!;
  }

  /** Copies a tuple. */
  copy(number: number, to: Int32Array): void {
    const [chunk, from] = [this.#chunks[number >> BITS]!, this.#from(number)];
    for (let i = 0; i < this.#width; i++) to[i] = chunk[from + i]!;
  }

  /** Where a tuple begins in its chunk. */
  #from(number: number): number {
    return (number & (CHUNK - 1)) * this.#width;
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
    const [chunk, from] = [this.#chunks[number >> BITS]!, this.#from(number)];
    for (let i = 0; i < this.#width; i++) if (chunk[from + i] !== tuple[i]) return false;
    return true;
  }

  #append(tuple: ArrayLike<number>, place: number): number {
    const number = this.size++;
    const from = this.#from(number);
    if (from === 0) this.#chunks.push(new Int32Array(CHUNK * this.#width));
    const chunk = this.#chunks.at(-1)!;
    for (let i = 0; i < this.#width; i++) chunk[from + i] = tuple[i]!;
    this.#table[place] = this.size;
    if (4 * this.size > 3 * this.#table.length) this.#spread();
    return number;
  }

  #spread(): void {
    const mask = 2 * this.#table.length - 1;
    const table = new Int32Array(mask + 1);
    for (let number = 0; number < this.size; number++) {
      const chunk = this.#chunks[number >> BITS]!;
      let place = hashOf(chunk, this.#from(number), this.#width) & mask;
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
  readonly #chunks: Int32Array[] = [];

  /** One of them. */
  at(index: number): number {
    return this.#chunks[index >> BITS]![index & (CHUNK - 1)]!;
  }

  /** Appends one. */
  push(value: number): void {
    const index = this.length++ & (CHUNK - 1);
    if (index === 0) this.#chunks.push(new Int32Array(CHUNK));
    this.#chunks.at(-1)![index] = value;
  }
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
