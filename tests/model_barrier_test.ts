import { assert } from "@std/assert";
import { test } from "node:test";
import { type Like, tryStep, waitFor } from "../sync/flow.ts";
import * as barrierFlows from "../sync/flows/barrier.ts";
import { barrier, type Step } from "../sync/protocols.ts";
import { assertNoUndo, assertValues, count, facts, fails, passes } from "./model/check.ts";
import { choose, type Model, note, type State, watch } from "./model/explore.ts";

type Protocol = Like<typeof barrier>;
type Flows = typeof barrierFlows;

/** A party to a barrier. */
interface Party {
  readonly is: "new" | "in" | "told it is broken" | "shut out" | "abandoned" | "gone";
  readonly round: number;
  readonly token: number;
  /** In how many rounds it has arrived, and how many it has passed. */
  readonly arrivals: number;
  readonly passes: number;
  /** The last of them of which it was told how it ended. */
  readonly told: number;
}

interface BarrierModel {
  shrinks: boolean;
  protocol?: Protocol;
  flows?: Flows;
  processes?: readonly number[];
  /** As many as there are flows, unless told otherwise. */
  parties?: number;
  refuses?: boolean;
}

/** Enough rounds that the first counter serves again. */
const lastRound = barrier.rounds + 1;
const first: Party = { is: "new", round: 0, token: 0, arrivals: 0, passes: 0, told: 0 };

/** Every form of a barrier and its parties. */
function barrierModel(
  {
    shrinks,
    protocol: p = barrier,
    flows = barrierFlows,
    processes = [1, 1, 1],
    parties = processes.reduce((sum, flows) => sum + flows),
    refuses = false,
  }: BarrierModel,
): Model<Party> {
  const rule = { shrinks, parties };
  /** What is abandoned is as good as dead. */
  const partiesIn = (state: State<Party>, which: (alive: boolean) => boolean) =>
    state.processes.flatMap(({ alive, flows }) =>
      flows.map(({ facts }) => facts).filter(({ is }) =>
        is === "in" ? which(alive) : is === "abandoned" && which(false)
      )
    );
  const deadParties = (state: State<Party>) => partiesIn(state, (alive) => !alive);
  /** Those for whom the others wait, or would if it had not broken. */
  const insiders = (state: State<Party>) => partiesIn(state, (alive) => alive || !shrinks);
  const all = (state: State<Party>) => partiesIn(state, () => true);
  const passed = (state: State<Party>) => all(state).reduce((sum, { told }) => sum + told, 0);
  const newcomers = (state: State<Party>) =>
    facts(state, () => true).filter(({ is }) => is === "new").length;

  /** Waits, and notes where the token is as soon as it has moved. */
  function* waitAs(party: Party, how: "wait" | "tryWait") {
    const own = { round: party.round, token: party.token, left: false };
    const begun = party.passes + (party.token === party.round ? 0 : 1);
    const now = (): Party => {
      const arrived = own.token !== party.token && own.token !== party.round;
      const withdrew = own.token !== party.token && own.token === party.round;
      const arrivals = arrived ? begun + 1 : withdrew ? party.passes : begun;
      return { ...party, ...own, arrivals };
    };
    const over = (): Party => ({ ...now(), passes: party.passes + 1, arrivals: party.passes + 1 });
    try {
      const outcome = yield* watch(flows[how](p, rule, own), now);
      if (outcome === "broken") yield* note<Party>({ ...now(), is: "told it is broken" });
      if (outcome === "passed") yield* note<Party>({ ...over(), told: party.passes + 1 });
    } catch (error) {
      if (own.round !== party.round) yield* note<Party>(over());
      throw error;
    }
  }

  return {
    values: p.values(parties),
    processes,
    facts: first,
    refuses,
    *act(party) {
      if (party.is === "shut out" || party.is === "abandoned") yield* choose({});
      if (party.is === "gone") {
        yield* choose({ may: ["come again"] });
        return yield* note<Party>({ ...party, is: "new" });
      }
      if (party.is === "new") {
        yield* choose({ will: ["join"] });
        const joined = (yield* flows.join(p, rule)) === "joined";
        return yield* note<Party>({ ...party, is: joined ? "in" : "gone" });
      }
      const goesOn = party.is === "in" && party.passes < lastRound;
      const how = yield* choose(
        goesOn ? { will: ["wait"], may: ["tryWait", "leave", "abandon"] } : { will: ["leave"] },
      );
      if (how === "wait" || how === "tryWait") return yield* waitAs(party, how);
      const own = { round: party.round, token: party.token, left: false };
      if (how === "abandon") {
        yield* flows.abandon(p, rule, own);
        return yield* note<Party>({ ...party, is: "abandoned" });
      }
      const could = yield* flows.leave(p, rule, own);
      yield* note<Party>({ ...first, is: could ? "gone" : "shut out" });
    },
    // How many have joined since nobody was in.
    witness(before, after) {
      if (passed(after) > passed(before)) {
        const told = shrinks || deadParties(before).length === 0;
        assert(told, "A party passes a barrier that is broken");
        assert(before.witness === parties, "A round is over before all have joined");
      }
      const joins = all(after).length > all(before).length ? 1 : 0;
      const refused = joins === 0 && newcomers(after) < newcomers(before);
      const unjustly = insiders(before).length === 0 && before.values[p.broken] === 0;
      assert(!(refused && unjustly), "One is refused though nobody is in");
      if (insiders(after).length === 0) return 0;
      assert(before.witness + joins <= parties, "More join than there are parties");
      return before.witness + joins;
    },
    check(state) {
      const whole = state.values[p.broken] === 0;
      for (const counter of state.values.keys().take(barrier.rounds)) {
        const there = insiders(state).filter(({ token }) => token === counter).length;
        const known = !whole || state.values[counter] === there;
        assert(known, "A party does not know where its token is");
      }
      const most = Math.max(0, ...insiders(state).map(({ told }) => told));
      for (const [i, { alive, flows }] of state.processes.entries()) {
        for (const { facts: { is, arrivals } } of flows) {
          const counts = is === "in" ? alive || !shrinks : is === "abandoned" && !shrinks;
          assert(!counts || arrivals >= most, `A round is over before ${i} has arrived`);
          assert(is !== "shut out" || state.values[p.broken]! > 0, `${i} cannot leave`);
        }
      }
    },
    mayWait(state) {
      return state.values[p.missing]! > 0 && count(state, ({ is }) => is === "new") === 0;
    },
    checkAtRest(state) {
      const broken = state.values[p.broken]!;
      const missing = state.values[p.missing]!;
      assertValues(state, [0, 0, 0, missing, broken, parties]);
      if (broken === 0) assertNoUndo(state);
      assert(shrinks || broken > 0 || deadParties(state).length === 0, "It is not broken");
    },
  };
}

