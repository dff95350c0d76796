/**
 * A search through all interleavings of processes that share memory and semaphores, each of which may
 * die before any event and come again as a new one, and may have any of its sleeps cancelled. It drives
 * the flows of shared/ themselves.
 *
 * Beside what a model checks in each state, every state must have a way to rest that needs no death, no
 * cancel and no wish of anybody: else some would try in vain for ever.
 *
 * @module
 */

import type { Answer } from "../../shared/flow.ts";
import type { Step } from "../../sync/protocols.ts";
import { type Act, type Asked, type Facts, type Node, Nodes, type Told } from "./acts.ts";
import { Row, Tuples } from "./tuples.ts";

/** A process at one moment. */
export interface Actor {
  readonly alive: boolean;
  readonly facts: Facts;
  readonly asleep: boolean;
}

/** All that is, at one moment. */
export interface Moment {
  readonly word: (word: number) => number;
  /** In no order that means anything: equal processes change places. */
  readonly processes: readonly Actor[];
  /** What the model remembers beside. */
  readonly ghost: number;
}

/** What is to be explored. */
export interface Model {
  /** The words that are used, with what they are at first. */
  readonly words: ReadonlyMap<number, number>;
  readonly semaphores: readonly number[];
  /** The facts and the undo with which each process begins. */
  readonly processes: readonly { facts: Facts; undo: readonly number[] }[];
  /** The facts of the process that is started in place of a dead one with these; none is if left out. */
  again?(facts: Facts): Facts;
  /** How many may die, Infinity for no limit. */
  readonly deaths: number;
  /** How many sleeps and waits may be cancelled, Infinity for no limit. */
  readonly cancels: number;
  /**
   * Whether nobody else changes a word while a process is so. To read it then is no event of its own, as
   * it makes no difference when that happens; the search makes sure that it is true.
   */
  isStable?(word: number, facts: Facts): boolean;
  act(facts: Facts): Act;
  /** Says what is wrong with a moment. */
  check(moment: Moment): string | undefined;
  /** Says what is wrong if nobody goes on by itself. */
  checkAtRest(moment: Moment): string | undefined;
  /** What the model remembers at first. @default {0} */
  readonly ghost?: number;
  /** What the model remembers after an event of a process, and whether that was its death. */
  remember?(before: Moment, after: Moment, process: number, died: boolean): number;
  /** Makes values of a word that differ in nothing that matters the same. */
  same?(word: number, value: number): number;
  readonly maxStates: number;
}

/** What a search found. */
export interface Found {
  readonly states: number;
  readonly failure: string | undefined;
}

/** The bells need not count further than this. */
const LOUDEST = 1;
const UNLIMITED = 99;
/** Where nobody is who comes after a dead one. */
const NOBODY = 2 ** 30;
const DEAD: Actor = { alive: false, facts: {}, asleep: false };

// A state: the numbers of its words, of its semaphores, of the rest, and for each process of where it is
// and of its undo.
const WORDS = 0, SEMAPHORES = 1, REST = 2, BODIES = 3;

/** Explores all states. */
export function explore(model: Model): Found {
  return new Search(model).run();
}

/** A moment as a model sees it, over and over the same object. */
class View implements Moment {
  readonly processes: Actor[];
  readonly words: Int32Array;
  ghost = 0;
  readonly word: (word: number) => number;

  constructor(index: ReadonlyMap<number, number>, count: number) {
    this.words = new Int32Array(index.size);
    this.processes = new Array<Actor>(count).fill(DEAD);
    this.word = (word) => this.words[index.get(word)!]!;
  }
}

class Search {
  readonly #model: Model;
  readonly #nodes: Nodes;
  readonly #index: ReadonlyMap<number, number>;

  readonly #words: Tuples;
  readonly #semaphores: Tuples;
  readonly #undo: Tuples;
  /** Where a process is, or what comes after a dead one, and its undo. */
  readonly #bodies = new Tuples(2);
  /** The deaths and the cancels that are left, and the ghost. */
  readonly #rest = new Tuples(3);
  readonly #states: Tuples;
  readonly #from = new Row();
  readonly #actors: Actor[] = [];

  /** For each state, where its edges end: those to states that come by themselves. */
  readonly #edges = new Row();
  readonly #ends = new Row();
  readonly #resting: number[] = [];

