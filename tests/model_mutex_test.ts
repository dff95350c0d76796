import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import { type Flow, giveBack, type Like, read, tryStep, waitFor } from "../sync/flow.ts";
import * as mutexFlows from "../sync/flows/mutex.ts";
import { mutex, type Step } from "../sync/protocols.ts";
import {
  assertNoUndo,
  assertValues,
  count,
  died,
  facts,
  fails,
  isKept,
  type Keeper,
  keeping,
  passes,
  withoutKeepers,
  withoutUndo,
} from "./model/check.ts";
import { choose, explore, type Model, note } from "./model/explore.ts";

/** Two permits, taken by a step that adds nothing, so that it is reversed if it happened too late. */
function permits(release: Step): Model<{ holds: boolean }> {
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

test("Permits that are taken and released with undo survive every death and cancel", () => {
  passes(permits([{ index: 0, delta: +1, undo: true }]));
});

test("The model finds permits that are released without undo", () => {
  fails(permits([{ index: 0, delta: +1 }]), "The undo has drifted");
});

type Protocol = Like<typeof mutex>;
type Flows = typeof mutexFlows;

interface Locker extends Keeper {
  /** What a holder has found. */
  dirty?: number;
  recovers?: boolean;
}

interface MutexModel {
  protocol?: Protocol;
  flows?: Flows;
  /** Whether the mutex refuses when a holder has died. */
  onDeath?: "report" | "refuse";
  processes?: readonly number[];
}

/** Every form of a mutex. A flow that is in line is one of a promise, as another one waits. */
function mutexModel(
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

for (const onDeath of ["report", "refuse"] as const) {
  test(`A mutex whose rule is ${onDeath} survives every death, cancel and refusal`, () => {
    passes(mutexModel({ onDeath }));
  });

  test(`A mutex whose rule is ${onDeath} survives them with two flows in one process`, () => {
    passes(mutexModel({ onDeath, processes: [2, 1] }));
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

test("The model finds a lock that keeps what it took when it cannot read how many died", () => {
  const flows: Flows = {
    ...mutexFlows,
    *lockInLine(p, refuses) {
      yield* waitFor(p.take);
      const dirty = yield* read((values) => values[p.dirty]!);
      const refused = refuses && dirty > 1;
      if (refused) yield* giveBack(p.putBack);
      return { dirty, refused };
    },
  };
  assertEquals(explore(mutexModel({ flows })).failure?.split("\n"), [
    "The undo has drifted",
    "   1 0",
    '   0.0 choose: "lockInLine" -> 1 0',
    '   0.0 wait [(0, -1, UNDO), (1, +1)]: "done" -> 0 1',
    '   0.0 read: "refused" -> 0 1',
  ]);
});

test("The model finds a tryLock() that differs: it takes an abandoned mutex for a clean one", () => {
  const flows: Flows = {
    ...mutexFlows,
    *tryLock(p) {
      if (yield* tryStep(p.takeClean)) return mutexFlows.clean;
      return (yield* tryStep(p.take)) ? mutexFlows.clean : undefined;
    },
  };
  fails(mutexModel({ flows }), "A holder is not told how many have died");
});

test("The model finds a lock that does not give back the mutex that it refuses", () => {
  const flows: Flows = {
    ...mutexFlows,
    *lock(p, refuses) {
      if (yield* tryStep(p.takeClean)) return mutexFlows.clean;
      yield* waitFor(p.take);
      const dirty = yield* read((values) => values[p.dirty]!);
      return { dirty, refused: refuses && dirty > 1 };
    },
  };
  fails(mutexModel({ flows, onDeath: "refuse" }), "The undo has drifted");
});

test("The model finds a recovery that unlocks as if nobody had died", () => {
  const flows: Flows = { ...mutexFlows, unlock: (p) => mutexFlows.unlock(p, 1) };
  fails(mutexModel({ flows, onDeath: "refuse" }), "The values have drifted");
});

test("The model finds a mutex that is put back as clean when its state cannot be read", () => {
  const protocol = { ...mutex, putBack: mutex.release(2) };
  fails(mutexModel({ protocol }), "What is given back has to be possible");
});
