/**
 * A latch, an event and a gauge, as models.
 *
 * @module
 */

import { assert } from "@std/assert";
import type { Like } from "../../sync/flow.ts";
import * as eventFlows from "../../sync/flows/event.ts";
import * as gaugeFlows from "../../sync/flows/gauge.ts";
import * as latchFlows from "../../sync/flows/latch.ts";
import { event, gauge, latch } from "../../sync/protocols.ts";
import { assertNoUndo, assertValues, count, facts } from "./check.ts";
import { choose, type Model, note, type State } from "./explore.ts";

export interface Counter {
  /** What it has done last. */
  did: "nothing" | "count down" | "reset" | "wait";
  /** How many times it may still do something. */
  left: number;
}

/** Every form of a latch, whose count is 2 and is reset to that. */
export function latchModel(
  flows: typeof latchFlows = latchFlows,
  p: Like<typeof latch> = latch,
): Model<
  Counter
> {
  return {
    values: latch.values(2),
    facts: { did: "nothing", left: 2 },
    refuses: true,
    *act({ left }) {
      const how = yield* choose({
        will: left > 0 ? ["countDown"] : [],
        may: left > 0 ? ["countDown by 2", "reset", "wait", "tryWait"] : [],
      });
      const done = (did: Counter["did"]) => note<Counter>({ did, left: left - 1 });
      if (how === "countDown" || how === "countDown by 2") {
        const could = yield* flows.countDown(p, how === "countDown" ? 1 : 2);
        yield* done(could ? "count down" : "nothing");
      } else if (how === "reset") {
        yield* flows.reset(p, 2);
        yield* done("reset");
      } else if (how === "tryWait") yield* done((yield* flows.tryWait(p)) ? "wait" : "nothing");
      else {
        yield* flows.wait(p);
        yield* done("wait");
      }
    },
    // Nobody can be told of a count of 0 before somebody has counted to it.
    witness(before, after) {
      const waited = count(after, ({ did }) => did === "wait") >
        count(before, ({ did }) => did === "wait");
      const zero = before.values[latch.count] === 0 || before.witness === 1;
      assert(!waited || zero, "One goes on though the count is not 0");
      return after.values[latch.count] === 0 ? 1 : before.witness;
    },
    mayWait: () => true,
    check(state) {
      assert(state.values[latch.count]! <= 2, "The count grows");
      assertNoUndo(state);
    },
    checkAtRest() {},
  };
}

export interface Setter {
  did: "nothing" | "set" | "reset" | "wait";
}

/** Every form of an event. */
export function eventModel(flows: typeof eventFlows = eventFlows): Model<Setter> {
  return {
    values: event.values(false),
    facts: { did: "nothing" },
    refuses: true,
    *act() {
      const how = yield* choose({ may: ["set", "reset", "wait", "tryWait"] });
      let done: boolean | void = yield* flows[how](event);
      if (how === "wait") done = true;
      const did = how === "tryWait" ? "wait" : how;
      yield* note<Setter>({ did: done ? did : "nothing" });
    },
    witness(before, after) {
      for (const [i, fact] of facts(after).entries()) {
        const was = facts(before)[i]?.did;
        const waits = fact.did === "wait" && was !== "wait";
        const seen = before.values[event.unset] === 0 || after.values[event.unset] === 0;
        assert(!waits || seen || before.witness === 1, "One goes on though it was never set");
      }
      return after.values[event.unset] === 0 ? 1 : before.witness;
    },
    mayWait: () => true,
    check(state) {
      assert([0, 1].includes(state.values[event.unset]!), "The value has drifted");
      assertNoUndo(state);
    },
    checkAtRest() {},
  };
}

export interface Entrant {
  /** By how much it has entered. */
  by: number;
}

/** Every form of a gauge. */
export function gaugeModel(flows: typeof gaugeFlows = gaugeFlows): Model<Entrant> {
  const inside = (state: State<Entrant>) => facts(state).reduce((sum, { by }) => sum + by, 0);
  return {
    values: gauge.values,
    facts: { by: 0 },
    refuses: true,
    *act({ by }) {
      if (by > 0) {
        yield* choose({ will: ["leave"] });
        yield* flows.leave(gauge, by);
        return yield* note<Entrant>({ by: 0 });
      }
      const how = yield* choose({ may: ["enter by 1", "enter by 2", "idle", "least", "most"] });
      if (how === "idle") yield* flows.waitForIdle(gauge);
      else if (how === "least") yield* flows.waitForAtLeast(gauge, 2);
      else if (how === "most") yield* flows.waitForAtMost(gauge, 1);
      else {
        const entered = how === "enter by 1" ? 1 : 2;
        if (yield* flows.enter(gauge, entered)) yield* note<Entrant>({ by: entered });
      }
    },
    check: (state) => assertValues(state, [inside(state), gauge.most - inside(state)]),
    // Nobody has to come for those who wait for somebody.
    mayWait: () => true,
    checkAtRest: assertNoUndo,
  };
}
