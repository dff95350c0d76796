/**
 * A search through all interleavings of processes that share semaphores, each of which may die at
 * any point, may have each of its waits cancelled, and may be refused whatever it asks for, as when
 * the mode of the semaphores was changed meanwhile.
 *
 * What a process does is written as an act: a generator that chooses among the flows of sync/, runs
 * them, and notes what is true then. Its state is what it has been told since it began its act, so
 * that states can be compared and the generator made again by telling it the same.
 *
 * @module
 */

import type { Answer, Flow, Request as FlowRequest } from "../../sync/flow.ts";
import { die, perform, reverse } from "./semop.ts";

/** What a place waits for: what a flow asks for, or that the process chooses. */
export type Request =
  | Exclude<FlowRequest, { ask: "loop" }>
  /** To do one of these: it will if nothing else happens, or it may. With nothing that it will do, it is at rest. */
  | { ask: "choose"; will: readonly string[]; may: readonly string[] };

/** What is true of a flow from now on. */
export interface Note<Facts> {
  note: Facts;
}

/** Flows in sequence, with what is true between them. */
export type Act<Result, Facts = never> = Generator<
  FlowRequest | Request | Note<Facts>,
  Result,
  Answer
>;

/** What a request ends with instead of an answer. */
type Failure = "cancelled" | "ERANGE" | "refused";

/** What was told to a request. */
type Told = Answer | { readonly thrown: Failure };

/** What ends an act before its end. */
export class Rejection extends Error {
  readonly code: string;

  constructor(code: string) {
    super(code);
    this.code = code;
  }
}

/** What a request ends with that is refused. */
export class Refusal extends Rejection {
  /** Whether something was to be given back, which is kept therefore. */
  readonly keeps: boolean;

  constructor(keeps: boolean) {
    super("EACCES");
    this.keeps = keeps;
  }
}

/** Does anything of what it may do. */
export function* choose<Choice extends string>(
  { will = [], may = [] }: { will?: readonly Choice[]; may?: readonly Choice[] },
): Act<Choice> {
  return (yield { ask: "choose", will, may }) as Choice;
}

/** Says what is true from now on. */
export function* note<Facts>(facts: Facts): Act<void, Facts> {
  yield { note: facts };
}

/** Runs a flow, and notes what is true after each of its events. */
export function* watch<Result, Facts>(
  flow: Flow<Result>,
  look: () => Facts,
): Act<Result, Facts> {
  try {
    let turn = flow.next(null);
    while (!turn.done) {
      yield { note: look() };
      let answer;
      try {
        answer = yield turn.value;
      } catch (error) {
        turn = flow.throw(error);
        continue;
      }
      turn = flow.next(answer);
    }
    return turn.value;
  } finally {
    yield { note: look() };
  }
}

/** Where a flow is: what it asks for, and what is true of it. */
export interface Place<Facts> {
  readonly id: number;
  readonly request: Request;
  readonly facts: Facts;
  /** Tells facts apart. */
  readonly about: string;
  /** The facts that its act began with, and what it was told since. */
  readonly start: Facts;
  readonly history: readonly Told[];
  /** What the act threw instead. */
  readonly fault: string | undefined;
}

/** A process: its flows share its undo, and its death. */
export interface Process<Facts> {
  readonly alive: boolean;
  readonly undo: readonly number[];
  readonly flows: readonly Place<Facts>[];
  /** Of each flow, whether its step is done, but may still be reversed. */
  readonly done: readonly boolean[];
  readonly key: string;
}

/** All that is, at one moment. */
export interface State<Facts> {
  readonly values: readonly number[];
  readonly processes: readonly Process<Facts>[];
  readonly witness: number;
}

/** What is to be explored. */
export interface Model<Facts> {
  readonly values: readonly number[];
  /**
   * How many flows each process has.
   *
   * @default {[1, 1, 1]}
   */
  readonly processes?: readonly number[];
  /** What is true of each flow in the beginning. */
  readonly facts: Facts;
  /** What a flow does, again and again; all that it keeps from one act to the next are the facts. */
  act(facts: Facts): Act<void, Facts>;
  /** Fails if a state is wrong. */
  check(state: State<Facts>): void;
  /** Fails if a state is wrong in which all who live are at rest. */
  checkAtRest(state: State<Facts>): void;
  /** What a witness remembers of a transition; fails if it is wrong. */
  witness?(before: State<Facts>, after: State<Facts>): number;
  /**
   * Whether requests are refused, at any moment.
   *
   * @default {false}
   */
  readonly refuses?: boolean;
  /** Whether those who wait rightly wait for ever. */
  mayWait?(state: State<Facts>): boolean;
}

/** What an exploration found. */
export interface Exploration<Facts> {
  /** How many states there are, not counting those that differ only by the order of the processes. */
  readonly states: number;
  /** All places that flows get to. */
  readonly places: readonly Place<Facts>[];
  /** What is wrong, after a shortest trace that leads to it. */
  readonly failure: string | undefined;
}

