import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { test } from "node:test";
import { BarrierParty } from "../sync/barrier.ts";
import { Bulkhead, Leader, Mutex, RwLock } from "../sync/mod.ts";
import { barrier, bulkhead, leader, mutex, rwlock, type Step } from "../sync/protocols.ts";
import { Structure } from "../sync/structure.ts";
import {
  type Answer,
  choose,
  explore,
  type Flow,
  giveBack,
  type Model,
  note,
  operate,
  OutOfRange,
  type Process,
  read,
  type State,
  tryOperate,
} from "./model/explore.ts";
import * as flows from "./model/flows.ts";
import { Broken, Full, type Like, type Party } from "./model/flows.ts";
import { Script, textOf } from "./model/script.ts";

// In each model every process does whatever the class can do, in any order, dies at any point, and
// has any of its waits cancelled.

function passes<Facts>(model: Model<Facts>): void {
  const { states, failure } = explore(model);
  assert(failure === undefined, failure);
  assert(states > 50, "Hardly anything was explored");
}

function fails<Facts>(model: Model<Facts>, why: string): void {
  assertStringIncludes(explore(model).failure ?? "Nothing is wrong", why);
}

/** Checks that a class asks for the same as the model of it, whatever it is answered. */
async function performs<Facts>(
  model: Model<Facts>,
  choice: string,
  valuesOf: (seen: Answer) => number[],
  run: (array: Script) => Promise<unknown>,
  facts = model.facts,
): Promise<void> {
  const places = explore(model).places.filter(({ start, history }) =>
    JSON.stringify(start) === JSON.stringify(facts) && history[0] === choice
  );
  assert(places.length > 1, "The model does not get there");
  for (const { history: [_, ...history], request } of places) {
    const script = new Script(history, valuesOf);
    const ended = run(script).then(() => undefined, () => undefined);
    const asked = await Promise.race([script.asked, ended]);
    assertEquals(textOf(asked), textOf(request), `After ${JSON.stringify(history)}`);
  }
}

const stuck = "Somebody who lives can never come to rest";

/** The facts of all flows: of the living, unless told otherwise. */
function facts<Facts>(
  { processes }: State<Facts>,
  which: (process: Process<Facts>) => boolean = ({ alive }) => alive,
): Facts[] {
  return processes.filter(which).flatMap(({ flows }) => flows.map((place) => place.facts));
}

function count<Facts>(state: State<Facts>, is: (facts: Facts) => unknown): number {
  return facts(state).filter(is).length;
}

/** Who has died between two states. */
function died<Facts>(before: State<Facts>, after: State<Facts>): Process<Facts> | undefined {
  return before.processes.find(({ alive }, i) => alive && !after.processes[i]!.alive);
}

function assertValues({ values }: State<unknown>, expected: readonly number[]): void {
  assert(`${values}` === `${expected}`, "The values have drifted");
}

function assertNoUndo({ processes }: State<unknown>): void {
  for (const { undo } of processes) assert(undo.every((one) => one === 0), "The undo has drifted");
}

function withoutUndo(step: Step): Step {
  return step.map(({ index, delta }) => ({ index, delta }));
}

/** Two permits, taken by a step that adds nothing, so that it is reversed if it happened too late. */
function permits(release: Step): Model<{ holds: boolean }> {
  const take = [{ index: 0, delta: -1, undo: true }];
  return {
    values: [2],
    facts: { holds: false },
    *act() {
      yield* choose({ may: ["acquire"] });
      yield* operate(take);
      yield* note({ holds: true });
      yield* giveBack(release);
      yield* note({ holds: false });
    },
    check: (state) => assert(count(state, ({ holds }) => holds) <= 2, "Three hold two permits"),
    checkAtRest(state) {
      assertNoUndo(state);
      assertValues(state, [2]);
    },
  };
}

test("Permits that are taken and released with undo survive every death and cancel", () => {
  passes(permits([{ index: 0, delta: +1, undo: true }]));
});

test("The model finds permits that are released without undo", () => {
  fails(permits([{ index: 0, delta: +1 }]), "The undo has drifted");
});

interface Locker {
  /** How many holders have died, as a holder was told. */
  abandoned?: number;
  recovers?: boolean;
}

