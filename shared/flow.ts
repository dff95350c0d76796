/**
 * Flows over shared memory: what a structure does where it is not enough to look once, as a generator
 * that asks for one atomic event at a time. {@linkcode run} drives it in a promise, {@linkcode runSync}
 * on the thread, and the model check of tests/ through all interleavings.
 *
 * @module
 */

import type { TimeoutOptions, WaitOptions } from "../wait/options.ts";
import type { Request as SemaphoreRequest } from "../sync/flow.ts";
import type { Step } from "../sync/protocols.ts";
import { header } from "./layout.ts";

export { giveBack, tryStep, waitFor } from "../sync/flow.ts";

/** What a flow asks for beside what it asks of semaphores; each is one atomic event. */
export type MemoryRequest =
  /** To read a word of memory: answered with the word, or with what is to be seen of it. */
  | { readonly ask: "load"; readonly word: number; readonly see?: (word: number) => Answer }
  /** To set or clear bits of a word: nobody asks what it was. */
  | { readonly ask: "or"; readonly word: number; readonly bits: number }
  | { readonly ask: "and"; readonly word: number; readonly bits: number }
  /** To clear a word: answered with the word as it was. */
  | { readonly ask: "take"; readonly word: number }
  /** To replace a word if it is as expected: answered with whether it was. */
  | {
    readonly ask: "compareExchange";
    readonly word: number;
    readonly from: number;
    readonly to: number;
  }
  /** To mark the place of who asks at a gate, before it sleeps there. */
  | { readonly ask: "mark"; readonly gate: number }
  /** To take the mark away: answered with whether it was still there, so that nobody has rung. */
  | { readonly ask: "unmark"; readonly gate: number }
  /** To sleep until the bell of the place rings. */
  | { readonly ask: "sleep"; readonly gate: number }
  /** To ring, if anybody has the place; a bell that can ring no more often counts as rung. */
  | { readonly ask: "ring"; readonly step: Step }
  /**
   * Nothing: a part begins, begins again and has forgotten its answers, or ends, and from then on
   * nothing of it counts but its result. Who knows the result already answers the first with it.
   */
  | { readonly ask: "turn"; readonly which: "first" | "next" | "last"; readonly result?: unknown };

export type Request = SemaphoreRequest | MemoryRequest;

/** What a flow is told. */
export type Answer = number | boolean;

/** The answer of the model check to a part whose result it knows. */
export interface Known {
  readonly result: unknown;
}

/** Atomic events in sequence. */
export type Flow<Result> = Generator<Request, Result, Answer>;

/** Reads a word. */
export function* load(word: number): Flow<number> {
  return (yield { ask: "load", word }) as number;
}

/** Looks at a word, of which only this matters. */
export function* look<Seen extends Answer>(word: number, see: (word: number) => Seen): Flow<Seen> {
  return (yield { ask: "load", word, see }) as Seen;
}

/** Clears a word, and returns what it was. */
export function* take(word: number): Flow<number> {
  return (yield { ask: "take", word }) as number;
}

/** Whether the header shows one of these states. What others have written there means nothing. */
export function* isIn(states: number): Flow<boolean> {
  return yield* look(header.state, (state) => (state & states) !== 0);
}

/** Replaces a word if it is as expected, and returns whether it was. */
export function* compareExchange(word: number, from: number, to: number): Flow<boolean> {
  return (yield { ask: "compareExchange", word, from, to }) === true;
}

/** Sets bits of a word. */
export function* setBits(word: number, bits: number): Flow<void> {
  yield { ask: "or", word, bits };
}

/** Clears bits of a word. */
export function* clearBits(word: number, bits: number): Flow<void> {
  yield { ask: "and", word, bits: ~bits };
}

/** Rings, and returns whether anybody has the place. */
export function* ring(step: Step): Flow<boolean> {
  return (yield { ask: "ring", step }) === true;
}

/** Looks at the values of one moment. */
export function* read(see: (values: readonly number[]) => number): Flow<number> {
  return (yield { ask: "read", see }) as number;
}

