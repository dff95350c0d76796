/**
 * A leader and its candidates, as models.
 *
 * @module
 */

import { assert } from "@std/assert";
import type { Like } from "../../sync/flow.ts";
import * as leaderFlows from "../../sync/flows/leader.ts";
import { leader } from "../../sync/protocols.ts";
import { assertNoUndo, facts, isKept, type Keeper, keeping, withoutKeepers } from "./check.ts";
import { choose, type Model, note, type State } from "./explore.ts";

export type Protocol = Like<typeof leader>;
export type Flows = typeof leaderFlows;

export interface Candidate extends Keeper {
  term?: number;
  /** How many times it has tried to lead. */
  tries: number;
}

export interface LeaderModel {
  protocol?: Protocol;
  flows?: Flows;
}

/** Every form of a leader. */
export function leaderModel(
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