interface MutexModel {
  protocol?: Like<typeof mutex>;
  refuses?: boolean;
  processes?: readonly number[];
}

function mutexModel(
  { protocol = mutex, refuses = false, processes = [1, 1, 1] }: MutexModel = {},
): Model<Locker> {
  const holds = ({ abandoned }: Locker) => abandoned !== undefined;
  return {
    values: protocol.values,
    processes,
    facts: {},
    *act() {
      const how = yield* choose({ may: ["lock", "lockInLine", "tryLock", "recover"] });
      const dirty = yield* how === "recover"
        ? flows.recover(protocol)
        : flows[how](protocol, refuses);
      if (dirty === undefined) return;
      yield* note({ abandoned: dirty - 1, recovers: how === "recover" });
      yield* giveBack(protocol.release(dirty));
      yield* note({});
    },
    // How many holders have died since the mutex was given back.
    witness(before, after) {
      const dead = died(before, after);
      if (dead !== undefined) return before.witness + (dead.undo[protocol.lock]! > 0 ? 1 : 0);
      return count(before, holds) > count(after, holds) ? 0 : before.witness;
    },
    check(state) {
      assert(count(state, holds) <= 1, "Two hold the mutex");
      for (const { abandoned, recovers } of facts(state).filter(holds)) {
        assert(abandoned === state.witness, "A holder is not told how many have died");
        assert(!refuses || recovers || abandoned === 0, "A mutex that refuses is locked");
      }
    },
    checkAtRest(state) {
      assertNoUndo(state);
      assertValues(state, [1, state.witness]);
    },
  };
}

for (const refuses of [false, true]) {
  const rule = refuses ? "refuses" : "reports";
  test(`A mutex that ${rule} survives every death and cancel`, () => {
    passes(mutexModel({ refuses }));
  });

  test(`A mutex that ${rule} survives them with two flows in one process`, () => {
    passes(mutexModel({ refuses, processes: [2, 1] }));
  });
}

test("The model finds a mutex that dies with its holder, and tells a shortest way there", () => {
  const protocol = {
    ...mutex,
    takeClean: withoutUndo(mutex.takeClean),
    take: withoutUndo(mutex.take),
    release: (dirty: number) => withoutUndo(mutex.release(dirty)),
  };
  assertEquals(explore(mutexModel({ protocol })).failure?.split("\n"), [
    "The values have drifted",
    "   1 0",
    '   0.0 choose: "lock" -> 1 0',
    "   0.0 try [(1, 0), (0, -1), (1, +1)]: true -> 0 1",
    "   0.0 dies -> 0 1",
  ]);
});

test("The model finds a mutex that is released without undo", () => {
  const release = (dirty: number) => withoutUndo(mutex.release(dirty));
  fails(mutexModel({ protocol: { ...mutex, release } }), "The undo has drifted");
});

test("The model finds a mutex that is clean as soon as it is taken back", () => {
  const protocol = { ...mutex, take: mutex.takeClean, takeClean: mutex.take };
  fails(mutexModel({ protocol }), "A holder is not told how many have died");
});

interface ReaderOrWriter {
  is: "idle" | "reading" | "writing";
}

function rwlockModel(protocol: Like<typeof rwlock> = rwlock): Model<ReaderOrWriter> {
  return {
    values: protocol.values,
    facts: { is: "idle" },
    *act() {
      const how = yield* choose({ may: ["read", "readAfterWriters", "write", "tryWrite"] });
      if (how === "write") yield* flows.write(protocol);
      else if (how === "tryWrite") {
        if (!(yield* tryOperate(protocol.writeAtOnce))) return;
      } else yield* operate(protocol[how]);
      const writes = how === "write" || how === "tryWrite";
      yield* note({ is: writes ? "writing" : "reading" });
      yield* giveBack(writes ? protocol.endWrite : protocol.endRead);
      yield* note({ is: "idle" });
    },
    check(state) {
      const writing = count(state, ({ is }) => is === "writing");
      const reading = count(state, ({ is }) => is === "reading");
      assert(writing <= 1, "Two write");
      assert(writing === 0 || reading === 0, "One reads while one writes");
    },
    checkAtRest(state) {
      assertNoUndo(state);
      assertValues(state, [0, 0, 0]);
    },
  };
}

