/**
 * Where a process is in what it does. A generator cannot be copied, so a process is what it has been told
 * since its act began, and the generator is made again by telling it the same.
 *
 * @module
 */

import type { Answer, Flow, Known, Request } from "../../shared/flow.ts";

/** What a model asks for beside its flows. */
export type Asked =
  | Request
  /** To store a word, as the fast paths do. */
  | { readonly ask: "store"; readonly word: number; readonly value: number }
  /** To add to a word: answered with the word as it was. */
  | { readonly ask: "add"; readonly word: number; readonly value: number }
  /** To do one of these: it will if nothing else happens, or it may. */
  | {
    readonly ask: "choose";
    readonly will: readonly number[];
    readonly may: readonly number[];
    /** Says, of the words as they are, that it may none of them any more. */
    readonly unless?: ((word: (word: number) => number) => boolean) | undefined;
  };

/** What a process chooses from. */
export type Choice = Omit<Extract<Asked, { ask: "choose" }>, "ask">;

/** What is true of a process. */
export type Facts = Readonly<Record<string, number>>;

/** What a process does until its facts have changed. */
export type Act<Result = Facts> = Generator<Asked, Result, Answer>;

/** What a process was told, and the result of each part that is over. */
export type Told = Answer | (Known & { readonly depth: number }) | "cancelled";

/** What a sleep ends with when it is cancelled. */
export class Cancelled extends Error {}

/** Where a process is: what it asks for, and what is true of it. */
export interface Node {
  readonly id: number;
  readonly request: Asked;
  readonly facts: Facts;
  readonly start: Facts;
  readonly history: readonly Told[];
  readonly next: Map<Told, Node>;
}

/** All places where a process of a model can be, found as they are needed. */
export class Nodes {
  /** All that were found, by their numbers. */
  readonly all: Node[] = [];
  readonly #known = new Map<string, Node>();
  readonly #act: (facts: Facts) => Act;

  /** Begins with none. */
  constructor(act: (facts: Facts) => Act) {
    this.#act = act;
  }

  /** Where an act begins. */
  begin(facts: Facts): Node {
    return this.#find(facts, []);
  }

  /** Where a process is after an answer. */
  after(node: Node, answer: Told): Node {
    let next = node.next.get(answer);
    if (next === undefined) {
      next = this.#find(node.start, [...node.history, answer]);
      node.next.set(answer, next);
    }
    return next;
  }

  #find(start: Facts, history: readonly Told[]): Node {
    const key = JSON.stringify([start, history]);
    let node = this.#known.get(key);
    if (node === undefined) {
      node = this.#replay(start, history);
      this.#known.set(key, node);
    }
    return node;
  }

  #replay(start: Facts, history: readonly Told[]): Node {
    const act = this.#act(start);
    const loops: number[] = [];
    let facts = start;
    let at = 0;
    try {
      let turn = act.next(0);
      while (!turn.done) {
        const request = turn.value as Asked | { ask: "note"; facts: Facts };
        let answer: Told = true;
        if (request.ask === "note") facts = request.facts;
        else if (request.ask === "turn") {
          if (request.which === "next") return this.#find(start, history.slice(0, loops.at(-1)));
          if (request.which === "first") {
            const known = history[at];
            const isOver = typeof known === "object" && known.depth === loops.length;
            if (isOver) [answer, at] = [known, at + 1];
            else loops.push(at);
          } else {
            const { result } = request;
            const begin = loops.pop()!;
            const over = { result, depth: loops.length };
            if (result !== undefined) return this.#find(start, [...history.slice(0, begin), over]);
          }
        } else if (request.ask !== "loop") {
          if (at === history.length) return this.#add(request, facts, start, history);
          answer = history[at++]!;
        }
        turn = answer === "cancelled" ? act.throw(new Cancelled()) : act.next(answer as Answer);
      }
      return this.#find(turn.value, []);
    } catch (error) {
      // Whoever does not catch it is back where the act began.
      if (error instanceof Cancelled) return this.#find(facts, []);
      throw error;
    }
  }

  #add(request: Asked, facts: Facts, start: Facts, history: readonly Told[]): Node {
    const node = { id: this.all.length, request, facts, start, history, next: new Map() };
    this.all.push(node);
    return node;
  }
}

/** Says what is true from now on. */
export function* note(facts: Facts): Act {
  yield { ask: "note", facts } as unknown as Asked;
  return facts;
}

/** Does any of these. */
export function* choose(
  { will = [], may = [], unless }: Partial<Choice>,
): Act<number> {
  return (yield { ask: "choose", will, may, unless }) as number;
}

/** Stores a word, as a fast path does. */
export function* store(word: number, value: number): Flow<void> {
  yield { ask: "store", word, value } as unknown as Request;
}
