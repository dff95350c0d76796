import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import { type Flow, type Like, read, readTaken, tryStep, waitFor } from "../sync/flow.ts";
import * as leaderFlows from "../sync/flows/leader.ts";
import { leader } from "../sync/protocols.ts";
import {
  assertNoUndo,
  facts,
  fails,
  isKept,
  type Keeper,
  keeping,
  passes,
  stuck,
  withoutKeepers,
  withoutUndo,
} from "./model/check.ts";
import { choose, explore, type Model, note, type State } from "./model/explore.ts";

type Protocol = Like<typeof leader>;
type Flows = typeof leaderFlows;

interface Candidate extends Keeper {
  term?: number;
  /** How many times it has tried to lead. */
  tries: number;
}

interface LeaderModel {
  protocol?: Protocol;
  flows?: Flows;
}

/** Every form of a leader. */
function leaderModel(
  { protocol: p = leader, flows = leaderFlows }: LeaderModel = {},
): Model<Candidate> {
  const leading = (state: State<Candidate>) =>
    facts(state).flatMap(({ term }) => term === undefined ? [] : [term]);
  return {
    // A term before the low digit is full.
    values: [1, 32766, 0, 0],
    facts: { tries: 0 },
    refuses: true,
    *act(facts) {
      if (facts.keeps) yield* choose({});
      if (facts.term !== undefined) {
        yield* choose({ will: ["resign"] });
        yield* flows.resign(p);
        return yield* note<Candidate>({ tries: facts.tries });
      }
      const how = yield* choose({ may: facts.tries < 2 ? ["campaign", "tryCampaign"] : [] });
      const trying: Candidate = { tries: facts.tries + 1 };
      yield* note(trying);
      yield* keeping(
        trying,
        (function* () {
          const term: number | undefined = yield* flows[how](p);
          if (term !== undefined) yield* note<Candidate>({ ...trying, term });
        })(),
      );
    },
    // The last term that somebody was told.
    witness(before, after) {
      const [term] = leading(after);
      if (term === undefined || leading(before).length > 0) return before.witness;
      assert(term > before.witness, "A term is not larger than the one before");
      return term;
    },
    mayWait: isKept,
    check: (state) => assert(leading(state).length <= 1, "Two lead"),
    checkAtRest(state) {
      const settled = withoutKeepers(state);
      assertNoUndo(settled);
      assert(settled.values[p.seat] === 1, "The seat has drifted");
    },
  };
}

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