test("A lock of readers and writers survives every death and cancel", () => {
  passes(rwlockModel());
});

test("The model finds a lock whose queue a cancelled writer does not leave", () => {
  fails(rwlockModel({ ...rwlock, withdraw: [] }), "The undo has drifted");
});

test("The model finds a lock that dies with its writer", () => {
  const protocol = {
    ...rwlock,
    writeAtOnce: withoutUndo(rwlock.writeAtOnce),
    write: rwlock.write.map((one) => one.index === rwlock.writer ? { ...one, undo: false } : one),
    endWrite: withoutUndo(rwlock.endWrite),
  };
  fails(rwlockModel(protocol), "The values have drifted");
});

test("The model finds a lock whose writers do not wait for each other", () => {
  const write = rwlock.write.filter(({ index, delta }) => index !== rwlock.writer || delta !== 0);
  fails(rwlockModel({ ...rwlock, write }), "Two write");
});

test("The model finds a lock whose readers do not wait for the writer", () => {
  fails(rwlockModel({ ...rwlock, read: rwlock.read.slice(1) }), "One reads while one writes");
});

interface BarrierModel {
  token: boolean;
  protocol?: Like<typeof barrier>;
  processes?: readonly number[];
  /** As many as there are flows, unless told otherwise. */
  parties?: number;
}

/** Enough rounds that the first counter serves again. */
const lastRound = barrier.rounds + 1;

function barrierModel(
  {
    token,
    protocol = barrier,
    processes = [1, 1, 1],
    parties = processes.reduce((sum, flows) => sum + flows),
  }: BarrierModel,
): Model<Party> {
  const first: Party = { is: "new", round: 0, arrivals: 0, passes: 0 };
  const partiesIn = (state: State<Party>, which: (process: Process<Party>) => boolean) =>
    facts(state, which).filter(({ is }) => is === "in");
  const deadParties = (state: State<Party>) => partiesIn(state, ({ alive }) => !alive);
  /** Those for whom the others wait, or would if it had not broken. */
  const insiders = (state: State<Party>) => partiesIn(state, ({ alive }) => alive || !token);
  const all = (state: State<Party>) => partiesIn(state, () => true);
  const passed = (state: State<Party>) => all(state).reduce((sum, { passes }) => sum + passes, 0);
  const newcomers = (state: State<Party>) =>
    facts(state, () => true).filter(({ is }) => is === "new").length;
  return {
    values: protocol.values(parties),
    processes,
    facts: first,
    *act(party) {
      try {
        if (party.is === "shut out") yield* choose({});
        if (party.is === "gone") {
          yield* choose({ may: ["come again"] });
          return yield* note<Party>({ ...party, is: "new" });
        }
        if (party.is === "new") {
          yield* choose({ will: ["join"] });
          yield* flows.join(protocol, token, parties);
          return yield* note<Party>({ ...party, is: "in" });
        }
        const goesOn = party.is === "in" && party.passes < lastRound;
        const how = yield* choose(
          goesOn ? { will: ["wait"], may: ["tryWait", "leave"] } : { will: ["leave"] },
        );
        if (how === "wait") yield* flows.wait(protocol, token, party);
        else if (how === "tryWait") yield* flows.tryWait(protocol, token, party);
        else {
          const could = yield* flows.leave(protocol, token, parties, party);
          yield* note<Party>({ ...first, is: could ? "gone" : "shut out" });
        }
      } catch (error) {
        if (!(error instanceof Broken || error instanceof Full)) throw error;
        yield* note<Party>({ ...party, is: party.is === "new" ? "gone" : "told it is broken" });
      }
    },
    // How many have joined since nobody was in.
    witness(before, after) {
      if (passed(after) > passed(before)) {
        const told = token || deadParties(before).length === 0;
        assert(told, "A party passes a barrier that is broken");
        assert(before.witness === parties, "A round is over before all have joined");
      }
      const joins = all(after).length > all(before).length ? 1 : 0;
      const refused = joins === 0 && newcomers(after) < newcomers(before);
      const unjustly = insiders(before).length === 0 && before.values[protocol.broken] === 0;
      assert(!(refused && unjustly), "One is refused though nobody is in");
      if (insiders(after).length === 0) return 0;
      assert(before.witness + joins <= parties, "More join than there are parties");
      return before.witness + joins;
    },
    check(state) {
      const most = Math.max(0, ...insiders(state).map(({ passes }) => passes));
      for (const [i, { alive, flows }] of state.processes.entries()) {
        for (const { facts: { is, arrivals } } of flows) {
          const counts = is === "in" && (alive || !token);
          assert(!counts || arrivals >= most, `A round is over before ${i} has arrived`);
          assert(is !== "shut out" || state.values[protocol.broken]! > 0, `${i} cannot leave`);
        }
      }
    },
    mayWait(state) {
      return state.values[protocol.missing]! > 0 && count(state, ({ is }) => is === "new") === 0;
    },
    checkAtRest(state) {
      const broken = state.values[protocol.broken]!;
      const missing = state.values[protocol.missing]!;
      assertValues(state, [0, 0, 0, missing, broken, parties]);
      if (broken === 0) assertNoUndo(state);
      assert(token || broken > 0 || deadParties(state).length === 0, "It is not broken");
    },
  };
}

