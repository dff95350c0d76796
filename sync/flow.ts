/**
 * What a primitive does, written once: a flow is a generator that yields one atomic request at a time and
 * receives its answer. {@linkcode run} performs it in a promise, {@linkcode runSync} on the
 * thread, and the model check of tests/ drives the very same flow through all interleavings.
 *
 * A flow keeps what it takes only if it returns: if it fails after it took something, it gives that back first.
 *
 * @module
 */

import {
  readWaitOptions,
  type TimeoutOptions,
  type WaitLimits,
  type WaitOptions,
} from "../wait/options.ts";
import { turn as loopTurn } from "../wait/turn.ts";
import type { Action } from "../ipc/steps.ts";
import { isPossible, type Step } from "./protocols.ts";

/** A request of a flow; each is one atomic event. */
export type Request =
  /**
   * To perform a step if it is possible now: answered with whether it was. If `late`, even through a
   * handle that was disposed meanwhile.
   */
  | { readonly ask: "try"; readonly step: Step; readonly late?: true }
  /** The same for a step that gives back, and so is always possible. */
  | { readonly ask: "give back"; readonly step: Step }
  /** To perform a step as soon as it is possible. */
  | { readonly ask: "wait"; readonly step: Step }
  /** To look at the values of one moment: answered with what is seen in them. */
  | { readonly ask: "read"; readonly see: (values: readonly number[]) => Answer }
  /** Nothing: a loop begins, or begins again and has forgotten all answers since it began. */
  | { readonly ask: "loop"; readonly again: boolean };

/** The answer to a request. */
export type Answer = boolean | number | string | null | readonly number[];

/** Atomic events in sequence. */
export type Flow<Result> = Generator<Request, Result, Answer>;

/** A protocol, or one that a test has made wrong on purpose. */
export type Like<Protocol> = {
  readonly [Name in keyof Protocol]: Protocol[Name] extends (...given: infer Given) => infer Result
    ? (...given: Given) => Result
    : Protocol[Name] extends readonly number[] ? readonly number[]
    : Protocol[Name] extends number ? number
    : Step;
};

/** Performs a step if it is possible now, and returns whether it was. */
export function* tryStep(step: Step): Flow<boolean> {
  return (yield { ask: "try", step }) === true;
}

/** The same for a step that takes something back, which a disposed handle must not prevent. */
export function* tryLate(step: Step): Flow<boolean> {
  return (yield { ask: "try", step, late: true }) === true;
}

/** Performs a step that gives back, and so is always possible. */
export function* giveBack(step: Step): Flow<void> {
  yield { ask: "give back", step };
}

/** Waits until a step is performed. */
export function* waitFor(step: Step): Flow<void> {
  yield { ask: "wait", step };
}

/** Looks at the values of one moment. */
export function* read<Seen extends Answer>(see: (values: readonly number[]) => Seen): Flow<Seen> {
  return (yield { ask: "read", see }) as Seen;
}

/** Looks at what was just taken, and gives it back if it cannot be seen. */
export function* readTaken<Seen extends Answer>(
  see: (values: readonly number[]) => Seen,
  back: Step,
): Flow<Seen> {
  try {
    return yield* read(see);
  } catch (error) {
    return yield* giveUp(back, error);
  }
}

/** Gives back what was taken before something failed, and fails with that. */
export function* giveUp(back: Step, error: unknown): Flow<never> {
  try {
    yield* giveBack(back);
  } catch (failure) {
    // What is still held matters more than why it is not wanted.
    if (failure instanceof Error) failure.cause = error;
    throw failure;
  }
  throw error;
}

/** Repeats a flow, which remembers nothing of its last turn, until it returns something. */
export function* repeat<Result>(turn: () => Flow<Result | undefined>): Flow<Result> {
  yield { ask: "loop", again: false };
  for (;;) {
    const result = yield* turn();
    if (result !== undefined) return result;
    yield { ask: "loop", again: true };
  }
}

/**
 * Tries a step that was made for these values, and returns whether it was performed. If not, the
 * values have changed meanwhile, and the next turn sees others.
 */
export function* tryFor(values: readonly number[], step: Step): Flow<boolean> {
  // Else every turn would see the same, for ever.
  if (!isPossible(step, values)) throw new SpoiltError(values);
  return yield* tryStep(step);
}

/** What a flow fails with whose values no step of the protocol can have made. */
export class SpoiltError extends Error {
  readonly values: readonly number[];

  /** Makes the error of these values. */
  constructor(values: readonly number[]) {
    super(`The values ${values.join(", ")} are spoilt`);
    this.values = values;
  }
}