for (const [rule, shrinks] of [["breaks", false], ["shrinks", true]] as const) {
  test(`A barrier that ${rule} survives every death and cancel`, () => {
    passes(barrierModel({ shrinks }));
  });

  test(`A barrier that ${rule} survives every refusal, too`, () => {
    passes(barrierModel({ shrinks, refuses: true, processes: [1, 1] }));
  });

  test(`A barrier that ${rule} survives them with two parties in one process`, () => {
    passes(barrierModel({ shrinks, processes: [2, 1] }));
  });

  test(`A barrier that ${rule} survives them with more processes than parties`, () => {
    passes(barrierModel({ shrinks, parties: 2 }));
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
    fails(barrierModel({ shrinks, protocol }), "A round is over before");
  });
}

test("The model finds a barrier that has the last to join forgotten by who gives up", () => {
  const retreat = (round: number, token: boolean) => barrier.retreat(round, token).toReversed();
  const protocol = { ...barrier, retreat };
  fails(barrierModel({ shrinks: true, protocol }), "A round is over before");
});

test("The model finds a barrier that goes on with those whom the last has left meanwhile", () => {
  const join = (values: readonly number[], token: boolean) => {
    const step = barrier.join(values, token);
    // Without the test that somebody is still in.
    return values.slice(0, barrier.rounds).some((value) => value > 0) ? step?.slice(2) : step;
  };
  const protocol = { ...barrier, join };
  fails(barrierModel({ shrinks: false, protocol }), "A round is over before all have joined");
});

test("The model finds a barrier that serves one run only", () => {
  const join = (values: readonly number[], token: boolean) =>
    values[barrier.missing] === 0 ? undefined : barrier.join(values, token);
  const protocol = { ...barrier, join };
  fails(barrierModel({ shrinks: true, protocol }), "One is refused though nobody is in");
});

test("The model finds a barrier that begins anew twice at once", () => {
  const join = (values: readonly number[], token: boolean) => {
    const step = barrier.join(values, token);
    // Without the tests that nobody is in.
    return values.slice(0, barrier.rounds).some((value) => value > 0) ? step : step?.slice(3);
  };
  const model = barrierModel({ shrinks: false, protocol: { ...barrier, join }, parties: 2 });
  fails(model, "More join than there are parties");
});

test("The model finds a barrier that does not break", () => {
  const protocol = { ...barrier, arm: () => [], disarm: () => [] };
  fails(barrierModel({ shrinks: false, protocol }), "The values have drifted");
});

test("The model finds a barrier that does not shrink", () => {
  const join = (values: readonly number[]) => barrier.join(values, false);
  const protocol = { ...barrier, join };
  fails(barrierModel({ shrinks: true, protocol }), "A party does not know where its token is");
});

test("The model finds a party that gives up and leaves its token where it has arrived", () => {
  const flows: Flows = {
    ...barrierFlows,
    *wait(p, { shrinks }, party) {
      if (!(yield* tryStep(p.arrive(party.round, shrinks)))) return "broken";
      yield* waitFor(p.wait(party.round));
      party.round = party.token = p.next(party.round);
      return "passed";
    },
  };
  fails(barrierModel({ shrinks: true, flows }), "A party does not know where its token is");
});

test("The model finds a party that arrives twice, as it could not take its token back", () => {
  const flows: Flows = {
    ...barrierFlows,
    wait(p, rule, party) {
      // As if it had not arrived.
      party.token = party.round;
      return barrierFlows.wait(p, rule, party);
    },
  };
  const model = barrierModel({ shrinks: true, flows, processes: [1, 1], refuses: true });
  fails(model, "A party does not know where its token is");
});

test("The model finds a tryWait() that differs: it does not wait for those who are missing", () => {
  const flows: Flows = {
    ...barrierFlows,
    *tryWait(p, { shrinks }, party) {
      const step = [...p.arrive(party.round, shrinks), ...p.wait(party.round).slice(1)];
      if (!(yield* tryStep(step))) return "missing";
      party.round = party.token = p.next(party.round);
      return "passed";
    },
  };
  fails(barrierModel({ shrinks: true, flows }), "A round is over before all have joined");
});

test("The model finds a party that leaves where it should have broken the barrier", () => {
  const flows: Flows = {
    ...barrierFlows,
    *abandon(p, rule, party) {
      yield* barrierFlows.leave(p, rule, party);
    },
  };
  fails(barrierModel({ shrinks: false, flows }), "A party does not know where its token is");
});
