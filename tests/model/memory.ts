/**
 * A search through all interleavings of processes that share memory and semaphores, each of which may
 * die before any event and come again as a new one, and may have any of its sleeps cancelled.
 *
 * It drives the flows of shared/ themselves. A process is what it has been told since its act began, so
 * the generator can be made again by telling it the same.
 *
 * @module
 */

import type { Answer, Flow, Known, Request } from "../../shared/flow.ts";
import type { Step } from "../../sync/protocols.ts";

/** What a process was told, and the result of each part that is over. */
type Told = Answer | (Known & { readonly depth: number }) | "cancelled";

/** What a model asks for beside its flows. */
type Asked =
  | Request
  /** To store a word, as the fast paths do. */
  | { readonly ask: "store"; readonly word: number; readonly value: number }
  /** To do one of these: it will if nothing else happens, or it may. */
  | { readonly ask: "choose"; readonly will: readonly number[]; readonly may: readonly number[] };

/** What is true of a process. */
export type Facts = Readonly<Record<string, number>>;

/** What a process does until its facts have changed. */
export type Act = Generator<Asked, Facts, Answer>;

/** All that is, at one moment. */
export interface Moment {
  word(word: number): number;
  readonly processes: readonly { alive: boolean; facts: Facts; asleep: boolean }[];
  /** What the model remembers beside. */
  readonly ghost: number;
}

/** What is to be explored. */
export interface MemoryModel {
  /** The words that are used, with what they are at first. */
  readonly words: ReadonlyMap<number, number>;
  readonly semaphores: readonly number[];
  /** The facts and the undo with which each process begins. */
  readonly processes: readonly { facts: Facts; undo: readonly number[] }[];
  /** The facts of each process that is started in place of a dead one; undefined if none is. */
  readonly again?: readonly Facts[];
  /** How many may die, Infinity for no limit. */
  readonly deaths: number;
  readonly cancels: boolean;
  act(facts: Facts): Act;
  /** Says what is wrong with a moment. */
  check(moment: Moment): string | undefined;
  /** Says what is wrong if nobody goes on by itself. */
  checkAtRest(moment: Moment): string | undefined;
  /** What the model remembers after an event of a process; -1 of what is wrong. */
  remember?(before: Moment, after: Moment, process: number, event: string): number;
  /** Makes words that differ in nothing that matters the same. */
  same?(value: number): number;
  readonly maxStates: number;
}

/** What a search found. */
export interface Found {
  readonly states: number;
  readonly failure: string | undefined;
}

/** What a sleep ends with when it is cancelled. */
class Cancelled extends Error {}

/** The bells need not count further than this. */
const LOUDEST = 1;

interface Node {
  readonly id: number;
  readonly request: Asked;
  readonly facts: Facts;
  readonly start: Facts;
  readonly history: readonly Told[];
  readonly next: Map<Told, Node>;
}

interface State {
  readonly words: readonly number[];
  readonly semaphores: readonly number[];
  readonly nodes: readonly (Node | undefined)[];
  readonly undo: readonly (readonly number[])[];
  readonly deaths: number;
  readonly ghost: number;
}

/** Explores all states. */
export function exploreMemory(model: MemoryModel): Found {
  return new Search(model).run();
}

class Search {
  readonly #model: MemoryModel;
  readonly #roles: readonly number[];
  readonly #index: ReadonlyMap<number, number>;
  readonly #nodes = new Map<string, Node>();
  readonly #values = new Map<number, number>();
  readonly #known = new Map<string, number>();
  readonly #states: State[] = [];
  readonly #from: number[] = [];
  readonly #by: string[] = [];

  constructor(model: MemoryModel) {
    this.#model = model;
    const again = model.processes.map((_, process) => JSON.stringify(model.again?.[process]));
    this.#roles = again.map((one) => again.indexOf(one));
    this.#index = new Map([...model.words.keys()].map((word, index) => [word, index]));
  }