for (const [rule, token] of [["breaks", false], ["shrinks", true]] as const) {
  test(`A barrier that ${rule} survives every death and cancel`, () => {
    passes(barrierModel({ token }));
  });

  test(`A barrier that ${rule} survives them with two parties in one process`, () => {
    passes(barrierModel({ token, processes: [2, 1] }));
  });

  test(`A barrier that ${rule} survives them with more processes than parties`, () => {
    passes(barrierModel({ token, parties: 2 }));
  });

  test(`The model finds a barrier that ${rule} and has only two counters`, () => {
    const two = (step: Step): Step =>
      step.map((one) => one.index === 2 ? { ...one, index: 0 } : one);
    const protocol = {
      ...barrier,
      next: (round: number) => 1 - round,
      arrive: (round: number, token: boolean) => two(barrier.arrive(round, token)),
      retreat: (round: number, token: boolean) => barrier.retreat(round, token).map(two),
    };
    fails(barrierModel({ token, protocol }), "A round is over before");
  });
}

test("The model finds a barrier that has the last to join forgotten by who gives up", () => {
  const retreat = (round: number, token: boolean) => barrier.retreat(round, token).toReversed();
  fails(barrierModel({ token: true, protocol: { ...barrier, retreat } }), "A round is over before");
});

test("The model finds a barrier that goes on with those whom the last has left meanwhile", () => {
  const join = (values: readonly number[], token: boolean) => {
    const step = barrier.join(values, token);
    // Without the test that somebody is still in.
    return values.slice(0, barrier.rounds).some((value) => value > 0) ? step?.slice(2) : step;
  };
  const protocol = { ...barrier, join };
  fails(barrierModel({ token: false, protocol }), "A round is over before all have joined");
});

test("The model finds a barrier that serves one run only", () => {
  const join = (values: readonly number[], token: boolean) =>
    values[barrier.missing] === 0 ? undefined : barrier.join(values, token);
  const protocol = { ...barrier, join };
  fails(barrierModel({ token: true, protocol }), "One is refused though nobody is in");
});

test("The model finds a barrier that begins anew twice at once", () => {
  const join = (values: readonly number[], token: boolean) => {
    const step = barrier.join(values, token);
    // Without the tests that nobody is in.
    return values.slice(0, barrier.rounds).some((value) => value > 0) ? step : step?.slice(3);
  };
  const protocol = { ...barrier, join };
  fails(barrierModel({ token: false, protocol, parties: 2 }), "More join than there are parties");
});

test("The model finds a barrier that does not break", () => {
  const protocol = { ...barrier, arm: () => [], disarm: () => [] };
  fails(barrierModel({ token: false, protocol }), "The values have drifted");
});

test("The model finds a barrier that does not shrink", () => {
  const join = (values: readonly number[]) => barrier.join(values, false);
  const protocol = { ...barrier, join };
  fails(barrierModel({ token: true, protocol }), "The values have drifted");
});

interface Worker {
  holds: boolean;
  registered: boolean;
}