export interface Transition<Facts> {
  readonly after: State<Facts>;
  readonly process: number;
  readonly flow: number;
  readonly event: string;
  readonly request?: Request;
  /** Whether it happens if nothing else does: neither a death nor a cancel, nor what is only chosen. */
  readonly certain: boolean;
}

const mostStates = 300_000;

/** Explores all states, and checks that from each all who live can come to rest. */
export function explore<Facts>(model: Model<Facts>): Exploration<Facts> {
  const places = new Places(model);
  const first = initial(model, places);
  const states = [first];
  const numbers = new Map([[keyOf(first), 0]]);
  const parents: { from: number; by: Transition<Facts> }[] = [];
  const certainlyBefore: number[][] = [[]];
  const rests = new Set<number>();
  const result = (failure?: string) => ({ states: states.length, places: places.all, failure });
  const trace = (number: number): string[] => {
    if (number === 0) return [`   ${first.values.join(" ")}`];
    const { from, by } = parents[number - 1]!;
    return [...trace(from), told(by)];
  };
  const told = ({ process, flow, event, request, after }: Transition<Facts>): string => {
    const who = model.processes === undefined ? `${process}` : `${process}.${flow}`;
    const what = request === undefined ? "" : ` ${describe(request)}:`;
    return `   ${who}${what} ${event} -> ${after.values.join(" ")}`;
  };
  const failure = (message: string, lines: string[]) => result(`${message}\n${lines.join("\n")}`);

  for (let number = 0; number < states.length; number++) {
    if (number === mostStates) return failure("There are too many states", trace(number));
    const state = states[number]!;
    const resting = atRest(state);
    const wrong = complaint(() => {
      model.check(state);
      if (resting) model.checkAtRest(state);
    });
    if (wrong !== undefined) return failure(wrong, trace(number));
    if (resting || model.mayWait?.(state)) rests.add(number);
    for (const by of transitions(state, places, model.refuses === true)) {
      let { after } = by;
      const wrong = complaint(() => {
        if (by.event === "impossible") throw new Error("What is given back has to be possible");
        const { fault } = by.after.processes[by.process]!.flows[by.flow]!;
        if (fault !== undefined) throw new Error(fault);
        const witness = model.witness?.(state, after);
        if (witness !== undefined) after = { ...after, witness };
      });
      if (wrong !== undefined) return failure(wrong, [...trace(number), told(by)]);
      const key = keyOf(after);
      let reached = numbers.get(key);
      if (reached === undefined) {
        reached = states.push(after) - 1;
        numbers.set(key, reached);
        parents.push({ from: number, by });
        certainlyBefore.push([]);
      }
      if (by.certain) certainlyBefore[reached]!.push(number);
    }
  }

  for (const number of rests) for (const before of certainlyBefore[number]!) rests.add(before);
  const stuck = states.findIndex((_, number) => !rests.has(number));
  if (stuck >= 0) return failure("Somebody who lives can never come to rest", trace(stuck));
  return result();
}

function complaint(check: () => void): string | undefined {
  try {
    check();
  } catch (error) {
    return (error as Error).message;
  }
  return undefined;
}

export function initial<Facts>(model: Model<Facts>, places: Places<Facts>): State<Facts> {
  const { values, facts, processes = [1, 1, 1] } = model;
  const place = places.begin(facts);
  return {
    values,
    witness: 0,
    processes: processes.map((flows) =>
      processOf(true, values.map(() => 0), Array(flows).fill(place), Array(flows).fill(false))
    ),
  };
}

function processOf<Facts>(
  alive: boolean,
  undo: readonly number[],
  flows: readonly Place<Facts>[],
  done: readonly boolean[],
): Process<Facts> {
  const each = flows.map(({ id, about }, flow) => !alive ? about : done[flow] ? -id - 1 : id)
    .sort();
  return { alive, undo, flows, done, key: `${alive ? "" : "dead"} ${each} ${undo}` };
}

/** Tells states apart, but not those that differ only by who is who: all run the same program. */
function keyOf<Facts>({ values, processes, witness }: State<Facts>): string {
  return `${values};${witness};${processes.map(({ key }) => key).sort().join(";")}`;
}

export function atRest<Facts>({ processes }: State<Facts>): boolean {
  return processes.every(({ alive, flows }) =>
    !alive || flows.every(({ request }) => request.ask === "choose" && request.will.length === 0)
  );
}