  run(): Found {
    const { words, semaphores, processes, deaths, maxStates } = this.#model;
    this.#add(
      {
        words: [...words.values()],
        semaphores,
        nodes: processes.map(({ facts }) => this.#find(facts, [])),
        undo: processes.map(({ undo }) => undo),
        deaths: Math.min(deaths, 99),
        ghost: 0,
      },
      0,
      "start",
    );
    for (let number = 0; number < this.#states.length; number++) {
      if (number > maxStates) return this.#fail(number, "There are too many states");
      const wrong = this.#visit(number);
      if (wrong !== undefined) return wrong;
    }
    return { states: this.#states.length, failure: undefined };
  }

  #visit(number: number): Found | undefined {
    const state = this.#states[number]!;
    const wrong = this.#model.check(this.#moment(state));
    if (wrong !== undefined) return this.#fail(number, wrong);
    let certain = 0;
    for (let process = 0; process < state.nodes.length; process++) {
      for (const [after, event, isCertain] of this.#events(state, process)) {
        const ghost = this.#remember(state, after, process, event);
        if (ghost === -1) return this.#fail(number, `Wrong: ${process} ${event}`);
        this.#add(
          ghost === state.ghost ? after : { ...after, ghost },
          number,
          `${process} ${event}`,
        );
        if (isCertain) certain++;
      }
    }
    if (certain > 0) return undefined;
    const stuck = this.#model.checkAtRest(this.#moment(state));
    return stuck === undefined ? undefined : this.#fail(number, stuck);
  }

  #remember(before: State, after: State, process: number, event: string): number {
    const { remember } = this.#model;
    if (remember === undefined) return 0;
    return remember.call(this.#model, this.#moment(before), this.#moment(after), process, event);
  }

  *#events(state: State, process: number): Generator<[State, string, boolean]> {
    const node = state.nodes[process];
    if (node === undefined) {
      if (this.#model.again !== undefined) {
        const born = this.#find(this.#model.again[process]!, []);
        yield [{ ...state, nodes: state.nodes.with(process, born) }, "starts", false];
      }
      return;
    }
    yield* this.#steps(state, process, node);
    if (state.deaths > 0) yield [this.#die(state, process), "dies", false];
  }

  *#steps(state: State, process: number, node: Node): Generator<[State, string, boolean]> {
    const { request } = node;
    const tell = (answer: Told, changed: Partial<State> = {}): State => ({
      ...state,
      ...changed,
      nodes: state.nodes.with(process, this.#after(node, answer)),
    });
    if (request.ask === "choose") {
      for (const one of request.will) yield [tell(one), `chooses ${one}`, true];
      for (const one of request.may) yield [tell(one), `chooses ${one}`, false];
      return;
    }
    const { ask } = request;
    if ("word" in request || ask === "mark" || ask === "unmark") {
      const [index, from, changed, answer] = this.#change(state, node);
      const to = this.#model.same?.(changed) ?? changed;
      const words = to === from ? state.words : state.words.with(index, to);
      yield [tell(answer, { words }), `${ask} ${describe(request)} -> ${to}`, true];
    } else if (ask === "read") {
      const seen = request.see(state.semaphores) as Answer;
      yield [tell(seen), `reads ${seen}`, true];
    } else if (ask === "try" || ask === "ring" || ask === "give back") {
      const changed = perform(state, process, request.step);
      if (changed === undefined && ask === "give back") throw new Error("Must be possible");
      yield [tell(changed !== undefined, changed), `${ask} ${changed !== undefined}`, true];
    } else if (ask === "wait" || ask === "sleep") {
      const step = ask === "wait" ? request.step : this.#sleep(node);
      const changed = perform(state, process, step);
      if (changed !== undefined) yield [tell(true, changed), `${ask} ends`, true];
      if (this.#model.cancels) yield [tell("cancelled"), `${ask} cancelled`, false];
    }
  }

  /** The index of a word, what it is, what it becomes, and the answer. */
  #change(state: State, { request, facts }: Node): [number, number, number, Answer] {
    const bit = 1 << (facts.place! - 1);
    const word = "gate" in request ? request.gate : "word" in request ? request.word : 0;
    const index = this.#index.get(word);
    if (index === undefined) throw new Error(`The model has no word ${word}`);
    const from = state.words[index]!;
    switch (request.ask) {
      case "load":
        return [index, from, from, from];
      case "store":
        return [index, from, request.value, from];
      case "compareExchange":
        return [index, from, from === request.from ? request.to : from, from === request.from];
      case "or":
        return [index, from, from | request.bits, from];
      case "and":
        return [index, from, from & request.bits, from];
      case "mark":
        return [index, from, from | bit, true];
      case "unmark":
        return [index, from, from & ~bit, (from & bit) !== 0];
      default:
        throw new Error(`Unknown: ${request.ask}`);
    }
  }

  #sleep({ facts }: Node): Step {
    const places = (this.#model.semaphores.length - 2) / 2;
    return [{ index: 1 + places + facts.place!, delta: -1 }];
  }

  #die(state: State, process: number): State {
    const undo = state.undo[process]!;
    const semaphores = state.semaphores.map((value, index) =>
      Math.max(0, Math.min(value + undo[index]!, index > 1 ? LOUDEST : 1))
    );
    return {
      ...state,
      semaphores,
      nodes: state.nodes.with(process, undefined),
      undo: state.undo.with(process, undo.map(() => 0)),
      deaths: state.deaths === 99 ? 99 : state.deaths - 1,
    };
  }

  #moment({ words, nodes, ghost }: State): Moment {
    return {
      word: (word) => words[this.#index.get(word)!]!,
      processes: nodes.map((node) => ({
        alive: node !== undefined,
        facts: node?.facts ?? {},
        asleep: node?.request.ask === "sleep",
      })),
      ghost,
    };
  }

  #add(state: State, from: number, by: string): void {
    const key = this.#keyOf(state);
    if (this.#known.has(key)) return;
    this.#known.set(key, this.#states.length);
    this.#states.push(state);
    this.#from.push(from);
    this.#by.push(by);
  }

  /** Tells states apart, but not those that differ only by which process is which. */
  #keyOf({ words, semaphores, nodes, undo, deaths, ghost }: State): string {
    const codes = [deaths, ghost, ...semaphores, ...words.map((word) => this.#small(word))];
    const blocks = nodes.map((node, process) => {
      // The dead differ by what comes after them.
      const place = node === undefined ? this.#roles[process]! : node.id + this.#roles.length;
      return String.fromCharCode(place, ...undo[process]!.map((one) => one + 9));
    }).sort();
    return String.fromCharCode(...codes) + blocks.join("");
  }

  #small(value: number): number {
    let small = this.#values.get(value);
    if (small === undefined) this.#values.set(value, small = this.#values.size);
    return small;
  }

  #fail(number: number, why: string): Found {
    const lines: string[] = [];
    for (let at = number; at > 0; at = this.#from[at]!) {
      lines.push(`   ${this.#by[at]}  ${this.#states[at]!.words.map((w) => w >>> 0).join(" ")}`);
    }
    return { states: this.#states.length, failure: `${why}\n${lines.reverse().join("\n")}` };
  }

  // Where a process is.

  #after(node: Node, answer: Told): Node {
    let next = node.next.get(answer);
    if (next === undefined) {
      next = this.#find(node.start, [...node.history, answer]);
      node.next.set(answer, next);
    }
    return next;
  }

  #find(start: Facts, history: readonly Told[]): Node {
    const key = JSON.stringify([start, history]);
    let node = this.#nodes.get(key);
    if (node === undefined) {
      node = this.#replay(start, history);
      this.#nodes.set(key, node);
    }
    return node;
  }

  #replay(start: Facts, history: readonly Told[]): Node {
    const act = this.#model.act(start);
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
          if (at === history.length) return this.#node(request, facts, start, history);
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

  #node(
    request: Asked,
    facts: Facts,
    start: Facts,
    history: readonly Told[],
  ): Node {
    const next = new Map<Told, Node>();
    const id = this.#nodes.size;
    return { id, request, facts, start, history, next };
  }
}

