/**
 * A mutex, and permits, as models.
 *
 * @module
 */

import { assert } from "@std/assert";
import { type Flow, giveBack, type Like, tryStep, waitFor } from "../../sync/flow.ts";
import * as mutexFlows from "../../sync/flows/mutex.ts";
import { mutex, type Step } from "../../sync/protocols.ts";
import {
  assertNoUndo,
  assertValues,
  count,
  died,
  facts,
  isKept,
  type Keeper,
  keeping,
  withoutKeepers,
} from "./check.ts";
import { choose, type Model, note } from "./explore.ts";

/** Two permits, taken by a step that adds nothing, so that it is reversed if it happened too late. */
export function permits(release: Step): Model<{ holds: boolean }> {
  const take = [{ index: 0, delta: -1, undo: true }];
  return {
    values: [2],
    facts: { holds: false },
    *act() {
      yield* choose({ may: ["acquire"] });
      yield* waitFor(take);
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

export type Protocol = Like<typeof mutex>;
export type Flows = typeof mutexFlows;

export interface Locker extends Keeper {
  /** What a holder has found. */
  dirty?: number;
  recovers?: boolean;
}

export interface MutexModel {
  protocol?: Protocol;
  flows?: Flows;
  /** Whether the mutex refuses when a holder has died. */
  onDeath?: "report" | "refuse";
  processes?: readonly number[];
}

/** Every form of a mutex. A flow that is in line is one of a promise, as another one waits. */
export function mutexModel(
  { protocol: p = mutex, flows = mutexFlows, onDeath = "report", processes = [1, 1, 1] }:
    MutexModel = {},
): Model<Locker> {
  const refuses = onDeath === "refuse";
  const forms: Record<string, () => Flow<mutexFlows.Found | undefined>> = {
    lock: () => flows.lock(p, refuses),
    // What goes before the flow for the sake of speed.
    *lockFast() {
      return (yield* tryStep(p.takeClean)) ? flows.clean : yield* flows.lock(p, refuses);
    },
    lockInLine: () => flows.lockInLine(p, refuses),
    tryLock: () => flows.tryLock(p, refuses),
    recover: () => flows.recover(p),
  };
  const holds = ({ dirty }: Locker) => dirty !== undefined;
  return {
    values: p.values,
    processes,
    facts: {},
    refuses: true,
    *act(facts) {
      if (facts.keeps) yield* choose({});
      if (facts.dirty !== undefined) {
        yield* choose({ will: ["unlock"] });
        yield* flows.unlock(p, facts.dirty);
        return yield* note({});
      }
      const how = yield* choose({ may: Object.keys(forms) });
      yield* keeping(
        facts,
        (function* () {
          const found = yield* forms[how]!();
          if (found === undefined || found.refused) return;
          yield* note<Locker>({ dirty: found.dirty, recovers: how === "recover" });
        })(),
      );
    },
    // How many holders have died since the mutex was given back.
    witness(before, after) {
      const dead = died(before, after);
      if (dead !== undefined) return before.witness + (dead.undo[p.lock]! > 0 ? 1 : 0);
      return count(before, holds) > count(after, holds) ? 0 : before.witness;
    },
    mayWait: isKept,
    check(state) {
      assert(count(state, holds) <= 1, "Two hold the mutex");
      for (const { dirty, recovers } of facts(state).filter(holds)) {
        assert(dirty! - 1 === state.witness, "A holder is not told how many have died");
        assert(!refuses || recovers || dirty === 1, "A mutex that refuses is locked");
      }
    },
    checkAtRest(state) {
      const kept = isKept(state) ? 1 : 0;
      const settled = withoutKeepers(state);
      assertNoUndo(settled);
      assertValues(settled, [1, state.witness + kept]);
    },
  };
}
