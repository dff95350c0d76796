/**
 * The classes themselves as acts. They use memory and do not ask, so their work is done over and over:
 * with the answers so far, until it touches what has not been answered yet.
 *
 * @module
 */

import type { Answer, Flow } from "../../shared/flow.ts";
import type { Members } from "../../shared/members.ts";
import type { Shape } from "../../shared/pair.ts";
import type { Protocol } from "../../shared/protocol.ts";
import type { Act, Asked } from "./acts.ts";

/** What work ends with that has to know an answer. */
class Pending extends Error {
  readonly request: Asked;

  constructor(request: Asked) {
    super("Has to ask");
    this.request = request;
  }
}

/** Answers a request, or ends the work. */
let ask: (request: Asked) => Answer;

/** Does either, in the middle of work. */
export function either(): number {
  return ask({ ask: "choose", will: [0, 1], may: [] }) as number;
}

/** Answers what the work need not ask for, as the model does it otherwise; gives nothing to have it ask. */
export type Known = (request: Asked) => Answer | undefined;

/** Does some work, asking for each event that others can notice. It must make anew what it changes. */
export function* perform<Result>(work: () => Result, known: Known = noneOf): Act<Result> {
  const told: Answer[] = [];
  for (;;) {
    const outcome = attempt(work, told, known);
    if (!(outcome instanceof Pending)) return outcome;
    told.push(yield outcome.request);
  }
}

const noneOf: Known = () => undefined;

function attempt<Result>(
  work: () => Result,
  told: readonly Answer[],
  known: Known,
): Result | Pending {
  let at = 0;
  let pending: Pending | undefined;
  ask = (request) => {
    const answer = known(request);
    if (answer !== undefined) return answer;
    // What the work does as it ends is not done.
    if (pending === undefined && at < told.length) return told[at++]!;
    throw pending ??= new Pending(request);
  };
  const originals = { ...Object.getOwnPropertyDescriptors(Atomics) };
  const { Int32Array: Words } = globalThis;
  Object.assign(Atomics, atomics);
  globalThis.Int32Array = viewing(Words);
  try {
    return work();
  } catch (error) {
    if (error !== pending) throw error;
    return pending as Pending;
  } finally {
    Object.defineProperties(Atomics, originals);
    globalThis.Int32Array = Words;
  }
}

/** Atomics as events. */
const atomics = {
  load: (_: unknown, word: number) => ask({ ask: "load", word }),
  store: (_: unknown, word: number, value: number) => ask({ ask: "store", word, value }),
  add: (_: unknown, word: number, value: number) =>
    ask(value === 0 ? { ask: "load", word } : { ask: "add", word, value }),
  compareExchange: (_: unknown, word: number, from: number, to: number) =>
    ask({ ask: "compareExchange", word, from, to }) === true ? from : ~from,
};

/** The memory of a segment. */
const memory = {};

/**
 * The bytes of the words. Of each word only the first byte is an event, and the others are nothing: so a
 * value of {@linkcode valueOf} can be seen half written.
 */
class Bytes {
  readonly buffer = memory;
  readonly byteOffset: number;
  readonly length: number;
  readonly #from: number;

  constructor(from: number, length: number) {
    this.#from = this.byteOffset = from;
    this.length = length;
  }

  set(bytes: Uint8Array, at = 0): void {
    for (const index of this.#firsts(at, at + bytes.length)) {
      ask({ ask: "store", word: (this.#from + index) >> 2, value: bytes[index - at]! });
    }
  }

  slice(from: number, to: number): Uint8Array {
    const bytes = new Uint8Array(to - from);
    for (const index of this.#firsts(from, to)) {
      const word = ask({ ask: "load", word: (this.#from + index) >> 2 }) as number;
      bytes[index - from] = word;
    }
    return bytes;
  }

  subarray(from: number, to = this.length): Uint8Array {
    return this.slice(from, to);
  }

  #firsts(from: number, to: number): number[] {
    const all = Array.from({ length: to - from }, (_, index) => from + index);
    return all.filter((index) => (this.#from + index) % 4 === 0);
  }
}

/** The bytes of a whole segment, of which a class takes its part. */
class Segment extends Bytes {
  override subarray(from: number, to: number): Uint8Array {
    return new Bytes(from, to - from) as unknown as Uint8Array;
  }
}

/** A value of two events. */
export function valueOf(number: number): Uint8Array {
  return new Uint8Array([number, 0, 0, 0, number]);
}

export const VALUE_BYTES = 5;

/** Whether a value is the one of a number, and not of two. */
export function isValueOf(number: number, bytes: Uint8Array): boolean {
  return bytes[0] === number && bytes[4] === number;
}

/** Words from one on that are read and written plainly. */
function wordsFrom(first: number): Int32Array {
  return new Proxy([] as unknown as Int32Array, {
    get: (_, index) => ask({ ask: "load", word: first + Number(index) }),
    set(_, index, value) {
      ask({ ask: "store", word: first + Number(index), value });
      return true;
    },
  });
}

const words = wordsFrom(0);

/** Has a class view bytes that ask as words that ask. */
function viewing(Words: Int32ArrayConstructor): Int32ArrayConstructor {
  return new Proxy(Words, {
    construct: (Words, given: [unknown, number]) =>
      given[0] === memory ? wordsFrom(given[1] >> 2) : Reflect.construct(Words, given),
  });
}

/** What the classes throw if memory holds what they cannot have written. */
export class Spoilt extends Error {}

/** Members as the classes need them, of the process that has this place. */
export function membersAt(place: number, protocol: Protocol, shape: Partial<Shape>): Members {
  return {
    words,
    bytes: new Segment(0, 2 ** 24),
    shape,
    protocol,
    seat: { place, onSit() {} },
    promises: {},
    semaphores: {
      get values() {
        return aliveIn(protocol);
      },
    },
    spoilt: () => new Spoilt(),
    error: () => new Spoilt(),
    driveSync: drive,
  } as unknown as Members;
}

/** The values of the semaphores, as far as they say who is alive. */
function aliveIn(protocol: Protocol): number[] {
  const places = Array.from({ length: protocol.places }, (_, index) => index + 1);
  const see = (values: readonly number[]) =>
    places.reduce(
      (bits, place) => values[protocol.alive(place)]! > 0 ? bits | 1 << place : bits,
      0,
    );
  const bits = ask({ ask: "read", see }) as number;
  const values: number[] = [];
  for (const place of places) values[protocol.alive(place)] = (bits >> place) & 1;
  return values;
}

/** Drives a flow in the middle of work. */
function drive<Result>(flow: Flow<Result>): Result {
  let turn = flow.next(0);
  while (!turn.done) turn = flow.next(ask(turn.value));
  return turn.value;
}
