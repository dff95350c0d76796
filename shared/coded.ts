/**
 * Structures that hold items: how each kind is made and found, with what encodes its items.
 *
 * @module
 */

import { checkInteger, checkOptions } from "../ffi/check.ts";
import type { Key } from "../ipc/key.ts";
import type { CreateOptions, OpenOrCreateOptions } from "../ipc/object.ts";
import { type Codec, codecOf, type CodecOptions, formatOf } from "./codec.ts";
import {
  checkPlaces,
  createPair,
  type MembersOptions,
  openOrCreatePair,
  openPair,
  type Pair,
  pairFromId,
  type Rules,
  type Shape,
} from "./pair.ts";

/** A structure, and what encodes its items. */
export interface Coded<Item> {
  readonly pair: Pair;
  readonly codec: Codec<Item>;
}

/** A kind of structures that hold items. `Sizes` are the options that say how much one holds. */
export class CodedKind<Sizes extends object> {
  readonly #rules: Rules;
  readonly #sizesOf: (sizes: Sizes) => Pick<Shape, "capacity" | "limit">;

  /** Makes a kind of its rules, and of what makes sizes of options, or refuses them. */
  constructor(rules: Rules, sizesOf: (sizes: Sizes) => Pick<Shape, "capacity" | "limit">) {
    this.#rules = rules;
    this.#sizesOf = sizesOf;
  }

  create<Item>(options: Sizes & CreateOptions & MembersOptions & CodecOptions<Item>): Coded<Item> {
    const codec = codecFrom(options);
    return { pair: createPair(this.#rules, this.#shapeOf(options, codec), options), codec };
  }

  open<Item>(key: Key, options: CodecOptions<Item>): Coded<Item> {
    const codec = codecFrom(options);
    return { pair: openPair(this.#rules, key, formatOf(codec)), codec };
  }

  openOrCreate<Item>(
    key: Key,
    options: Sizes & OpenOrCreateOptions & MembersOptions & CodecOptions<Item>,
  ): Coded<Item> {
    const codec = codecFrom(options);
    const shape = this.#shapeOf(options, codec);
    return { pair: openOrCreatePair(this.#rules, shape, key, options), codec };
  }

  fromId<Item>(id: number, options: CodecOptions<Item>): Coded<Item> {
    const codec = codecFrom(options);
    return { pair: pairFromId(this.#rules, id, formatOf(codec)), codec };
  }

  #shapeOf<Item>(options: Sizes & MembersOptions, codec: Codec<Item>): Shape {
    const { kind } = this.#rules;
    const { capacity, limit } = this.#sizesOf(options);
    const places = checkPlaces(options.members);
    return { kind, capacity, limit, format: formatOf(codec), places };
  }
}

/** Checks options and the codec among them, before anything is made. */
function codecFrom<Item>(options: CodecOptions<Item>): Codec<Item> {
  checkOptions(options);
  return codecOf(options);
}

/** Whether something that wraps around can hold so much, of which `least` is the least. */
export function isPowerOf2(capacity: number, least: number, most: number): boolean {
  return capacity >= least && capacity <= most && (capacity & (capacity - 1)) === 0;
}

/** Checks for such a capacity; `action` says what needs it. */
export function checkPowerOf2(capacity: number, least: number, most: number, action: string): void {
  checkInteger(capacity, least, most, action);
  if (isPowerOf2(capacity, least, most)) return;
  throw new RangeError(`Cannot ${action}: expected a power of 2`);
}