  // The state that is being visited.
  #number = 0;
  readonly #state: Int32Array;
  readonly #before: View;
  readonly #after: View;
  #deaths = 0;
  #cancels = 0;
  readonly #values: Int32Array;
  readonly #own: Int32Array;
  readonly #made: Int32Array;
  /** Who has changed what must be stable. */
  #intruder: string | undefined;
  /** Is told each event, while the way to a state is looked for. */
  #hear: ((to: number, process: number, event: string) => void) | undefined;

  constructor(model: Model) {
    const { words, semaphores, processes } = model;
    const count = processes.length;
    this.#model = model;
    this.#nodes = new Nodes((facts) => model.act(facts));
    this.#index = new Map([...words.keys()].map((word, index) => [word, index]));
    this.#words = new Tuples(words.size);
    this.#semaphores = new Tuples(semaphores.length);
    this.#undo = new Tuples(semaphores.length);
    this.#states = new Tuples(BODIES + count);
    this.#state = new Int32Array(BODIES + count);
    this.#made = new Int32Array(BODIES + count);
    this.#before = new View(this.#index, count);
    this.#after = new View(this.#index, count);
    this.#values = new Int32Array(semaphores.length);
    this.#own = new Int32Array(semaphores.length);
  }

  run(): Found {
    this.#begin();
    for (let number = 0; number < this.#states.size; number++) {
      if (number > this.#model.maxStates) return this.#fail(number, "There are too many states");
      const wrong = this.#visit(number);
      if (wrong !== undefined) return this.#fail(number, wrong);
      this.#ends.push(this.#edges.length);
    }
    const restless = this.#findRestless();
    if (restless !== undefined) return this.#fail(restless, "There is no way to rest");
    return { states: this.#states.size, failure: undefined };
  }

  #begin(): void {
    const { words, semaphores, processes, deaths, cancels, ghost = 0 } = this.#model;
    const bodies = processes.map(({ facts, undo }) =>
      this.#bodies.add([this.#nodes.begin(facts).id, this.#undo.add(undo)])
    );
    this.#states.add([
      this.#words.add([...words.values()]),
      this.#semaphores.add(semaphores),
      this.#rest.add([Math.min(deaths, UNLIMITED), Math.min(cancels, UNLIMITED), ghost]),
      ...bodies.sort((a, b) => a - b),
    ]);
    this.#from.push(0);
  }

  // One state.

  #visit(number: number): string | undefined {
    const { processes } = this.#model;
    this.#load(number);
    const before = this.#before;
    const wrong = this.#model.check(before);
    if (wrong !== undefined) return wrong;
    const edges = this.#edges.length;
    for (let process = 0; process < processes.length; process++) {
      const body = this.#state[BODIES + process]!;
      const place = this.#bodies.at(body, 0);
      if (place < 0) this.#comeAgain(process, body);
      else this.#live(process, this.#nodes.all[place]!, this.#bodies.at(body, 1));
    }
    if (this.#intruder !== undefined) return this.#intruder;
    if (this.#edges.length > edges) return undefined;
    this.#resting.push(number);
    return this.#model.checkAtRest(before);
  }

  #load(number: number): void {
    const state = this.#state;
    const [before, after] = [this.#before, this.#after];
    this.#number = number;
    this.#states.copy(number, state);
    this.#words.copy(state[WORDS]!, before.words);
    this.#words.copy(state[WORDS]!, after.words);
    this.#deaths = this.#rest.at(state[REST]!, 0);
    this.#cancels = this.#rest.at(state[REST]!, 1);
    before.ghost = after.ghost = this.#rest.at(state[REST]!, 2);
    for (let process = 0; process < before.processes.length; process++) {
      before.processes[process] = after.processes[process] = this.#actor(state[BODIES + process]!);
    }
  }

  #actor(body: number): Actor {
    const place = this.#bodies.at(body, 0);
    if (place < 0) return DEAD;
    let actor = this.#actors[place];
    if (actor === undefined) {
      const { facts, request } = this.#nodes.all[place]!;
      actor = this.#actors[place] = { alive: true, facts, asleep: request.ask === "sleep" };
    }
    return actor;
  }

  /** Starts the process that comes after a dead one. */
  #comeAgain(process: number, body: number): void {
    const place = ~this.#bodies.at(body, 0);
    if (place === NOBODY) return;
    this.#reach(process, this.#bodies.add([place, this.#bodies.at(body, 1)]), false, "starts");
  }

  #live(process: number, node: Node, undo: number): void {
    const { request } = node;
    const { ask } = request;
    if (ask === "choose") {
      for (const one of request.will) this.#tell(process, node, undo, one, true);
      for (const one of request.may) this.#tell(process, node, undo, one, false);
    } else if (ask === "read") {
      this.#semaphores.copy(this.#state[SEMAPHORES]!, this.#values);
      const seen = request.see(this.#values as unknown as number[]) as Answer;
      this.#tell(process, node, undo, seen, true);
    } else if (ask === "try" || ask === "ring" || ask === "give back") {
      const isDone = this.#perform(process, node, undo, request.step);
      if (!isDone && ask === "give back") throw new Error("Must be possible");
      if (!isDone) this.#tell(process, node, undo, false, true);
    } else if (ask === "wait" || ask === "sleep") {
      this.#perform(process, node, undo, ask === "wait" ? request.step : this.#sleep(node));
      if (this.#cancels > 0) this.#tell(process, node, undo, "cancelled", false);
    } else if (ask !== "loop" && ask !== "turn") {
      this.#touch(process, node, undo);
    }
    if (this.#deaths > 0) this.#die(process, undo);
  }

  /** Goes on with an answer that changes nothing. */
  #tell(process: number, node: Node, undo: number, answer: Told, isCertain: boolean): void {
    const next = this.#settle(this.#nodes.after(node, answer));
    this.#reach(process, this.#bodies.add([next.id, undo]), isCertain, answer);
  }

  /** Reads what is stable at once. */
  #settle(node: Node): Node {
    let at = node;
    for (let next: Node | undefined = at; next !== undefined; next = this.#readStable(at)) {
      at = next;
    }
    return at;
  }

  #readStable(node: Node): Node | undefined {
    const { request, facts } = node;
    if (request.ask !== "load" || !this.#model.isStable?.(request.word, facts)) return undefined;
    const word = this.#after.word(request.word);
    return this.#nodes.after(node, request.see?.(word) ?? word);
  }

  /** Reads or changes a word. */
  #touch(process: number, node: Node, undo: number): void {
    const { request, facts } = node;
    const word = "gate" in request ? request.gate : (request as { word: number }).word;
    const index = this.#index.get(word);
    if (index === undefined) throw new Error(`The model has no word ${word}`);
    const { words } = this.#after;
    const from = words[index]!;
    const to = changed(request, from, 1 << (facts.place! - 1));
    const answer = answerTo(request, from, to);
    if (to !== from) this.#guard(process, word);
    words[index] = to === from ? from : this.#model.same?.(word, to) ?? to;
    this.#tell(process, node, undo, answer, true);
    words[index] = from;
  }

  #guard(process: number, word: number): void {
    const { isStable } = this.#model;
    if (isStable === undefined) return;
    for (const [other, { alive, facts }] of this.#before.processes.entries()) {
      if (other === process || !alive || !isStable(word, facts)) continue;
      this.#intruder = `Word ${word} changes while place ${facts.place} relies on it`;
    }
  }

  #sleep({ facts }: Node): Step {
    const places = (this.#model.semaphores.length - 2) / 2;
    return [{ index: 1 + places + facts.place!, delta: -1 }];
  }

  /** Performs a step of semaphores, if it is possible now. */
  #perform(process: number, node: Node, undo: number, step: Step): boolean {
    const [values, own] = [this.#values, this.#own];
    const before = this.#state[SEMAPHORES]!;
    this.#semaphores.copy(before, values);
    this.#undo.copy(undo, own);
    for (const { index = 0, delta, undo: reversed } of step) {
      if (delta === 0 ? values[index] !== 0 : values[index]! + delta < 0) return false;
      values[index]! += delta;
      if (reversed) own[index]! -= delta;
    }
    for (const { index = 0 } of step) {
      if (index > 1) values[index] = Math.min(values[index]!, LOUDEST);
    }
    this.#state[SEMAPHORES] = this.#semaphores.add(values);
    this.#tell(process, node, this.#undo.add(own), true, true);
    this.#state[SEMAPHORES] = before;
    return true;
  }

  #die(process: number, undo: number): void {
    const [values, own] = [this.#values, this.#own];
    const before = this.#state[SEMAPHORES]!;
    this.#semaphores.copy(before, values);
    this.#undo.copy(undo, own);
    for (let index = 0; index < values.length; index++) {
      const value = values[index]! + own[index]!;
      values[index] = Math.max(0, Math.min(value, index > 1 ? LOUDEST : 1));
    }
    const next = this.#model.again?.(this.#before.processes[process]!.facts);
    const place = next === undefined ? NOBODY : this.#nodes.begin(next).id;
    const body = this.#bodies.add([~place, this.#undo.add(own.fill(0))]);
    this.#state[SEMAPHORES] = this.#semaphores.add(values);
    this.#reach(process, body, false, "dies");
    this.#state[SEMAPHORES] = before;
  }

  /** Adds the state that follows when a process is there, and the words and semaphores as they are. */
  #reach(process: number, body: number, isCertain: boolean, event: Told | "starts" | "dies"): void {
    const [made, state, after] = [this.#made, this.#state, this.#after];
    const { remember } = this.#model;
    made.set(state);
    made[WORDS] = this.#words.add(after.words);
    let ghost = this.#before.ghost;
    if (remember !== undefined) {
      after.processes[process] = this.#actor(body);
      ghost = remember.call(this.#model, this.#before, after, process, event === "dies");
      after.processes[process] = this.#before.processes[process]!;
    }
    const deaths = left(this.#deaths, event === "dies");
    made[REST] = this.#rest.add([deaths, left(this.#cancels, event === "cancelled"), ghost]);
    made[BODIES + process] = body;
    sort(made);
    const known = this.#states.size;
    const to = this.#states.add(made);
    if (to === known) this.#from.push(this.#number);
    if (isCertain) this.#edges.push(to);
    this.#hear?.(to, process, `${event as unknown}`);
  }

  // After the search.

  /** A state that none leads from, by itself, to one that is at rest. */
  #findRestless(): number | undefined {
    const canRest = new Uint8Array(this.#states.size);
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
    for (let edge = number === 0 ? 0 : this.#ends.at(number - 1); edge < end; edge++) {
      if (those[this.#edges.at(edge)] === 1) return true;
    }
    return false;
  }

  #fail(number: number, why: string): Found {
    const { size } = this.#states;
    const lines: string[] = [];
    for (let at = number; at > 0; at = this.#from.at(at)) lines.push(this.#describe(at));
    return { states: size, failure: `${why}\n${lines.reverse().join("\n")}` };
  }

  /** How a state was reached, and its words. */
  #describe(number: number): string {
    let line = "";
    this.#hear = (to, process, event) => {
      if (to !== number || line !== "") return;
      const { facts } = this.#before.processes[process]!;
      const place = this.#bodies.at(this.#state[BODIES + process]!, 0);
      const asked = place < 0 ? "" : describe(this.#nodes.all[place]!.request);
      line = `   ${facts.place ?? "-"} ${asked} -> ${event}`;
    };
    this.#visit(this.#from.at(number));
    this.#hear = undefined;
    this.#words.copy(this.#states.at(number, WORDS), this.#before.words);
    return `${line}  ${this.#before.words.join(" ")}`;
  }
}

/** What becomes of a word. */
function changed(request: Asked, from: number, bit: number): number {
  switch (request.ask) {
    case "store":
      return request.value | 0;
    case "add":
      return (from + request.value) | 0;
    case "compareExchange":
      return from === (request.from | 0) ? request.to : from;
    case "or":
      return from | request.bits;
    case "and":
      return from & request.bits;
    case "mark":
      return from | bit;
    case "unmark":
      return from & ~bit;
    case "take":
      return 0;
    default:
      return from;
  }
}

/** What is told of a word that was so and has become so. */
function answerTo(request: Asked, from: number, to: number): Answer {
  switch (request.ask) {
    case "load":
      return request.see?.(from) ?? from;
    case "compareExchange":
      return from === (request.from | 0);
    case "unmark":
      return from !== to;
    case "add":
    case "take":
      return from;
    default:
      return true;
  }
}

function describe(request: Asked): string {
  if ("gate" in request) return `${request.ask} gate ${request.gate}`;
  return "word" in request ? `${request.ask} word ${request.word}` : request.ask;
}

/** What is left of a number of events after another. */
function left(count: number, isOne: boolean): number {
  return isOne && count < UNLIMITED ? count - 1 : count;
}

/** Puts the processes of a state in order, so that states that differ only by it are the same. */
function sort(state: Int32Array): void {
  for (let i = BODIES + 1; i < state.length; i++) {
    const body = state[i]!;
    let at = i;
    for (; at > BODIES && state[at - 1]! > body; at--) state[at] = state[at - 1]!;
    state[at] = body;
  }
}