/** Says what is true from now on. */
export function* note(facts: Facts): Act {
  yield { ask: "note", facts } as unknown as Asked;
  return facts;
}

/** Does any of these. */
export function* choose(
  { will = [], may = [] }: { will?: readonly number[]; may?: readonly number[] },
): Generator<Asked, number, Answer> {
  return (yield { ask: "choose", will, may }) as number;
}

/** Stores a word, as a fast path does. */
export function* store(word: number, value: number): Flow<void> {
  yield { ask: "store", word, value } as unknown as Request;
}

function describe(request: Asked): string {
  if ("gate" in request) return `gate ${request.gate}`;
  return "word" in request ? `word ${request.word}` : "";
}

function perform(
  { semaphores, undo }: State,
  process: number,
  step: Step,
): Pick<State, "semaphores" | "undo"> | undefined {
  const values = [...semaphores];
  const own = [...undo[process]!];
  for (const { index = 0, delta, undo: reversed } of step) {
    if (delta === 0 ? values[index] !== 0 : values[index]! + delta < 0) return undefined;
    values[index]! += delta;
    if (reversed) own[index]! -= delta;
  }
  for (const { index = 0 } of step) {
    if (index > 1) values[index] = Math.min(values[index]!, LOUDEST);
  }
  return { semaphores: values, undo: undo.with(process, own) };
}