/** Takes turns, which remember nothing of each other, until one of them returns something. */
export function* repeat<Result>(turn: () => Flow<Result | undefined>): Flow<Result> {
  const known: Answer | Known = yield { ask: "turn", which: "first" };
  if (typeof known === "object") return (known as Known).result as Result;
  try {
    for (;;) {
      const result = yield* turn();
      if (result !== undefined) {
        yield { ask: "turn", which: "last", result };
        return result;
      }
      yield { ask: "turn", which: "next" };
    }
  } catch (error) {
    yield { ask: "turn", which: "last" };
    throw error;
  }
}

/** Performs a part of which nothing counts afterwards but its result. */
export function* part<Result>(perform: () => Flow<Result>): Flow<Result> {
  const { result } = yield* repeat(function* () {
    return { result: yield* perform() };
  });
  return result;
}

/** The requests that take as long as others like, and those that do not. */
export type Waiting = Extract<Request, { ask: "sleep" | "wait" }>;
export type Immediate = Exclude<Request, Waiting>;

/** Why a wait failed. */
export interface Failure {
  readonly reason: unknown;
}

/** Why a wait has failed. */
export interface Failure {
  readonly reason: unknown;
}

/** What a flow is driven on. */
export interface Target {
  /** Answers what can be answered at once. */
  answer(request: Immediate): Answer;
  /** Sleeps, or waits for a step, blocking the thread. */
  waitSync(request: Waiting, options: TimeoutOptions): void;
  /** The same without blocking: calls back later, with a failure if there is one. */
  wait(request: Waiting, options: WaitOptions, then: (failure?: Failure) => void): void;
}

/** Drives a flow on this thread, blocking it where the flow waits. */
export function runSync<Result>(
  target: Target,
  flow: Flow<Result>,
  options: TimeoutOptions = {},
): Result {
  const rest = remaining(options);
  let turn = advance(target, flow, flow.next(true));
  while (!turn.done) {
    let failure: Failure | undefined;
    try {
      target.waitSync(turn.value, rest());
    } catch (reason) {
      failure = { reason };
    }
    turn = advance(target, flow, resume(flow, failure));
  }
  return turn.value;
}

/**
 * Drives a flow without blocking the event loop. After a sleep it goes on in the very turn in which the
 * bell is heard: a chain of promises in between costs 10 to 20 us in a program that has been idle.
 */
export function run<Result>(
  target: Target,
  flow: Flow<Result>,
  options: WaitOptions = {},
  retell: (error: unknown) => unknown = (error) => error,
): Promise<Result> {
  const { promise, resolve, reject } = Promise.withResolvers<Result>();
  const rest = remaining(options);
  const proceed = (failure?: Failure) => {
    let turn: IteratorResult<Waiting, Result>;
    try {
      turn = advance(target, flow, resume(flow, failure));
    } catch (error) {
      return reject(retell(error));
    }
    if (turn.done) return resolve(turn.value);
    try {
      target.wait(turn.value, rest(), proceed);
    } catch (reason) {
      proceed({ reason });
    }
  };
  proceed();
  return promise;
}

function resume<Result>(
  flow: Flow<Result>,
  failure: Failure | undefined,
): IteratorResult<Request, Result> {
  return failure === undefined ? flow.next(true) : flow.throw(failure.reason);
}

/** Answers what can be answered at once, up to what has to be waited for, or the end. */
function advance<Result>(
  target: Target,
  flow: Flow<Result>,
  first: IteratorResult<Request, Result>,
): IteratorResult<Waiting, Result> {
  let turn = first;
  while (!turn.done) {
    const request = turn.value;
    if (request.ask === "sleep" || request.ask === "wait") break;
    let told: Answer;
    try {
      told = target.answer(request);
    } catch (error) {
      turn = flow.throw(error);
      continue;
    }
    turn = flow.next(told);
  }
  return turn as IteratorResult<Waiting, Result>;
}

/** The options of each wait of a flow, all of which share one timeout. */
export function remaining<Options extends TimeoutOptions>(options: Options): () => Options & Asked {
  const { timeout, asked = timeout }: TimeoutOptions & Asked = options;
  if (timeout === undefined || timeout === Infinity) return () => options;
  const deadline = performance.now() + timeout;
  return () => ({ ...options, timeout: Math.max(deadline - performance.now(), 0), asked });
}

/** What was asked for, of which the timeout is what is left. */
export interface Asked {
  readonly asked?: number | undefined;
}