function bulkheadModel(
  { protocol = bulkhead, quota }: { protocol?: Like<typeof bulkhead>; quota?: number | undefined } =
    {},
): Model<Worker> {
  const inUse = (state: State<Worker>) => count(state, ({ holds }) => holds);
  const workers = (state: State<Worker>) => count(state, ({ registered }) => registered);
  return {
    values: protocol.values(1),
    facts: { holds: false, registered: false },
    *act(worker) {
      const { registered } = worker;
      const change = quota === undefined
        ? ["resize to 1", "resize to 2"] as const
        : [registered ? "unregister" : "register"] as const;
      const how = yield* choose({ may: ["acquire", "tryAcquire", ...change] });
      if (how === "resize to 1") return yield* flows.resize(protocol, 1);
      if (how === "resize to 2") return yield* flows.resize(protocol, 2);
      if (how === "register" || how === "unregister") {
        yield* giveBack(protocol[how]);
        yield* note({ ...worker, registered: !registered });
        return yield* flows.adjust(protocol, quota);
      }
      if (how === "acquire") yield* flows.acquire(protocol, quota);
      else if (!(yield* flows.tryAcquire(protocol, quota))) return;
      yield* note({ ...worker, holds: true });
      yield* giveBack(protocol.release);
      yield* note(worker);
    },
    witness(before, after) {
      const given = inUse(after) > inUse(before);
      const limit = before.values[protocol.limit]!;
      assert(!given || inUse(before) < limit, "More tickets are given out than there are");
      return 0;
    },
    check(state) {
      const { values } = state;
      const room = bulkhead.floor + values[protocol.limit]! - inUse(state);
      assertValues(state, [room, values[protocol.limit]!, workers(state)]);
    },
    checkAtRest(state) {
      const limit = state.values[protocol.limit]!;
      assert(limit === 1 || limit === 2, "The limit has drifted");
      if (quota === undefined) assertNoUndo(state);
      else if (state.processes.every(({ alive }) => alive)) {
        const due = flows.share(workers(state), quota);
        assert(limit === due, "The limit is not what the quota says");
      }
    },
  };
}

test("A bulkhead of tickets survives every resize, death and cancel", () => {
  passes(bulkheadModel());
});

test("A bulkhead with a quota survives every registration, death and cancel", () => {
  passes(bulkheadModel({ quota: 0.5 }));
});

test("The model finds a bulkhead that forgets that it has shrunk", () => {
  const protocol = { ...bulkhead, acquire: [-2, +1].map((delta) => ({ delta, undo: true })) };
  fails(bulkheadModel({ protocol }), "More tickets are given out than there are");
});

test("The model finds a bulkhead whose tickets are given back without undo", () => {
  const protocol = { ...bulkhead, release: withoutUndo(bulkhead.release) };
  fails(bulkheadModel({ protocol }), "The undo has drifted");
});

test("The model finds a bulkhead that is resized twice at once", () => {
  const resize = (from: number, to: number) =>
    [{ index: bulkhead.limit, delta: to - from }, { index: bulkhead.room, delta: to - from }]
      .filter(({ delta }) => delta !== 0);
  fails(bulkheadModel({ protocol: { ...bulkhead, resize } }), "The limit has drifted");
});

test("The model finds a bulkhead that waits for its room to be 0 when it keeps its size", () => {
  const resize = (from: number, to: number) =>
    from === to ? [{ index: bulkhead.room, delta: 0 }] : bulkhead.resize(from, to);
  fails(bulkheadModel({ protocol: { ...bulkhead, resize } }), stuck);
});

interface Candidate {
  term?: number;
  /** How many times it has led. */
  led: number;
}

function leaderModel(
  protocol: Like<typeof leader> = leader,
  campaign = flows.campaign,
): Model<Candidate> {
  const leading = (state: State<Candidate>) =>
    facts(state).flatMap(({ term }) => term === undefined ? [] : [term]);
  return {
    // A term before the low digit is full.
    values: [1, 32766, 0, 0],
    facts: { led: 0 },
    *act({ led }) {
      const how = yield* choose({ may: led < 2 ? ["campaign", "tryCampaign"] : [] });
      const term = yield* how === "campaign" ? campaign(protocol) : flows.tryCampaign(protocol);
      if (term === undefined) return;
      yield* note({ term, led: led + 1 });
      yield* giveBack(protocol.resign);
      yield* note({ led: led + 1 });
    },
    // The last term that somebody was told.
    witness(before, after) {
      const [term] = leading(after);
      if (term === undefined || leading(before).length > 0) return before.witness;
      assert(term > before.witness, "A term is not larger than the one before");
      return term;
    },
    check: (state) => assert(leading(state).length <= 1, "Two lead"),
    checkAtRest(state) {
      assertNoUndo(state);
      assert(state.values[protocol.seat] === 1, "The seat has drifted");
    },
  };
}

