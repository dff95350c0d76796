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

/** Does some work, asking for each event that others can notice. It must make anew what it changes. */
export function* perform<Result>(work: () => Result): Act<Result> {
  const told: Answer[] = [];
  for (;;) {
    const outcome = attempt(work, told);
    if (!(outcome instanceof Pending)) return outcome;
    told.push(yield outcome.request);
  }
}

function attempt<Result>(work: () => Result, told: readonly Answer[]): Result | Pending {
  let at = 0;
  let pending: Pending | undefined;
  ask = (request) => {
    // What the work does as it ends is not done.
    if (pending === undefined && at < told.length) return told[at++]!;
    throw pending ??= new Pending(request);
  };
  const originals = { ...Object.getOwnPropertyDescriptors(Atomics) };
  Object.assign(Atomics, atomics);
  try {
    return work();
  } catch (error) {
    if (error !== pending) throw error;
    return pending as Pending;
  } finally {
    Object.defineProperties(Atomics, originals);
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

/** The words where the bytes of a segment stand in a model: one word each. */
export const BYTES = 1 << 24;

/** Bytes, each of which is an event of its own: so a copy of two can be seen in the middle. */
class Bytes {
  readonly length: number;
  readonly #from: number;

  constructor(from: number, length: number) {
    this.#from = from;
    this.length = length;
    return new Proxy(this, {
      get: (bytes, key) => {
        const index = typeof key === "string" ? Number(key) : NaN;
        if (Number.isInteger(index)) return ask({ ask: "load", word: from + index });
        const value = Reflect.get(bytes, key);
        return typeof value === "function" ? value.bind(bytes) : value;
      },
    });
  }

  set(bytes: ArrayLike<number>, at = 0): void {
    for (let i = 0; i < bytes.length; i++) {
      ask({ ask: "store", word: this.#from + at + i, value: bytes[i]! });
    }
  }

  slice(from: number, to: number): Uint8Array {
    const bytes = new Uint8Array(to - from);
    for (let i = 0; i < bytes.length; i++) {
      bytes[i] = ask({ ask: "load", word: this.#from + from + i }) as number;
    }
    return bytes;
  }

  subarray(from: number, to = this.length): Bytes {
    return new Bytes(this.#from + from, to - from);
  }
}

/** Words that are read and written plainly. */
const words = new Proxy([], {
  get: (_, word) => ask({ ask: "load", word: Number(word) }),
  set(_, word, value) {
    ask({ ask: "store", word: Number(word), value });
    return true;
  },
});

/** Members as the classes need them, of the process that has this place. */
export function membersAt(place: number, protocol: Protocol, shape: Partial<Shape>): Members {
  return {
    words,
    bytes: new Bytes(BYTES, 2 ** 24),
    shape,
    protocol,
    seat: { place },
    semaphores: {
      get values() {
        throw new Error("Ask for one at a time");
      },
    },
    error: (code: string) => new Error(code),
    driveSync: drive,
  } as unknown as Members;
}

/** Drives a flow in the middle of work. */
function drive<Result>(flow: Flow<Result>): Result {
  let turn = flow.next(0);
  while (!turn.done) turn = flow.next(ask(turn.value));
  return turn.value;
}