/** Everything that can happen next. */
export function* transitions<Facts>(
  state: State<Facts>,
  places: Places<Facts>,
  refuses: boolean,
): Generator<Transition<Facts>> {
  for (const [process, { alive, undo, flows, done }] of state.processes.entries()) {
    if (!alive) continue;
    for (const [flow, place] of flows.entries()) {
      const { request } = place;
      const event = (
        answer: Told,
        { values = state.values, undo: newUndo = undo } = {},
        certain = true,
        happened: unknown = answer,
      ): Transition<Facts> => {
        const newFlows = flows.with(flow, places.after(place, answer));
        const changed = processOf(true, newUndo, newFlows, done.with(flow, false));
        const after = { ...state, values, processes: state.processes.with(process, changed) };
        return { after, process, flow, event: JSON.stringify(happened), request, certain };
      };
      const failure = (thrown: Failure, change = {}, certain = false, happened: string = thrown) =>
        event({ thrown }, change, certain, happened);
      if (refuses && request.ask !== "choose" && !done[flow]) yield failure("refused");
      if (request.ask === "choose") {
        for (const choice of request.will) yield event(choice);
        for (const choice of request.may) yield event(choice, {}, false);
      } else if (request.ask === "read") {
        yield event(request.see(state.values));
      } else if (done[flow]) {
        yield event("done");
        const change = perform(state.values, undo, reverse(request.step)!);
        if (typeof change === "object") yield failure("cancelled", change, false, "reversed");
      } else {
        const change = perform(state.values, undo, request.step);
        if (change === "ERANGE" && request.ask !== "give back") yield failure(change, {}, true);
        if (request.ask === "wait") {
          yield failure("cancelled");
          if (typeof change !== "object") continue;
          // What cannot be reversed is the same to all whether the flow has been told of it or not.
          if (reverse(request.step) === undefined) {
            yield event("done", change);
          } else {
            const changed = processOf(true, change.undo, flows, done.with(flow, true));
            const processes = state.processes.with(process, changed);
            const after = { ...state, values: change.values, processes };
            yield { after, process, flow, event: "done", request, certain: true };
          }
        } else if (typeof change === "object") yield event(true, change);
        else if (request.ask === "give back") yield { ...event(false), event: "impossible" };
        else if (change === "EAGAIN") yield event(false);
      }
    }
    const values = die(state.values, undo);
    const dead = processOf(false, undo.map(() => 0), flows, done);
    const after = { ...state, values, processes: state.processes.with(process, dead) };
    yield { after, process, flow: 0, event: "dies", certain: false };
  }
}

function describe(request: Request): string {
  if (request.ask === "read" || request.ask === "choose") return request.ask;
  const operations = request.step.map(({ index = 0, delta, undo }) =>
    `(${index}, ${delta > 0 ? "+" : ""}${delta}${undo ? ", UNDO" : ""})`
  );
  return `${request.ask} [${operations.join(", ")}]`;
}

/** The places of a program, found as they are needed. */
export class Places<Facts> {
  readonly all: Place<Facts>[] = [];
  readonly #model: Model<Facts>;
  readonly #byHistory = new Map<string, Place<Facts>>();
  readonly #next: Map<Told, Place<Facts>>[] = [];

  constructor(model: Model<Facts>) {
    this.#model = model;
  }

  /** Where an act begins. */
  begin(facts: Facts): Place<Facts> {
    return this.#find(facts, []);
  }

  /** Where an answer leads. */
  after({ id, start, history }: Place<Facts>, told: Told): Place<Facts> {
    const next = this.#next[id]!;
    const key = typeof told === "object" ? JSON.stringify(told) : told;
    let place = next.get(key);
    if (place === undefined) {
      place = this.#find(start, [...history, told]);
      next.set(key, place);
    }
    return place;
  }

  #find(start: Facts, history: readonly Told[]): Place<Facts> {
    const key = JSON.stringify([start, history]);
    let place = this.#byHistory.get(key);
    if (place === undefined) {
      place = this.#replay(start, history);
      this.#byHistory.set(key, place);
    }
    return place;
  }

  #replay(start: Facts, history: readonly Told[]): Place<Facts> {
    let facts = start;
    const act = this.#model.act(start);
    let loop = 0;
    let at = 0;
    const add = (request: Request, fault?: string) =>
      this.#add({ request, facts, about: JSON.stringify(facts), start, history, fault });
    try {
      let turn = act.next(null);
      while (!turn.done) {
        const { value } = turn;
        if ("note" in value) {
          facts = value.note;
          turn = act.next(null);
        } else if (value.ask === "loop") {
          if (value.again) return this.#find(start, history.slice(0, loop));
          loop = at;
          turn = act.next(null);
        } else if (at === history.length) return add(value);
        else turn = tell(act, value, history[at++]!);
      }
    } catch (error) {
      if (!(error instanceof Rejection)) return add(rest, String(error));
    }
    return this.begin(facts);
  }

  #add(place: Omit<Place<Facts>, "id">): Place<Facts> {
    const added = { ...place, id: this.all.length };
    this.all.push(added);
    this.#next.push(new Map());
    return added;
  }
}

const rest: Request = { ask: "choose", will: [], may: [] };

/** Goes on with an act as it was told. */
function tell<Facts>(
  act: Act<void, Facts>,
  { ask }: Request,
  told: Told,
): ReturnType<Act<void, Facts>["next"]> {
  if (typeof told !== "object" || told === null || !("thrown" in told)) return act.next(told);
  const { thrown } = told;
  return act.throw(
    thrown === "refused" ? new Refusal(ask === "give back") : new Rejection(thrown),
  );
}
