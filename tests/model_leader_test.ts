import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { type Flow, read, readTaken, tryStep, waitFor } from "../sync/flow.ts";
import * as leaderFlows from "../sync/flows/leader.ts";
import { leader } from "../sync/protocols.ts";
import { fails, passes, stuck, withoutUndo } from "./model/check.ts";
import { explore } from "./model/explore.ts";
import { type Flows, leaderModel } from "./model/leader.ts";

test("A leader survives every death, cancel and refusal, and the carry of its term", () => {
  passes(leaderModel());
});

test("The model finds a leader whose term does not grow", () => {
  const protocol = { ...leader, win: leader.win.slice(0, 1) };
  fails(leaderModel({ protocol }), "A term is not larger");
});

test("The model finds a candidate that keeps the seat when it cannot read its term", () => {
  const flows: Flows = {
    ...leaderFlows,
    *tryCampaign(p) {
      return (yield* tryStep(p.win)) ? yield* read(p.term) : undefined;
    },
  };
  assertEquals(explore(leaderModel({ flows })).failure?.split("\n"), [
    "The undo has drifted",
    "   1 32766 0 0",
    '   0 choose: "tryCampaign" -> 1 32766 0 0',
    "   0 try [(0, -1, UNDO), (1, +1)]: true -> 0 32767 0 0",
    '   0 read: "refused" -> 0 32767 0 0',
  ]);
});

test("The model finds a candidate that waits for the carry, which another has done", () => {
  const flows: Flows = {
    ...leaderFlows,
    *campaign(p): Flow<number> {
      try {
        yield* waitFor(p.win);
      } catch (error) {
        if ((error as { code?: string }).code !== "ERANGE") throw error;
        yield* waitFor(p.winAndCarry);
      }
      return yield* readTaken(p.term, p.resign);
    },
  };
  fails(leaderModel({ flows }), stuck);
});

test("The model finds a leader that dies with its seat", () => {
  const protocol = {
    ...leader,
    win: withoutUndo(leader.win),
    winAndCarry: withoutUndo(leader.winAndCarry),
    resign: withoutUndo(leader.resign),
  };
  fails(leaderModel({ protocol }), "The seat has drifted");
});

test("The model finds a leader that resigns without undo", () => {
  const protocol = { ...leader, resign: withoutUndo(leader.resign) };
  fails(leaderModel({ protocol }), "The undo has drifted");
});