test("A leader survives every death and cancel, and the carry of its term", () => {
  passes(leaderModel());
});

test("The model finds a leader whose term does not grow", () => {
  fails(leaderModel({ ...leader, win: leader.win.slice(0, 1) }), "A term is not larger");
});

test("The model finds a candidate that waits for the carry, which another has done", () => {
  function* campaign(protocol: Like<typeof leader>): Flow<number> {
    try {
      yield* operate(protocol.win);
    } catch (error) {
      if (!(error instanceof OutOfRange)) throw error;
      yield* operate(protocol.winAndCarry);
    }
    return yield* read(protocol.term);
  }
  fails(leaderModel(leader, campaign), stuck);
});

test("The model finds a leader that dies with its seat", () => {
  const protocol = {
    ...leader,
    win: withoutUndo(leader.win),
    winAndCarry: withoutUndo(leader.winAndCarry),
    resign: withoutUndo(leader.resign),
  };
  fails(leaderModel(protocol), "The seat has drifted");
});

test("The model finds a leader that resigns without undo", () => {
  fails(leaderModel({ ...leader, resign: withoutUndo(leader.resign) }), "The undo has drifted");
});

for (const refuses of [false, true]) {
  const onDeath = refuses ? "refuse" : "report";
  const valuesOf = (dirty: Answer) => [0, Number(dirty)];

  test(`Mutex.lock() does what its model does if it shall ${onDeath}`, async () => {
    await performs(mutexModel({ refuses }), "lock", valuesOf, async (array) => {
      using _guard = await new Mutex(array, { onDeath }).lock();
    });
  });

  test(`Mutex.recover() does what its model does if it shall ${onDeath}`, async () => {
    await performs(mutexModel({ refuses }), "recover", valuesOf, async (array) => {
      using _guard = await new Mutex(array, { onDeath }).recover();
    });
  });
}

test("RwLock.read() and write() do what their model does", async () => {
  const valuesOf = () => [];
  await performs(rwlockModel(), "read", valuesOf, async (array) => {
    using _guard = await new RwLock(array, { prefer: "readers" }).read();
  });
  await performs(rwlockModel(), "readAfterWriters", valuesOf, async (array) => {
    using _guard = await new RwLock(array).read();
  });
  await performs(rwlockModel(), "write", valuesOf, async (array) => {
    using _guard = await new RwLock(array).write();
  });
});

test("BarrierParty.wait() does what its model does", async () => {
  for (const token of [false, true]) {
    const model = barrierModel({ token, processes: [1, 1] });
    const valuesOf = (broken: Answer) => [0, 0, 0, 0, Number(broken), 2];
    const joined: Party = { ...model.facts, is: "in" };
    const run = (array: Script) => {
      return new BarrierParty(new Structure(array, "barrier"), token, 2).wait();
    };
    await performs(model, "wait", valuesOf, run, joined);
  }
});

test("Bulkhead.acquire() does what its model does", async () => {
  const valuesOf = (wrong: Answer) => [0, ...(wrong as readonly number[] | null ?? [1, 1])];
  for (const quota of [undefined, 0.5]) {
    await performs(bulkheadModel({ quota }), "acquire", valuesOf, async (array) => {
      using _permit = await new Bulkhead(array, { quota }).acquire();
    });
  }
});

test("Leader.campaign() does what its model does", async () => {
  const valuesOf = (term: Answer) => [0, Number(term) % 32768, Math.floor(Number(term) / 32768), 0];
  await performs(leaderModel(), "campaign", valuesOf, async (array) => {
    using _leadership = await new Leader(array).campaign();
  });
});
