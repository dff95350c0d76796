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
import { type Asked, type Facts, type Node, Nodes, type Told } from "./acts.ts";
import { Graph } from "./graph.ts";
import { answerTo, changed, describe } from "./events.ts";
import type { Actor, Found, Model, Moment } from "./model.ts";
import { Tuples } from "./tuples.ts";

/** The bells need not count further than this. */
const LOUDEST = 1;
const UNLIMITED = 99;
/** Where nobody is who comes after a dead one. */
const NOBODY = 2 ** 30;
const DEAD: Actor = { alive: false, facts: {}, asleep: false };

/** How an event happens: by itself or as somebody wishes, and so that nobody else can notice it. */
interface How {
  readonly isCertain?: boolean;
  readonly isOwn?: boolean;
}
const PLAINLY: How = {};

// A scene: the numbers of its words, of its semaphores, and of the rest. A state: its scene, and for each
// process the number of where it is and of its undo.
const WORDS = 0, SEMAPHORES = 1, REST = 2;
const SCENE = 0, BODIES = 1;

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
  readonly #places: number;
  readonly #nodes: Nodes;
  readonly #index: ReadonlyMap<number, number>;

  readonly #words: Tuples;
  readonly #semaphores: Tuples;
  readonly #undos: Tuples;
  /** Where a process is, or what comes after a dead one, and its undo. */
  readonly #bodies = new Tuples(2);
  /** The deaths and the cancels that are left, and the ghost. */
  readonly #rest = new Tuples(3);
  readonly #scenes = new Tuples(3);
  readonly #states: Tuples;
  readonly #graph = new Graph();
  readonly #actors: Actor[] = [];

  // The state that is being visited.
  #number = 0;
  readonly #state: Int32Array;
  readonly #scene = new Int32Array(3);
  #deaths = 0;
  #cancels = 0;
  /** Whether nobody comes or goes any more. */
  #isQuiet = false;

  // What one process does at a stretch: as what it began, and where it is.
  #process = 0;
  #start: Facts = {};
  #node!: Node;
  #undo = 0;
  #isCertain = true;
  readonly #trail: string[] = [];
  /** Before its last event, and after it. */
  readonly #before: View;
  readonly #after: View;
  /** The word that it has touched last. */
  #touched = 0;

  readonly #values: Int32Array;
  readonly #own: Int32Array;
  readonly #made: Int32Array;
  /** Who has touched what another relies on. */
  #intruder: string | undefined;
  /** Is told each step, while the way to a state is looked for. */
  #hear: ((to: number, trail: readonly string[]) => void) | undefined;

  constructor(model: Model) {
    const { words, semaphores, processes } = model;
    const count = processes.length;
    this.#model = model;
    this.#places = (semaphores.length - 2) / 2;
    this.#nodes = new Nodes((facts) => model.act(facts));
    this.#index = new Map([...words.keys()].map((word, index) => [word, index]));
    this.#words = new Tuples(words.size);
    this.#semaphores = new Tuples(semaphores.length);
    this.#undos = new Tuples(semaphores.length);
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
    }
    const restless = this.#graph.findRestless();
    if (restless !== undefined) return this.#fail(restless, "There is no way to rest");
    return { states: this.#states.size, failure: undefined };
  }

  #begin(): void {
    const { words, semaphores, processes, deaths, cancels, ghost = 0 } = this.#model;
    const bodies = processes.map(({ facts, undo }) =>
      this.#bodies.add([this.#nodes.begin(facts).id, this.#undos.add(undo)])
    );
    const scene = this.#scenes.add([
      this.#words.add([...words.values()]),
      this.#semaphores.add(semaphores),
      this.#rest.add([Math.min(deaths, UNLIMITED), Math.min(cancels, UNLIMITED), ghost]),
    ]);
    this.#states.add([scene, ...bodies.sort((a, b) => a - b)]);
    this.#graph.found(0);
  }

  // One state.

  #visit(number: number): string | undefined {
    const { processes } = this.#model;
    this.#load(number);
    const before = this.#before;
    const wrong = this.#model.check(before);
    if (wrong !== undefined) return wrong;
    for (let process = 0; process < processes.length; process++) this.#move(process);
    if (this.#intruder !== undefined) return this.#intruder;
    return this.#graph.end(number) ? this.#model.checkAtRest(before) : undefined;
  }

  #load(number: number): void {
    const [state, scene] = [this.#state, this.#scene];
    const [before, after] = [this.#before, this.#after];
    this.#number = number;
    this.#states.copy(number, state);
    this.#scenes.copy(state[SCENE]!, scene);
    this.#words.copy(scene[WORDS]!, before.words);
    this.#words.copy(scene[WORDS]!, after.words);
    this.#deaths = this.#rest.at(scene[REST]!, 0);
    this.#cancels = this.#rest.at(scene[REST]!, 1);
    this.#isQuiet = this.#deaths === 0 && !this.#model.leaves &&
      this.#areAllAlive(scene[SEMAPHORES]!);
    before.ghost = after.ghost = this.#rest.at(scene[REST]!, 2);
    for (let process = 0; process < before.processes.length; process++) {
      before.processes[process] = after.processes[process] = this.#actor(state[BODIES + process]!);
    }
  }

  #areAllAlive(semaphores: number): boolean {
    for (let place = 1; place <= this.#places; place++) {
      if (this.#semaphores.at(semaphores, 1 + place) === 0) return false;
    }
    return true;
  }

  #actor(body: number): Actor {
    const place = this.#bodies.at(body, 0);
    return place < 0 ? DEAD : this.#actorAt(this.#nodes.all[place]!);
  }

  #actorAt({ id, facts, request }: Node): Actor {
    return this.#actors[id] ??= { alive: true, facts, asleep: request.ask === "sleep" };
  }

  /** Has a process do what it can do next. */
  #move(process: number): void {
    const body = this.#state[BODIES + process]!;
    const place = this.#bodies.at(body, 0);
    this.#process = process;
    this.#undo = this.#bodies.at(body, 1);
    this.#isCertain = true;
    this.#start = this.#before.processes[process]!.facts;
    if (place >= 0) {
      this.#node = this.#nodes.all[place]!;
      this.#live();
      if (this.#deaths > 0) this.#die();
    } else if (~place !== NOBODY) {
      this.#follow(this.#nodes.all[~place]!, "starts", { isCertain: false, isOwn: true });
    }
  }

  #live(): void {
    const { request } = this.#node;
    const { ask } = request;
    if (ask === "choose") {
      const { may, will } = this.#choices(request);
      for (const one of will) this.#tell(one, { isOwn: true });
      for (const one of may) this.#tell(one, { isCertain: false, isOwn: true });
    } else if (ask === "read") {
      this.#semaphores.copy(this.#scene[SEMAPHORES]!, this.#values);
      this.#tell(request.see(this.#values as unknown as number[]) as Answer);
    } else if (ask === "try" || ask === "ring" || ask === "give back") {
      const isDone = this.#perform(request.step);
      if (!isDone && ask === "give back") throw new Error("Must be possible");
      if (!isDone) this.#tell(false);
    } else if (ask === "wait" || ask === "sleep") {
      this.#perform(ask === "wait" ? request.step : this.#sleep(this.#node));
      if (this.#cancels > 0) this.#tell("cancelled", { isCertain: false });
    } else if (ask !== "loop" && ask !== "turn") {
      this.#touch();
    }
  }

  #choices(request: Extract<Asked, { ask: "choose" }>) {
    const { unless, will } = request;
    return { will, may: unless?.(this.#after.word) ? [] : request.may };
  }

  /** Goes on with an answer. */
  #tell(answer: Told, how: How = PLAINLY): void {
    this.#follow(this.#settle(this.#nodes.after(this.#node, answer)), answer, how);
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
    // What is read is who is alive.
    if (request.ask === "read" && this.#isQuiet) {
      this.#semaphores.copy(this.#scene[SEMAPHORES]!, this.#values);
      return this.#nodes.after(node, request.see(this.#values as unknown as number[]) as Answer);
    }
    if (request.ask !== "load") return undefined;
    const { word } = request;
    if (!this.#model.isStable?.(word, facts, this.#after.word)) return undefined;
    const value = this.#after.word(word);
    this.#guard(word, value, value);
    return this.#nodes.after(node, request.see?.(value) ?? value);
  }

  /** Reads or changes a word. */
  #touch(): void {
    const { request, facts } = this.#node;
    const word = "gate" in request ? request.gate : (request as { word: number }).word;
    const index = this.#index.get(word);
    if (index === undefined) throw new Error(`The model has no word ${word}`);
    const { words } = this.#after;
    const from = words[index]!;
    const to = changed(request, from, 1 << (facts.place! - 1));
    this.#guard(word, from, to);
    this.#touched = index;
    words[index] = to === from ? from : this.#model.same?.(word, to) ?? to;
    const answer = answerTo(request, from, to);
    this.#tell(answer, { isOwn: this.#isOwn(word, answer) });
    words[index] = from;
  }

  /** Whether nobody can notice that the process has touched a word until it does something else. */
  #isOwn(word: number, answer: Told): boolean {
    const { request, facts } = this.#node;
    const { isOwn } = this.#model;
    const { word: read } = this.#before;
    if (isOwn?.(word, facts, read) && isOwn(word, this.#start, read)) return true;
    if (request.ask !== "load") return false;
    // Who replaces what it has just seen, and sees to it again if it has changed, does both at once.
    const next = this.#nodes.after(this.#node, answer);
    if (next.request.ask !== "compareExchange" || next.request.word !== word) return false;
    if ((next.request.from | 0) !== this.#after.word(word)) return false;
    return this.#settle(this.#nodes.after(next, false)) === this.#node;
  }

  #guard(word: number, from: number, to: number): void {
    const { isStable, isOwn } = this.#model;
    const { word: read } = this.#before;
    for (const [other, { alive, facts }] of this.#before.processes.entries()) {
      if (other === this.#process || !alive) continue;
      if (isOwn?.(word, facts, read)) {
        this.#intruder = `Word ${word} is touched while place ${facts.place} has it to itself`;
      } else if (from !== to && isStable?.(word, facts, read)) {
        this.#intruder = `Word ${word} changes while place ${facts.place} relies on it`;
      }
    }
  }

  #sleep({ facts }: Node): Step {
    return [{ index: 1 + this.#places + facts.place!, delta: -1 }];
  }

  /** Performs a step of semaphores, if it is possible now. */
  #perform(step: Step): boolean {
    const [values, own] = [this.#values, this.#own];
    const [before, undo] = [this.#scene[SEMAPHORES]!, this.#undo];
    this.#semaphores.copy(before, values);
    this.#undos.copy(undo, own);
    for (const { index = 0, delta, undo: reversed } of step) {
      if (delta === 0 ? values[index] !== 0 : values[index]! + delta < 0) return false;
      values[index]! += delta;
      if (reversed) own[index]! -= delta;
    }
    for (const { index = 0 } of step) {
      if (index > 1) values[index] = Math.min(values[index]!, LOUDEST);
    }
    this.#scene[SEMAPHORES] = this.#semaphores.add(values);
    this.#undo = this.#undos.add(own);
    if (this.#isQuiet && !this.#areAllAlive(this.#scene[SEMAPHORES])) {
      this.#intruder = "A place is given back, though the model says that none is";
    }
    this.#tell(true);
    this.#scene[SEMAPHORES] = before;
    this.#undo = undo;
    return true;
  }

  #die(): void {
    const [values, own] = [this.#values, this.#own];
    const before = this.#scene[SEMAPHORES]!;
    this.#semaphores.copy(before, values);
    this.#undos.copy(this.#undo, own);
    for (let index = 0; index < values.length; index++) {
      const value = values[index]! + own[index]!;
      values[index] = Math.max(0, Math.min(value, index > 1 ? LOUDEST : 1));
    }
    const next = this.#model.again?.(this.#before.processes[this.#process]!.facts);
    const place = next === undefined ? NOBODY : this.#nodes.begin(next).id;
    const body = this.#bodies.add([~place, this.#undos.add(own.fill(0))]);
    this.#scene[SEMAPHORES] = this.#semaphores.add(values);
    this.#reach(body, this.#remember(DEAD, true), false, "dies");
    this.#scene[SEMAPHORES] = before;
    this.#after.processes[this.#process] = this.#before.processes[this.#process]!;
  }

  /** What the model remembers now that a process has become so. */
  #remember(actor: Actor, died: boolean): number {
    const [before, after] = [this.#before, this.#after];
    after.processes[this.#process] = actor;
    return this.#model.remember?.(before, after, this.#process, died) ?? before.ghost;
  }

  /** What follows from an event: another at once if nobody else could notice the first, or a state. */
  #follow(next: Node, event: Told | "starts", { isCertain = true, isOwn = false }: How): void {
    const ghost = this.#remember(this.#actorAt(next), false);
    const goesOn = isCertain && this.#isCertain;
    this.#after.ghost = ghost;
    if (isOwn && this.#mayPass(next)) this.#pass(next, ghost, goesOn, event);
    else this.#reach(this.#bodies.add([next.id, this.#undo]), ghost, goesOn, event);
    this.#after.ghost = this.#before.ghost;
    this.#after.processes[this.#process] = this.#before.processes[this.#process]!;
  }

  /** Whether a process need not be seen where it is: it goes on, and nothing is wrong there. */
  #mayPass({ request }: Node): boolean {
    const { ask } = request;
    if (ask === "wait" || ask === "sleep") return false;
    if (ask === "choose" && request.will.length === 0) return false;
    return this.#model.check(this.#after) === undefined;
  }

  /** Performs the next event as if it were one with the last. */
  #pass(next: Node, ghost: number, isCertain: boolean, event: Told | "starts"): void {
    const [before, after, process] = [this.#before, this.#after, this.#process];
    const [node, wasCertain, touched] = [this.#node, this.#isCertain, this.#touched];
    const [word, actor, known] = [before.words[touched]!, before.processes[process]!, before.ghost];
    this.#trail.push(this.#tellOf(event));
    this.#node = next;
    this.#isCertain = isCertain;
    before.words[touched] = after.words[touched]!;
    before.processes[process] = after.processes[process]!;
    before.ghost = ghost;
    this.#live();
    const isNew = before.words[touched] !== word || ghost !== known;
    if (this.#deaths > 0 && isNew) this.#die();
    this.#node = node;
    this.#isCertain = wasCertain;
    before.words[touched] = word;
    before.processes[process] = actor;
    before.ghost = known;
    this.#trail.pop();
  }

  #tellOf(event: Told | "starts" | "dies"): string {
    if (this.#hear === undefined) return "";
    const { facts } = this.#before.processes[this.#process]!;
    const asked = event === "starts" || event === "dies" ? "" : describe(this.#node.request);
    return `   ${facts.place ?? "-"} ${asked} -> ${event as unknown}`;
  }

  /** Adds the state that follows when the process is there, and the words and semaphores as they are. */
  #reach(body: number, ghost: number, isCertain: boolean, event: Told | "starts" | "dies"): void {
    const [made, scene] = [this.#made, this.#scene];
    const deaths = left(this.#deaths, event === "dies");
    const cancels = left(this.#cancels, event === "cancelled");
    made.set(this.#state);
    made[SCENE] = this.#scenes.add([
      this.#words.add(this.#after.words),
      scene[SEMAPHORES]!,
      this.#rest.add([deaths, cancels, ghost]),
    ]);
    made[BODIES + this.#process] = body;
    sort(made);
    const known = this.#states.size;
    const to = this.#states.add(made);
    if (to === known) this.#graph.found(this.#number);
    if (isCertain) this.#graph.lead(to);
    this.#hear?.(to, [...this.#trail, this.#tellOf(event)]);
  }

  // After the search.

  #fail(number: number, why: string): Found {
    const { size } = this.#states;
    const lines = this.#graph.wayTo(number).map((at) => this.#describe(at));
    return { states: size, failure: `${why}\n${lines.join("\n")}` };
  }

  /** How a state was reached, and its words. */
  #describe(number: number): string {
    let lines: readonly string[] = [];
    this.#hear = (to, trail) => {
      if (to === number && lines.length === 0) lines = [...trail];
    };
    this.#visit(this.#graph.from(number));
    this.#hear = undefined;
    const scene = this.#states.at(number, SCENE);
    this.#words.copy(this.#scenes.at(scene, WORDS), this.#before.words);
    return `${lines.join("\n")}  ${this.#before.words.join(" ")}`;
  }
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