/** Whether an error says that the semaphores are removed. */
export function isRemoved(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "EIDRM";
}

/** What a flow is driven on. */
export interface Target {
  /** Performs a step if it is possible now. */
  tryStep(step: Step, action: Action, late: boolean): boolean | Promise<boolean>;
  /** The same where the answer must come at once. */
  tryStepSync(step: Step, action: Action, late: boolean): boolean;
  /** Performs a step as soon as it is possible; returns no promise if that is now. */
  wait(step: Step, action: Action, limits: WaitLimits): void | Promise<void>;
  /** The same, blocking the thread. */
  waitSync(step: Step, action: Action, limits: WaitLimits): void;
  /** Reads all values. */
  read(): readonly number[] | Promise<readonly number[]>;
  /** The same where the answer must come at once. */
  readSync(): readonly number[];
  /** Performs a step that gives back, even through a handle that is disposed. */
  giveBack(step: Step, action: Action): void | Promise<void>;
  /** Makes the error of spoilt values. */
  spoilt(values: readonly number[], action: Action): Error;
}

/** Reads the options of a promise, once, and checks them before anything happens. */
export function limitsOf(options: WaitOptions | undefined): WaitLimits {
  const limits = readWaitOptions(options);
  limits.signal?.throwIfAborted();
  return limits;
}

/** A flow that is being driven: on what, to do what, and how long each of its waits may last. */
interface Drive {
  readonly target: Target;
  readonly action: Action;
  rest(): WaitLimits;
}

/** Drives a flow on this thread, blocking it where the flow waits. */
export function runSync<Result>(
  target: Target,
  flow: Flow<Result>,
  action: Action,
  options?: TimeoutOptions,
): Result {
  const drive = { target, action, rest: restOf(readWaitOptions(options)) };
  try {
    let turn = flow.next(null);
    while (!turn.done) {
      let told: Answer;
      try {
        told = answerSync(turn.value, drive);
      } catch (error) {
        turn = flow.throw(error);
        continue;
      }
      turn = flow.next(told);
    }
    return turn.value;
  } catch (error) {
    throw explained(error, drive);
  }
}

/**
 * Drives a flow without blocking the event loop. What is known at once is not awaited: to await it
 * would let others go first.
 */
export async function run<Result>(
  target: Target,
  flow: Flow<Result>,
  action: Action,
  options?: WaitOptions,
): Promise<Result> {
  const drive = { target, action, rest: restOf(limitsOf(options)) };
  try {
    let turn = flow.next(null);
    while (!turn.done) {
      let told: Answer;
      try {
        const answer = answerOf(turn.value, drive);
        told = answer instanceof Promise ? await answer : answer;
      } catch (error) {
        turn = flow.throw(error);
        continue;
      }
      turn = flow.next(told);
    }
    // What never had to wait must not keep timers and signals from their turn.
    const due = loopTurn();
    if (due !== undefined) await due;
    return turn.value;
  } catch (error) {
    throw explained(error, drive);
  }
}

function answerSync(request: Request, { target, action, rest }: Drive): Answer {
  switch (request.ask) {
    case "try":
      return target.tryStepSync(request.step, action, request.late === true);
    case "read":
      return request.see(target.readSync());
    case "wait":
      target.waitSync(request.step, action, rest());
      return null;
    case "give back":
      target.giveBack(request.step, action);
      return null;
    case "loop":
      return null;
  }
}

function answerOf(
  request: Request,
  { target, action, rest }: Drive,
): Answer | Promise<Answer> {
  switch (request.ask) {
    case "try":
      return target.tryStep(request.step, action, request.late === true);
    case "read": {
      const values = target.read();
      return values instanceof Promise ? values.then(request.see) : request.see(values);
    }
    case "wait":
      return target.wait(request.step, action, rest())?.then(() => null) ?? null;
    case "give back":
      return target.giveBack(request.step, action)?.then(() => null) ?? null;
    case "loop":
      return null;
  }
}

/** The limits of each wait of a flow, which have one timeout between them. */
function restOf(limits: WaitLimits): () => WaitLimits {
  const { timeout, signal } = limits;
  if (timeout === Infinity) return () => limits;
  let deadline: number | undefined;
  return () => {
    const now = performance.now();
    if (deadline !== undefined) return { timeout: Math.max(deadline - now, 0), signal };
    deadline = now + timeout;
    return limits;
  };
}

function explained(error: unknown, { target, action }: Drive): unknown {
  return error instanceof SpoiltError ? target.spoilt(error.values, action) : error;
}
