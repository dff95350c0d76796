/**
 * A barrier and its parties, as models.
 *
 * @module
 */

import { assert } from "@std/assert";
import type { Like } from "../../sync/flow.ts";
import * as barrierFlows from "../../sync/flows/barrier.ts";
import { barrier } from "../../sync/protocols.ts";
import { assertNoUndo, assertValues, count, facts } from "./check.ts";
import { choose, type Model, note, type State, watch } from "./explore.ts";

export type Protocol = Like<typeof barrier>;
export type Flows = typeof barrierFlows;

/** A party to a barrier. */
export interface Party {
  readonly is: "new" | "in" | "told it is broken" | "shut out" | "abandoned" | "gone";
  readonly round: number;
  readonly token: number;
  /** In how many rounds it has arrived, and how many it has passed. */
  readonly arrivals: number;
  readonly passes: number;
  /** The last of them of which it was told how it ended. */
  readonly told: number;
}

export interface BarrierModel {
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
export function barrierModel(
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
